package intro

import (
	"bytes"
	"testing"

	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
)

// side is a circuit of two hops to the rendezvous point, as its maker and its relays
// have it.
type side struct {
	forward  *layer.Forward
	backward *layer.Backward
	openers  []*layer.Opener
	sealers  []*layer.Sealer
}

func newSide(first byte) *side {
	s := &side{forward: layer.NewForward(), backward: new(layer.Backward)}
	for hop := range byte(2) {
		suite := []layer.Suite{layer.ChaCha, layer.AES}[hop]
		out, in := [32]byte{first, hop, 1}, [32]byte{first, hop, 2}
		s.forward.Add(suite, out)
		s.backward.Add(suite, in)
		s.openers = append(s.openers, layer.NewOpener(suite, out))
		s.sealers = append(s.sealers, layer.NewSealer(suite, in))
	}
	return s
}

// up carries a body of the layer between the ends to the rendezvous point, which
// returns the messages that it opens.
func (s *side) up(t *testing.T, body []byte, size int, step bool) []byte {
	t.Helper()
	b := new(layer.Buffer)
	if n := copy(layer.ClientPayload(b, size), body); n != len(body) {
		t.Fatalf("%d of %d bytes fit", n, len(body))
	}
	c, _ := s.forward.Seal(b, size, step)
	out := new(layer.Buffer)
	for _, o := range s.openers {
		out = new(layer.Buffer)
		if err := o.Open(out, c, step); err != nil {
			t.Fatal(err)
		}
		c = out[:size]
	}
	return layer.Payload(out, size)
}

// down carries what the rendezvous point puts in to the maker of the circuit.
func (s *side) down(t *testing.T, body []byte, size int, step bool) []byte {
	t.Helper()
	b, through, got := new(layer.Buffer), new(layer.Buffer), new(layer.Buffer)
	copy(b[:], body)
	s.sealers[1].Seal(b, size, step)
	s.sealers[0].Wrap(through, b[:size], step)
	if _, err := s.backward.Open(got, through[:size], step); err != nil {
		t.Fatal(err)
	}
	return got[:len(body)]
}

// Two circuits joined at a rendezvous point carry the layer between client and service,
// large cells and small ones, over steps of the keys.
func TestThroughARendezvousPoint(t *testing.T) {
	keys := ntor.Keys{Forward: [32]byte{1}, Backward: [32]byte{2}}
	ends := [2]*Session{NewClientSession(layer.ChaCha, keys), NewServiceSession(layer.ChaCha, keys)}
	sides := [2]*side{newSide(1), newSide(2)}
	for i := range 20 {
		from, to := i%2, 1-i%2
		size, step := cell.LargeBody, i%5 == 4
		if i%3 == 0 {
			size = cell.SmallBody
		}
		inside := size - cell.LargeBody + LargeBody
		b, got := new(layer.Buffer), new(layer.Buffer)
		text := bytes.Repeat([]byte{byte(i), 1}, 40)
		copy(b[:], text)
		tag := ends[from].Seal(b[:inside], step)
		body := sides[to].down(t, sides[from].up(t, b[:inside], size, step), size, step)
		messages, same, err := ends[to].Open(got, body, step)
		if err != nil || same != tag || !bytes.HasPrefix(messages, text) {
			t.Fatalf("cell %d: %v", i, err)
		}
	}
	if LargeBody != 1192 || SmallBody != 104 {
		t.Errorf("bodies of %d and %d bytes", LargeBody, SmallBody)
	}
}
