package host

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// Second hops of service circuits are few and lasting, as in Tor's vanguards-lite: a
// client that makes the service build many circuits would otherwise soon find one of its
// own relays beside the service's guard. An age of the larger of two draws says little
// of when a relay is going to be replaced.
const (
	numSeconds = 4
	leastAge   = 24 * time.Hour
	mostAge    = 12 * 24 * time.Hour
	maxSeconds = 8 // with those that are out of sight
)

// seconds are the relays that are the second hop of service circuits.
type seconds struct {
	mu      sync.Mutex
	list    []second
	changed bool // since save
}

// second is one of them. What is out of sight stays until it is too old.
type second struct {
	node identity.NodeID
	left time.Duration
	seen time.Time // when left was last counted
}

// drawer draws relays; client.Client does.
type drawer interface {
	Draw(avoid ...identity.NodeID) (netdir.Relay, error)
	Listed(node identity.NodeID) bool
}

// get returns those that can be used now. The guard is none of them, or paths would
// begin with another.
func (s *seconds) get(now time.Time, c drawer, guard identity.NodeID) (usable []identity.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []second
	all := []identity.NodeID{guard}
	for _, x := range s.list {
		if d := now.Sub(x.seen); d > 0 && d < leastAge { // a clock may jump by years
			x.left -= d
		}
		x.seen = now
		if x.left <= 0 {
			continue
		}
		kept = append(kept, x)
		all = append(all, x.node)
		if x.node != guard && c.Listed(x.node) {
			usable = append(usable, x.node)
		}
	}
	for len(usable) < numSeconds && len(kept) < maxSeconds {
		r, err := c.Draw(all...)
		if err != nil {
			break // there are no more
		}
		kept = append(kept, second{r.Node, max(drawAge(), drawAge()), now})
		s.changed = true
		all = append(all, r.Node)
		usable = append(usable, r.Node)
	}
	s.list = kept
	return usable
}

func drawAge() time.Duration { return leastAge + rand.N(mostAge-leastAge) }

// secondSize is that of one in a state: NodeID (32) ‖ seconds left (4).
const secondSize = 32 + 4

// Save returns the second hops for Load: relays that a restart replaced would be more
// than four soon.
func (h *Host) Save(now time.Time) []byte {
	s := &h.seconds
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for _, x := range s.list {
		left := x.left - min(max(now.Sub(x.seen), 0), leastAge)
		b = binary.BigEndian.AppendUint32(append(b, x.node[:]...), uint32(max(left, 0)/time.Second))
	}
	s.changed = false
	return b
}

// Changed reports whether there are others since Save.
func (h *Host) Changed() bool {
	h.seconds.mu.Lock()
	defer h.seconds.mu.Unlock()
	return h.seconds.changed
}

// Load takes what Save returned in an earlier run. What is not whole is left out.
func (h *Host) Load(now time.Time, b []byte) {
	s := &h.seconds
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; len(b) >= secondSize && len(s.list) < maxSeconds; b = b[secondSize:] {
		left := time.Duration(binary.BigEndian.Uint32(b[32:])) * time.Second
		s.list = append(s.list, second{identity.NodeID(b), min(left, mostAge), now})
	}
}
