package host

import (
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/client"
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
	mu   sync.Mutex
	list []second
}

// second is one of them. What is out of sight stays until it is too old.
type second struct {
	node identity.NodeID
	left time.Duration
	seen time.Time // when left was last counted
}

// get returns those that can be used now.
func (s *seconds) get(now time.Time, c *client.Client) (usable []identity.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []second
	var all []identity.NodeID
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
		if c.Listed(x.node) {
			usable = append(usable, x.node)
		}
	}
	for len(usable) < numSeconds && len(kept) < maxSeconds {
		r, err := c.Draw(all...)
		if err != nil {
			break // there are no more
		}
		kept = append(kept, second{r.Node, max(drawAge(), drawAge()), now})
		all = append(all, r.Node)
		usable = append(usable, r.Node)
	}
	s.list = kept
	return usable
}

func drawAge() time.Duration { return leastAge + rand.N(mostAge-leastAge) }
