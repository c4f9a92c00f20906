package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestBuffer(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var b buffer
	var model []byte
	next := byte(0)
	for i := range 5000 {
		switch rng.IntN(5) {
		case 0, 1:
			p := make([]byte, rng.IntN(3*blockSize))
			for j := range p {
				p[j] = next
				next++
			}
			b.write(p)
			model = append(model, p...)
		case 2, 3:
			p := make([]byte, rng.IntN(4*blockSize))
			n := b.read(p)
			if n != min(len(p), len(model)) || !bytes.Equal(p[:n], model[:n]) {
				t.Fatalf("step %d: %d bytes read of %d", i, n, len(model))
			}
			model = model[n:]
		case 4:
			if b.n > 0 {
				x := b.shift()
				got := x.bytes[x.start:x.end]
				if !bytes.Equal(got, model[:len(got)]) {
					t.Fatalf("step %d: another block", i)
				}
				model = model[len(got):]
				blocks.Put(x)
			}
		}
		if b.n != len(model) || len(b.blocks) > 1+2*(len(model)/blockSize+1) {
			t.Fatalf("step %d: %d bytes in %d blocks, want %d", i, b.n, len(b.blocks), len(model))
		}
	}
	if n := b.drop(); n != len(model) || b.blocks != nil {
		t.Errorf("%d bytes dropped of %d", n, len(model))
	}
}
