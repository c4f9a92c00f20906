package netdir

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"globalnet/internal/identity"
)

// What survives a restart: magic ‖ secret of the sample (32) ‖ own sequence (8) ‖
// n (4) ‖ n times NodeID (32) ‖ seconds known (4) ‖ bandwidth (8), then the first
// 16 octets of the SHA-256 of all that.
const (
	stateMagic  = "globalnet relays 1\n"
	stateHeader = len(stateMagic) + 32 + 8 + 4
	stateLine   = 32 + 4 + 8
	stateSum    = 16
	// maxSaved bounds the relays that are saved: flash is scarce. Pinned ones come
	// first, then those known for longest.
	maxSaved = 1000
)

// ErrState means that what Load got is not what Save wrote.
var ErrState = errors.New("damaged directory state")

// Save returns what Load takes after a restart.
func (d *Directory) Save(now time.Time) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var saved []*entry
	own := d.own
	for _, e := range d.entries {
		if e.node == d.cfg.Self {
			own = max(own, e.sequence)
		} else if e.bandwidth > 0 || e.knownFor(now) >= time.Second {
			saved = append(saved, e)
		}
	}
	slices.SortFunc(saved, func(a, b *entry) int {
		if pa, pb := d.pinned[a.node], d.pinned[b.node]; pa != pb {
			if pa {
				return -1
			}
			return 1
		}
		if ka, kb := a.knownFor(now), b.knownFor(now); ka != kb {
			return int(min(max(kb-ka, -1), 1))
		}
		return bytes.Compare(a.node[:], b.node[:])
	})
	saved = saved[:min(len(saved), maxSaved)]
	b := append(make([]byte, 0, stateHeader+len(saved)*stateLine+stateSum), stateMagic...)
	b = append(b, d.secret[:]...)
	b = binary.BigEndian.AppendUint64(b, own)
	b = binary.BigEndian.AppendUint32(b, uint32(len(saved)))
	for _, e := range saved {
		b = append(b, e.node[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(min(e.knownFor(now)/time.Second, 1<<32-1)))
		b = binary.BigEndian.AppendUint64(b, uint64(e.bandwidth))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:stateSum]...)
}

// Load takes what Save returned in an earlier life. It is called once, before
// anything was added.
func (d *Directory) Load(now time.Time, state []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) > 0 {
		return errors.New("loading directory: it is in use")
	}
	n := (len(state) - stateHeader - stateSum) / stateLine
	if len(state) < stateHeader+stateSum || len(state) != stateHeader+n*stateLine+stateSum || n > maxSaved ||
		string(state[:len(stateMagic)]) != stateMagic {
		return fmt.Errorf("loading directory: %w: format", ErrState)
	}
	body, sum := state[:len(state)-stateSum], sha256.Sum256(state[:len(state)-stateSum])
	if !bytes.Equal(sum[:stateSum], state[len(body):]) {
		return fmt.Errorf("loading directory: %w: checksum", ErrState)
	}
	r := reader{rest: body[len(stateMagic):]}
	copy(d.secret[:], r.take(32))
	d.own = binary.BigEndian.Uint64(r.take(8))
	if int(binary.BigEndian.Uint32(r.take(4))) != n {
		return fmt.Errorf("loading directory: %w: count", ErrState)
	}
	for range n {
		e := &entry{node: identity.NodeID(r.take(32)), heard: now}
		e.known = time.Duration(binary.BigEndian.Uint32(r.take(4))) * time.Second
		e.bandwidth = int64(binary.BigEndian.Uint64(r.take(8)) & (1<<63 - 1))
		e.order = d.order(e.node)
		d.entries[e.node] = e
	}
	return nil
}
