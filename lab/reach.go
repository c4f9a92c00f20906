package lab

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pair is an ordered pair of routers.
type Pair struct{ From, To string }

// Unreached is the error of WaitAllPairs when the time is up.
type Unreached struct {
	Pairs []Pair // that never answered, in order
	Total int
	Err   error // why waiting ended
}

func (u *Unreached) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d pairs do not reach each other (%v):", len(u.Pairs), u.Total, u.Err)
	for i, p := range u.Pairs {
		if i == 12 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %s→%s", p.From, p.To)
	}
	return b.String()
}

func (u *Unreached) Unwrap() error { return u.Err }

// The pause between two requests to a router that has not yet answered grows, so
// that thousands of pairs do not fill the air.
const (
	pingFirst = 100 * time.Millisecond
	pingLast  = 3 * time.Second
)

// WaitAllPairs returns once every router has had an ICMPv6 echo reply from the
// mesh address of every other, each asked anew since the call. An error is an *Unreached.
func (l *Lab) WaitAllPairs(ctx context.Context) error {
	var names []string
	for _, n := range l.Routers() {
		names = append(names, n.Name)
	}
	return l.WaitPairs(ctx, names)
}

// WaitPairs is WaitAllPairs among the named routers.
func (l *Lab) WaitPairs(ctx context.Context, names []string) error {
	addrs := map[string]netip.Addr{}
	for _, name := range names {
		n, err := l.find(name)
		if err != nil {
			return err
		}
		if addrs[name], err = n.Address(); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	u := &Unreached{Total: len(names) * (len(names) - 1)}
	var all sync.WaitGroup
	failed := make(chan error, len(names))
	for _, from := range names {
		p, err := NewPinger(l.byName[from].ns)
		if err != nil {
			failed <- err
			break
		}
		all.Go(func() {
			defer p.Close()
			var pings sync.WaitGroup
			for _, to := range names {
				if to == from {
					continue
				}
				pings.Go(func() {
					if _, err := p.until(ctx, addrs[to], pingFirst, pingLast); err != nil {
						mu.Lock()
						u.Pairs = append(u.Pairs, Pair{from, to})
						mu.Unlock()
					}
				})
			}
			pings.Wait()
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if len(u.Pairs) == 0 {
		return nil
	}
	u.Err = context.Cause(ctx)
	slices.SortFunc(u.Pairs, func(a, b Pair) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return u
}

// Ping sends one request from a router to another and returns the round-trip time.
func (l *Lab) Ping(ctx context.Context, from, to string) (time.Duration, error) {
	a, err := l.find(from)
	if err != nil {
		return 0, err
	}
	b, err := l.find(to)
	if err != nil {
		return 0, err
	}
	addr, err := b.Address()
	if err != nil {
		return 0, err
	}
	p, err := NewPinger(a.ns)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return p.Ping(ctx, addr)
}

// WaitAgents returns once every router's agent answers on its socket.
func (l *Lab) WaitAgents(ctx context.Context) error {
	for _, n := range l.Routers() {
		for {
			_, err := n.Status(ctx)
			if err == nil {
				break
			}
			if state := n.AgentState(); strings.HasPrefix(state, "ended") {
				return fmt.Errorf("agent of %s %s; its log is %s", n.Name, state, n.LogPath())
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for agents: %w", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}
