package intro

import (
	"fmt"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

// Request is what a client wants of an introduction.
type Request struct {
	Service    identity.NodeID
	Period     uint64 // of the descriptor
	Point      desc.IntroPoint
	Authorised desc.Cookie // from the descriptor; zero if we have no key
	Meet       Rendezvous
	Suite      layer.Suite // of the layer between client and service
}

// Client is one introduction under way, of the client's side.
type Client struct {
	r       Request
	ntor    *ntor.Client
	request []byte
}

// NewClient begins an introduction.
func NewClient(r Request) (*Client, error) {
	p := params{r.Meet, r.Suite}
	if _, err := parseParams(p.append(nil)); err != nil {
		return nil, err
	}
	c := &Client{r: r}
	var err error
	ctx := context(key.CredentialFor(r.Service, r.Period), r.Point.Auth)
	if c.ntor, c.request, err = ntor.NewExchange(ctx, r.Point.Enc, p.append(nil)); err != nil {
		return nil, fmt.Errorf("making an introduction: %w", err)
	}
	return c, nil
}

// Challenge returns the task whose solution gives this introduction its place among
// others.
func (c *Client) Challenge(seed pow.Seed, effort uint32) pow.Challenge {
	return pow.NewChallenge(c.r.Service, seed, c.ntor.Ephemeral(), effort)
}

// Body returns the body of the MsgIntroduce1; the zero Solution is none.
func (c *Client) Body(s pow.Solution) []byte {
	ctx := context(key.CredentialFor(c.r.Service, c.r.Period), c.r.Point.Auth)
	return cell.AppendIntroduce(nil, cell.Introduce{
		Key:    c.r.Point.Auth,
		Mark:   mark(markKey(ctx, c.r.Authorised), marked(c.ntor.Ephemeral(), s)),
		Effort: s.Effort, Seed: s.Seed, Nonce: s.Nonce,
		Request: c.request,
	})
}

// Finish reads the body of the MsgRendezvous2 and returns the keys that only the
// service shares.
func (c *Client) Finish(reply []byte) (ntor.Keys, error) {
	keys, _, err := c.ntor.Finish(reply)
	if err != nil {
		return ntor.Keys{}, fmt.Errorf("%w: %w", ErrRendezvous, err)
	}
	return keys, nil
}
