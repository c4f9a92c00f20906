package layer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"globalnet/onion/cell"
)

var update = flag.Bool("update", false, "write testdata anew")

// path is a client and the relays of its circuit.
type path struct {
	out     *Forward
	in      *Backward
	openers []*Opener
	sealers []*Sealer
}

func seed(label string, i int) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "%s %d", label, i)) }

func newPath(suites ...Suite) *path {
	p := &path{out: NewForward(), in: new(Backward)}
	for _, s := range suites {
		p.extend(s)
	}
	return p
}

func (p *path) extend(s Suite) {
	i := len(p.openers)
	p.out.Add(s, seed("forward", i))
	p.in.Add(s, seed("backward", i))
	p.openers = append(p.openers, NewOpener(s, seed("forward", i)))
	p.sealers = append(p.sealers, NewSealer(s, seed("backward", i)))
}

// wrap returns the cell that the client sends.
func (p *path) wrap(message string, size int, step bool) (body []byte, tag [16]byte) {
	var b Buffer
	copy(ClientPayload(&b, size), message)
	body, tag = p.out.Seal(&b, size, step)
	return bytes.Clone(body), tag
}

// send sends message to the last hop; touch may change the cell before each hop.
func (p *path) send(message string, size int, step bool, touch func(hop int, body []byte)) (string, error) {
	body, tag := p.wrap(message, size, step)
	return p.deliver(body, tag, step, touch)
}

func (p *path) deliver(body []byte, tag [16]byte, step bool, touch func(hop int, body []byte)) (string, error) {
	for i, o := range p.openers {
		if touch != nil {
			touch(i, body)
		}
		var b Buffer
		if err := o.Open(&b, body, step); err != nil {
			return "", fmt.Errorf("hop %d: %w", i, err)
		}
		if i == len(p.openers)-1 {
			if tag != [16]byte(body[len(body)-16:]) {
				return "", errors.New("the last hop sees another tag")
			}
			return string(bytes.TrimRight(Payload(&b, len(body)), "\x00")), nil
		}
		body = bytes.Clone(b[:len(body)])
	}
	return "", nil
}

// answer sends message from the last hop to the client.
func (p *path) answer(message string, size int, step bool, touch func(hop int, body []byte)) (string, error) {
	var b Buffer
	copy(b[:], message)
	last := len(p.sealers) - 1
	tag := p.sealers[last].Seal(&b, size, step)
	body := bytes.Clone(b[:size])
	for i := last; i >= 0; i-- {
		if i < last {
			var w Buffer
			p.sealers[i].Wrap(&w, body, step)
			body = bytes.Clone(w[:size])
		}
		if touch != nil {
			touch(i, body)
		}
	}
	var c Buffer
	got, err := p.in.Open(&c, body, step)
	if err != nil {
		return "", err
	}
	if got != tag {
		return "", errors.New("the client sees another tag")
	}
	return string(bytes.TrimRight(c[:cell.BackwardPayload(size)], "\x00")), nil
}

var mixes = map[string][]Suite{
	"one hop":           {ChaCha},
	"chacha":            {ChaCha, ChaCha, ChaCha},
	"aes":               {AES, AES, AES},
	"mixed":             {AES, ChaCha, AES},
	"mixed otherwise":   {ChaCha, AES, ChaCha, AES, AES},
	"longest":           {ChaCha, ChaCha, AES, AES, ChaCha, ChaCha, AES, AES},
	"longest in chacha": {ChaCha, ChaCha, ChaCha, ChaCha, ChaCha, ChaCha, ChaCha, ChaCha},
}

func TestThereAndBack(t *testing.T) {
	for name, suites := range mixes {
		t.Run(name, func(t *testing.T) {
			p := newPath(suites...)
			for i := range 40 {
				size := []int{cell.LargeBody, cell.SmallBody, cell.SmallBody}[i%3]
				step := i%7 == 3
				m := fmt.Sprintf("message %d", i)
				if got, err := p.send(m, size, step, nil); err != nil || got != m {
					t.Fatalf("cell %d forward: %q, %v", i, got, err)
				}
				if got, err := p.answer(m, size, step, nil); err != nil || got != m {
					t.Fatalf("cell %d backward: %q, %v", i, got, err)
				}
			}
		})
	}
}

func TestPayloadIsWhollyCarried(t *testing.T) {
	p := newPath(mixes["longest"]...)
	for _, size := range []int{cell.LargeBody, cell.SmallBody} {
		full := string(bytes.Repeat([]byte{0xee}, cell.ForwardPayload(size)))
		if got, err := p.send(full, size, false, nil); err != nil || got != full {
			t.Errorf("forward: %d of %d bytes, %v", len(got), len(full), err)
		}
		full = string(bytes.Repeat([]byte{0xee}, cell.BackwardPayload(size)))
		if got, err := p.answer(full, size, false, nil); err != nil || got != full {
			t.Errorf("backward: %d of %d bytes, %v", len(got), len(full), err)
		}
	}
}

func TestTelescoping(t *testing.T) {
	p := newPath()
	for i := range cell.MaxHops {
		p.extend([]Suite{ChaCha, AES}[i%2])
		for range 3 {
			if got, err := p.send("there", cell.LargeBody, false, nil); err != nil || got != "there" {
				t.Fatalf("%d hops forward: %q, %v", i+1, got, err)
			}
			if got, err := p.answer("back", cell.SmallBody, i%3 == 0, nil); err != nil || got != "back" {
				t.Fatalf("%d hops backward: %q, %v", i+1, got, err)
			}
		}
	}
}

// A byte changed on the way to a hop is noticed by that very hop.
func TestChangedForward(t *testing.T) {
	for name, suites := range map[string][]Suite{"chacha": mixes["chacha"], "aes": mixes["aes"]} {
		for hop := range suites {
			for at := range cell.SmallBody {
				p := newPath(suites...)
				_, err := p.send("x", cell.SmallBody, false, func(h int, body []byte) {
					if h == hop {
						body[at] ^= 1 << (at % 8)
					}
				})
				if want := fmt.Sprintf("hop %d: %v", hop, ErrIntegrity); err == nil || err.Error() != want {
					t.Fatalf("%s, byte %d before hop %d: %v", name, at, hop, err)
				}
			}
		}
	}
}

// A byte changed anywhere on the way back is noticed by the client.
func TestChangedBackward(t *testing.T) {
	for name, suites := range map[string][]Suite{"chacha": mixes["chacha"], "aes": mixes["aes"]} {
		for hop := range suites {
			for at := range cell.SmallBody {
				p := newPath(suites...)
				got, err := p.answer("x", cell.SmallBody, false, func(h int, body []byte) {
					if h == hop {
						body[at] ^= 1 << (at % 8)
					}
				})
				if !errors.Is(err, ErrIntegrity) || got != "" {
					t.Fatalf("%s, byte %d after hop %d: %q, %v", name, at, hop, got, err)
				}
			}
		}
	}
}

func TestRepeatedReorderedLost(t *testing.T) {
	for name, order := range map[string][]int{"repeated": {0, 0}, "reordered": {1}, "lost": {0, 2}} {
		for _, suites := range [][]Suite{mixes["chacha"], mixes["aes"]} {
			p := newPath(suites...)
			var cells [3][]byte
			var tags [3][16]byte
			for i := range cells {
				cells[i], tags[i] = p.wrap("x", cell.SmallBody, false)
			}
			var err error
			for _, i := range order {
				_, err = p.deliver(bytes.Clone(cells[i]), tags[i], false, nil)
			}
			if want := "hop 0: " + ErrIntegrity.Error(); err == nil || err.Error() != want {
				t.Errorf("%s forward: %v", name, err)
			}
			// Whatever comes afterwards stays refused.
			if _, err := p.deliver(cells[1], tags[1], false, nil); err == nil {
				t.Errorf("%s: the hop goes on", name)
			}

			p = newPath(suites...)
			for i := range cells {
				var b Buffer
				p.sealers[2].Seal(&b, cell.SmallBody, false)
				p.sealers[1].Wrap(&b, b[:cell.SmallBody], false)
				p.sealers[0].Wrap(&b, b[:cell.SmallBody], false)
				cells[i] = bytes.Clone(b[:cell.SmallBody])
			}
			for _, i := range order {
				_, err = p.in.Open(new(Buffer), cells[i], false)
			}
			if !errors.Is(err, ErrIntegrity) {
				t.Errorf("%s backward: %v", name, err)
			}
		}
	}
}

func TestRatchet(t *testing.T) {
	for _, s := range []Suite{ChaCha, AES} {
		p := newPath(s, s)
		old := *p.openers[0].c
		for i := range RatchetCells + 2 {
			if _, err := p.send("x", cell.SmallBody, false, nil); err != nil {
				t.Fatalf("cell %d: %v", i, err)
			}
			if _, err := p.answer("x", cell.SmallBody, false, nil); err != nil {
				t.Fatalf("cell %d back: %v", i, err)
			}
			stepped := p.openers[0].c.seed != old.seed
			if want := i+1 >= RatchetCells; stepped != want {
				t.Fatalf("after %d cells the key has stepped: %v", i+1, stepped)
			}
		}
		if _, err := p.send("x", cell.SmallBody, true, nil); err != nil {
			t.Fatal(err)
		}
		if p.openers[0].c.cells != 0 || p.openers[1].c.cells != 0 || p.sealers[0].c.cells != 2 {
			t.Error("asked to step, not both hops of this direction alone did")
		}
		// A hop that misses the step can go no further.
		body, tag := p.wrap("x", cell.SmallBody, true)
		if _, err := p.deliver(body, tag, false, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := p.send("x", cell.SmallBody, false, nil); err == nil {
			t.Error("the old key is still good")
		}
	}
}

// What the last hop sees in front of the messages must not tell how many hops
// there are: no zeros, whatever the length of the path.
func TestPlaceIsNotVisible(t *testing.T) {
	for n := 1; n <= cell.MaxHops; n++ {
		suites := make([]Suite, n)
		for i := range suites {
			suites[i] = ChaCha
		}
		p := newPath(suites...)
		var seen [cell.FillerSize]byte // bits ever set
		for range 24 {
			body, _ := p.wrap("", cell.SmallBody, false)
			for _, o := range p.openers {
				var b Buffer
				if err := o.Open(&b, body, false); err != nil {
					t.Fatal(err)
				}
				for i := range seen {
					seen[i] |= b[cell.TagSize+i]
				}
				body = bytes.Clone(b[:cell.SmallBody])
			}
		}
		for i, bits := range seen {
			if bits == 0 {
				t.Errorf("%d hops: byte %d before the messages is always zero", n, i)
			}
		}
	}
}

func TestSuites(t *testing.T) {
	if !Fastest().Known() || Suite(0).Known() || Suite(3).Known() {
		t.Error("wrong suites are known")
	}
}

// vector is two small cells each way through three hops; the key steps after the
// first. All is hex.
type vector struct {
	Suites              []int
	Forward, Backward   []string // seeds
	Messages            []string
	ForwardAt           [][]string // by cell, what comes in at each hop; what is in front of the last hop's messages is random, so it is given
	Front               []string
	BackwardAt          [][]string // by cell, what each hop sends, the last hop first
	ForwardTag, BackTag []string
}

func TestVectors(t *testing.T) {
	const name = "testdata/vectors.json"
	want := make([]vector, 2)
	if !*update {
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := []vector{computeVector(t, mixes["chacha"], want[0].Front), computeVector(t, mixes["aes"], want[1].Front)}
	text, err := json.MarshalIndent(got, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if wanted, _ := json.MarshalIndent(want, "", "\t"); !bytes.Equal(text, wanted) {
		t.Errorf("the vectors are now\n%s", text)
	}
}

// given is a pad that hands out bytes known before.
type given struct{ left []byte }

func (g *given) XORKeyStream(dst, src []byte) {
	copy(dst, g.left[:len(dst)])
	g.left = g.left[len(dst):]
}

func computeVector(t *testing.T, suites []Suite, fronts []string) vector {
	const size = cell.SmallBody
	p := newPath(suites...)
	v := vector{Messages: []string{"first", "second"}}
	for i, s := range suites {
		v.Suites = append(v.Suites, int(s))
		f, b := seed("forward", i), seed("backward", i)
		v.Forward = append(v.Forward, hex.EncodeToString(f[:]))
		v.Backward = append(v.Backward, hex.EncodeToString(b[:]))
	}
	for i, m := range v.Messages {
		step := i == 0
		front := bytes.Repeat([]byte{byte(0xa0 + i)}, cell.FillerSize-16*(len(suites)-1))
		p.out.pad = &given{front}
		var at []string
		got, err := p.send(m, size, step, func(_ int, body []byte) { at = append(at, hex.EncodeToString(body)) })
		if err != nil || got != m {
			t.Fatalf("%q, %v", got, err)
		}
		last := at[len(at)-1]
		v.ForwardAt, v.Front, v.ForwardTag = append(v.ForwardAt, at), append(v.Front, hex.EncodeToString(front)), append(v.ForwardTag, last[len(last)-32:])

		at = nil
		if got, err := p.answer(m, size, step, func(_ int, body []byte) { at = append(at, hex.EncodeToString(body)) }); err != nil || got != m {
			t.Fatalf("%q, %v", got, err)
		}
		v.BackwardAt, v.BackTag = append(v.BackwardAt, at), append(v.BackTag, at[0][len(at[0])-32:])
	}
	if fronts != nil && fmt.Sprint(fronts) != fmt.Sprint(v.Front) {
		t.Errorf("front %v, want %v", v.Front, fronts)
	}
	return v
}

func TestNoAllocations(t *testing.T) {
	for name, suites := range map[string][]Suite{"chacha": mixes["chacha"], "aes": mixes["aes"]} {
		p := newPath(suites...)
		var b, w Buffer
		body, _ := p.wrap("x", cell.LargeBody, false)
		opener := NewOpener(suites[0], seed("forward", 0))
		sealer := p.sealers[0]
		for what, n := range map[string]float64{
			"seal": testing.AllocsPerRun(100, func() { p.out.Seal(&b, cell.LargeBody, false) }),
			"open": testing.AllocsPerRun(1, func() {
				opener.Open(&w, body, false)
				opener = NewOpener(suites[0], seed("forward", 0))
			}) - testing.AllocsPerRun(1, func() { opener = NewOpener(suites[0], seed("forward", 0)) }),
			"wrap": testing.AllocsPerRun(100, func() { sealer.Wrap(&w, body, false) }),
		} {
			if n > 0 {
				t.Errorf("%s: %s allocates %v times a cell", name, what, n)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	sender := newPath(ChaCha, AES)
	sender.out.pad = &given{make([]byte, cell.FillerSize)} // the same in every process
	good, _ := sender.wrap("x", cell.SmallBody, false)
	f.Add(good)
	f.Add(make([]byte, cell.LargeBody))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) != cell.SmallBody && len(body) != cell.LargeBody {
			return
		}
		p := newPath(ChaCha, AES)
		if err := p.openers[0].Open(new(Buffer), body, false); err == nil && !bytes.Equal(body, good) {
			t.Fatal("a forged cell was opened")
		}
		if _, err := p.in.Open(new(Buffer), body, false); err == nil {
			t.Fatal("a forged cell was taken")
		}
	})
}

func benchmark(b *testing.B, f func(p *path, buffer *Buffer)) {
	for name, s := range map[string]Suite{"chacha": ChaCha, "aes": AES} {
		b.Run(name, func(b *testing.B) {
			p := newPath(s, s, s)
			buffer := new(Buffer)
			b.SetBytes(cell.LargeBody)
			b.ReportAllocs()
			for b.Loop() {
				f(p, buffer)
			}
		})
	}
}

func BenchmarkClientForward(b *testing.B) {
	benchmark(b, func(p *path, buffer *Buffer) { p.out.Seal(buffer, cell.LargeBody, false) })
}

func BenchmarkRelayForward(b *testing.B) {
	var body [cell.LargeBody]byte
	benchmark(b, func(p *path, buffer *Buffer) {
		p.openers[0].c.broken = false
		p.openers[0].c.aead.Seal(body[:0], p.openers[0].c.number(), body[:cell.LargeBody-16], nil)
		p.openers[0].Open(buffer, body[:], false)
	})
}

func BenchmarkRelayBackward(b *testing.B) {
	var body [cell.LargeBody]byte
	benchmark(b, func(p *path, buffer *Buffer) { p.sealers[0].Wrap(buffer, body[:], false) })
}
