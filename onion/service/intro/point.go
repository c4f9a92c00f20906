package intro

import (
	"bytes"
	"fmt"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

// Point is the service's side of one introduction point: its two keys, and the
// introductions that came through it. It belongs to one goroutine, but Introductions
// may be answered anywhere.
type Point struct {
	service identity.NodeID
	auth    *identity.Identity
	enc     ntor.PrivateKey
	seen    *ntor.Replay
	doors   []door
}

// door is a way in: a period, and whether the client is authorised.
type door struct {
	context    [32]byte
	mark       [32]byte
	authorised bool
}

// NewPoint makes the keys of an introduction point. SetDoors has to follow.
func NewPoint(service identity.NodeID) (*Point, error) {
	auth, err := identity.Generate()
	if err != nil {
		return nil, err
	}
	enc, err := ntor.GenerateKey()
	if err != nil {
		return nil, err
	}
	return newPoint(service, auth, enc), nil
}

func newPoint(service identity.NodeID, auth *identity.Identity, enc ntor.PrivateKey) *Point {
	return &Point{service: service, auth: auth, enc: enc, seen: ntor.NewReplay(2 * overlap)}
}

// Auth returns the key that Establish signs with, and by which clients name the point.
func (p *Point) Auth() *identity.Identity { return p.auth }

// Describe returns what descriptors say of the point, at a relay.
func (p *Point) Describe(node identity.NodeID, onion ntor.PublicKey, suites []layer.Suite) desc.IntroPoint {
	return desc.IntroPoint{Node: node, OnionKey: onion, Suites: suites, Auth: p.auth.NodeID(), Enc: p.enc.Public()}
}

// SetDoors says in which periods introductions are taken (key.Periods of now), and
// from whom: cookies are those of the descriptors that clients may still hold, and
// only their holders may come in if restricted.
func (p *Point) SetDoors(periods []uint64, restricted bool, cookies ...desc.Cookie) {
	p.doors = p.doors[:0]
	for _, n := range periods {
		ctx := context(key.CredentialFor(p.service, n), p.auth.NodeID())
		for _, c := range cookies {
			if c != (desc.Cookie{}) {
				p.doors = append(p.doors, door{ctx, markKey(ctx, c), true})
			}
		}
		if !restricted {
			p.doors = append(p.doors, door{ctx, ctx, false})
		}
	}
}

// Introduction is one that Check let pass. It waits for its turn, then Answer.
type Introduction struct {
	Authorised bool
	Effort     uint32 // that was proved
	enc        ntor.PrivateKey
	context    [32]byte
	request    []byte
}

// Check judges the body of a MsgIntroduce2 as far as that is cheap: some short
// hashes and one attempt of the proof of work. What passes belongs into the queue.
func (p *Point) Check(body []byte, seeds *pow.Seeds) (*Introduction, error) {
	m, err := cell.ParseIntroduce(body)
	if err != nil {
		return nil, err
	}
	x, err := ntor.EphemeralOf(m.Request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if identity.NodeID(m.Key) != p.auth.NodeID() {
		return nil, fmt.Errorf("%w: for another introduction point", ErrFormat)
	}
	s := pow.Solution{Effort: m.Effort, Seed: m.Seed, Nonce: m.Nonce}
	d := p.find(m.Mark, marked(x, s))
	if d == nil {
		return nil, ErrStranger
	}
	if err := seeds.Check(x, s); err != nil {
		return nil, err
	}
	if !p.seen.Add(x) {
		return nil, ErrReplayed
	}
	return &Introduction{d.authorised, m.Effort, p.enc, d.context, bytes.Clone(m.Request)}, nil
}

func (p *Point) find(m [16]byte, marked []byte) *door {
	for i := range p.doors {
		if sameMark(mark(p.doors[i].mark, marked), m) {
			return &p.doors[i]
		}
	}
	return nil
}

// Answer is what the service does about an introduction.
type Answer struct {
	Meet  Rendezvous
	Suite layer.Suite // of the layer between client and service
	Keys  ntor.Keys
	Body  []byte // of the MsgRendezvous1
}

// Answer opens the introduction and makes the reply: three X25519 operations and
// an encapsulation.
func (i *Introduction) Answer() (*Answer, error) {
	var said params
	keys, reply, err := ntor.Answer(i.context, i.enc, i.request, func(b []byte) (_ []byte, err error) {
		said, err = parseParams(b)
		return nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	body := cell.AppendRendezvous(nil, cell.Rendezvous{Cookie: said.meet.Cookie, Reply: reply})
	return &Answer{said.meet, said.suite, keys, body}, nil
}
