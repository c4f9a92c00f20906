// Package places reads and writes the places of hidden services in the hash table
// through circuits: those who are asked see a relay, not who is interested. Who knows
// places is in docs/protocols/service.md section 2.
//
// The package keeps nothing.
package places

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
)

const (
	askTime  = 15 * time.Second // one relay, its circuit included
	askTries = 3                // relays that fail
	askTwice = 2                // relays that say there is nothing
)

// Places are the hash table's as this node reaches them.
type Places struct {
	Client *client.Client
	Table  service.Table // nil: there is none

	via circuits // nil: Client
}

// circuits are what Places need of a client.
type circuits interface {
	hold(ctx context.Context, want client.Want) (way, error)
	draw(avoid ...identity.NodeID) (circuit.Hop, error)
}

// way is a circuit to a relay that can be asked.
type way interface {
	open() (net.Conn, error)
	last() identity.NodeID
	close()
}

// clients are the circuits of a client.
type clients struct{ *client.Client }

func (c clients) hold(ctx context.Context, want client.Want) (way, error) {
	held, err := c.Hold(ctx, want)
	if err != nil {
		return nil, err
	}
	return ways{held}, nil
}

func (c clients) draw(avoid ...identity.NodeID) (circuit.Hop, error) {
	r, err := c.Draw(avoid...)
	if err != nil {
		return circuit.Hop{}, err
	}
	return c.Hop(r), nil
}

type ways struct{ *client.Held }

func (w ways) open() (net.Conn, error) { return w.Open(cell.Target{Network: cell.Table}, nil) }
func (w ways) last() identity.NodeID   { return w.Last().Node }
func (w ways) close()                  { w.Close() }

var errNone = errors.New("this node has no way into the hash table")

// Get returns the value at a place. Want says what circuits may be like. If the first
// relay finds nothing, twice asks another.
func (p *Places) Get(ctx context.Context, want client.Want, of identity.NodeID, at key.Place, twice bool) ([]byte, error) {
	if p.Table == nil {
		return nil, errNone
	}
	public, err := key.Blinded(of, at)
	if err != nil {
		return nil, err
	}
	var value []byte
	missing := 0
	err = p.Ask(ctx, want, func(ctx context.Context, conn net.Conn) (bool, error) {
		var err error
		value, err = p.Table.Get(ctx, conn, public)
		if errors.Is(err, service.ErrNotFound) {
			missing++
			return !twice || missing >= askTwice, err
		}
		return err == nil, err
	})
	return value, err
}

// Put seals a descriptor for a place and stores it.
func (p *Places) Put(ctx context.Context, want client.Want, of *identity.Identity, at key.Place, d *desc.Descriptor, a desc.Access) (stored int, err error) {
	if p.Table == nil {
		return 0, errNone
	}
	value, err := desc.Seal(of, at, d, a)
	if err != nil {
		return 0, err
	}
	signer := key.Signer(of, at)
	err = p.Ask(ctx, want, func(ctx context.Context, conn net.Conn) (bool, error) {
		var err error
		stored, err = p.Table.Put(ctx, conn, signer, d.Revision, value)
		return err == nil || errors.Is(err, service.ErrNewer), err
	})
	return stored, err
}

// Ask has f ask the hash table through one relay after the other, until f says that it is
// done, with whatever error.
func (p *Places) Ask(ctx context.Context, want client.Want, f func(context.Context, net.Conn) (done bool, err error)) error {
	var asked []identity.NodeID
	var last error
	for range askTries {
		node, done, err := p.askOne(ctx, want, asked, f)
		if done || ctx.Err() != nil {
			return err
		}
		if node.IsZero() && last != nil {
			return last // there is no other
		}
		if last == nil || !errors.Is(last, service.ErrNotFound) {
			last = err
		}
		if node.IsZero() {
			break
		}
		asked = append(asked, node)
	}
	return last
}

// askOne asks one relay that was not asked yet.
func (p *Places) askOne(ctx context.Context, want client.Want, asked []identity.NodeID, f func(context.Context, net.Conn) (bool, error)) (identity.NodeID, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	via := p.via
	if via == nil {
		via = clients{p.Client}
	}
	if len(asked) > 0 {
		hop, err := via.draw(asked...)
		if err != nil {
			return identity.NodeID{}, false, err
		}
		want.Last = &hop
	}
	held, err := via.hold(ctx, want)
	if err != nil {
		if want.Last != nil {
			return want.Last.Node, false, err
		}
		return identity.NodeID{}, false, fmt.Errorf("reaching the hash table: %w", err)
	}
	defer held.close()
	s, err := held.open()
	if err != nil {
		return held.last(), false, err
	}
	defer s.Close()
	done, err := f(ctx, s)
	return held.last(), done, err
}
