package peers

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
	"time"

	"globalnet/internal/identity"
)

const (
	// MaxSample is the most that one answer tells.
	MaxSample = 16

	sampleEpoch  = time.Hour // an asker hears the same for so long
	sampleGroups = 8         // of askers who hear the same, so that many identities learn little more than one
	doubtful     = 3         // failures after which a node is not recommended
)

// Sample returns what to tell asker of other nodes: at most n, and MaxSample,
// half of them such as have once been connected, half merely heard of, in an
// order that says nothing. Whether one is connected now plays no part in the
// choice, so the answer cannot show it. Only Node and Addrs are filled in.
func (b *Book) Sample(now time.Time, asker identity.NodeID, n int) []Entry {
	n = min(n, MaxSample)
	if n <= 0 {
		return nil
	}
	epoch := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/int64(sampleEpoch/time.Second)))
	group := b.hash("group", epoch, asker[:])[0] % sampleGroups
	type ticket struct {
		draw []byte
		e    Entry
	}
	var met, heard []ticket
	for _, r := range b.records {
		if r.Node == asker || r.Failures >= doubtful {
			continue
		}
		addrs := slices.DeleteFunc(slices.Clone(r.Addrs), func(a netip.AddrPort) bool { return !public(a) })
		if len(addrs) == 0 {
			continue
		}
		t := ticket{b.hash("draw", epoch, append([]byte{group}, r.Node[:]...)), Entry{Node: r.Node, Addrs: addrs}}
		if r.Good > 0 {
			met = append(met, t)
		} else {
			heard = append(heard, t)
		}
	}
	byDraw := func(list []ticket) {
		sort.Slice(list, func(i, j int) bool { return bytes.Compare(list[i].draw, list[j].draw) < 0 })
	}
	byDraw(met)
	byDraw(heard)
	fromMet := min(len(met), max((n+1)/2, n-len(heard)))
	drawn := slices.Concat(met[:fromMet], heard[:min(len(heard), n-fromMet)])
	byDraw(drawn)
	list := make([]Entry, len(drawn))
	for i, t := range drawn {
		list[i] = t.e
	}
	return list
}

func (b *Book) hash(purpose string, epoch, data []byte) []byte {
	mac := hmac.New(sha256.New, b.secret[:])
	mac.Write([]byte(purpose))
	mac.Write(epoch)
	mac.Write(data)
	return mac.Sum(nil)
}
