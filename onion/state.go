package onion

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/exit"
	"globalnet/onion/path"
)

// stateHeader begins what Save returns. Then come guards, directory, the month's
// traffic and the second hops of services, which older states lack, each with its length (4) in front; each has a checksum of its own, or is
// small enough to do without.
const stateHeader = "globalnet onion state 1\n"

var errState = errors.New("state of the onion is damaged")

// Save returns what should survive a restart: guards, how long relays are known,
// and what is used up of the month's traffic.
func (n *Node) Save(now time.Time) []byte {
	usage, err := json.Marshal([2]exit.Usage{n.exit.Quota().Save(), n.limiter.Quota.Save()})
	if err != nil {
		panic(err) // numbers
	}
	b := []byte(stateHeader)
	for _, part := range [][]byte{n.chooser.Save(now), n.directory.Save(now), usage, n.host.Save(now)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// WorthSaving reports whether something that is hard to get again has changed since
// Save: guards and second hops.
func (n *Node) WorthSaving() bool { return n.chooser.Changed() || n.host.Changed() }

// load takes what Save returned. What is damaged is left out.
func (n *Node) load(state []byte) {
	if len(state) == 0 {
		return
	}
	now := time.Now()
	parts, err := splitState(state)
	if err != nil {
		n.log.Warn("guards and relays of the last run are not known", "err", err)
		return
	}
	if err := n.chooser.Load(now, parts[0]); err != nil {
		n.log.Warn("guards of the last run are not known", "err", err)
	}
	if err := n.directory.Load(now, parts[1]); err != nil {
		n.log.Warn("how long relays are known is not known", "err", err)
	}
	var usage [2]exit.Usage
	if err = json.Unmarshal(parts[2], &usage); err == nil {
		err = errors.Join(n.exit.Quota().Load(usage[0]), n.limiter.Quota.Load(usage[1]))
	}
	if err != nil {
		n.log.Warn("this month's traffic is not known", "err", err)
	}
}

func splitState(b []byte) (parts [4][]byte, err error) {
	if len(b) < len(stateHeader) || string(b[:len(stateHeader)]) != stateHeader {
		return parts, errState
	}
	b = b[len(stateHeader):]
	for i := range parts {
		if len(b) == 0 && i == 3 {
			break
		}
		if len(b) < 4 {
			return parts, errState
		}
		size := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(size) > uint64(len(b)) {
			return parts, errState
		}
		parts[i], b = b[:size], b[size:]
	}
	return parts, nil
}

func guardNodes(guards []path.GuardStatus) []identity.NodeID {
	ids := make([]identity.NodeID, len(guards))
	for i, g := range guards {
		ids[i] = g.Node
	}
	return ids
}
