package lan

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/stream"
)

const (
	maxCached    = 4096
	negativeTime = 30 * time.Second // that a name is remembered not to exist
)

// cache keeps what exits answered, apart for each isolation: what one client asked for,
// another cannot find out by how fast the answer comes. Two that ask the same at the
// same time share a question.
type cache struct {
	mu     sync.Mutex
	known  map[cacheKey]*list.Element // of *cached
	recent *list.List
	now    func() time.Time
}

type cacheKey struct {
	who  client.Isolation
	name string
}

type cached struct {
	key   cacheKey
	ready chan struct{} // closed when the following hold
	value cell.Resolved
	err   error
	until time.Time
}

func newCache() *cache {
	return &cache{known: make(map[cacheKey]*list.Element), recent: list.New(), now: time.Now}
}

// get returns an answer that is there; its time to live is what is left of it.
func (c *cache) get(who client.Isolation, name string) (cell.Resolved, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known[cacheKey{who, name}]
	if e == nil {
		return cell.Resolved{}, false
	}
	k := e.Value.(*cached)
	select {
	case <-k.ready:
	default:
		return cell.Resolved{}, false
	}
	left := k.until.Sub(c.now())
	if left <= 0 {
		return cell.Resolved{}, false
	}
	c.recent.MoveToFront(e)
	v := k.value
	v.TTL = left
	return v, true
}

// resolve asks r where there is no answer yet.
func (c *cache) resolve(ctx context.Context, who client.Isolation, name string, r Resolver) (cell.Resolved, error) {
	key := cacheKey{who, name}
	c.mu.Lock()
	if e := c.known[key]; e != nil {
		k := e.Value.(*cached)
		select {
		case <-k.ready:
			if c.now().Before(k.until) {
				c.mu.Unlock()
				return k.value, k.err
			}
			c.drop(e)
		default:
			c.mu.Unlock()
			select {
			case <-k.ready:
				return k.value, k.err
			case <-ctx.Done():
				return cell.Resolved{}, ctx.Err()
			}
		}
	}
	k := &cached{key: key, ready: make(chan struct{})}
	e := c.recent.PushFront(k)
	c.known[key] = e
	for len(c.known) > maxCached {
		c.drop(c.recent.Back())
	}
	c.mu.Unlock()

	value, err := r.Resolve(ctx, who, name)
	if end := (*stream.EndError)(nil); errors.As(err, &end) && end.Reason == cell.EndResolve {
		value, err = cell.Resolved{Reason: cell.EndResolve}, nil
	}
	life := min(max(value.TTL, minTTL*time.Second), maxTTL*time.Second)
	if value.Reason != cell.EndDone {
		life = negativeTime
	}
	value.TTL = life
	c.mu.Lock()
	defer c.mu.Unlock()
	k.value, k.err = value, err
	if k.until = c.now().Add(life); err != nil || value.Reason != cell.EndDone && value.Reason != cell.EndResolve {
		k.until = time.Time{} // another time it may work
		if c.known[key] == e {
			c.drop(e)
		}
	}
	close(k.ready)
	return value, err
}

// drop is called with mu held.
func (c *cache) drop(e *list.Element) {
	c.recent.Remove(e)
	delete(c.known, e.Value.(*cached).key)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}
