package intro

import (
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
)

// Sizes of what travels between client and service: the payload of a cell forward,
// which the rendezvous point takes from one circuit and puts into the other.
const (
	LargeBody = cell.LargeBody - cell.TagSize - cell.FillerSize
	SmallBody = cell.SmallBody - cell.TagSize - cell.FillerSize
)

// Session is the layer between client and service: an AEAD each way, with the count
// and the ratchet of onion/layer. Send and receive have each one owner.
type Session struct {
	send *layer.Sealer
	open *layer.Backward
}

// NewClientSession returns the client's end.
func NewClientSession(s layer.Suite, k ntor.Keys) *Session {
	return newSession(s, k.Forward, k.Backward)
}

// NewServiceSession returns the service's end.
func NewServiceSession(s layer.Suite, k ntor.Keys) *Session {
	return newSession(s, k.Backward, k.Forward)
}

func newSession(s layer.Suite, send, receive [32]byte) *Session {
	open := new(layer.Backward)
	open.Add(s, receive)
	return &Session{layer.NewSealer(s, send), open}
}

// Seal seals, in place, the messages at the start of body, which has LargeBody or
// SmallBody bytes and is zero behind them. It returns the tag by which the other end
// knows the cell.
func (x *Session) Seal(body []byte, step bool) (tag [cell.TagSize]byte) {
	return x.send.SealIn(body, step)
}

// Open opens body into b, at whose start it may lie, and returns the messages and the
// tag. After an error the circuit is of no more use.
func (x *Session) Open(b *layer.Buffer, body []byte, step bool) (messages []byte, tag [cell.TagSize]byte, err error) {
	if tag, err = x.open.Open(b, body, step); err != nil {
		return nil, tag, err
	}
	return b[:len(body)-cell.TagSize], tag, nil
}
