package deflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// program is a text with what programs have: words of four bytes, repeated with little
// changes, tables, names, zeros. The same seed gives the same text.
func program(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var text []byte
	for len(text) < n {
		switch r.IntN(8) {
		case 0:
			text = append(text, fmt.Sprintf("package/name%d.(*Type%d).Method\x00", r.IntN(50), r.IntN(9))...)
		case 1:
			text = append(text, make([]byte, r.IntN(40))...)
		default:
			for range 10 + r.IntN(50) {
				w := r.Uint32()
				text = append(text, byte(0x8c|w&3), byte(w>>8&31), byte(w>>16&1), byte(w>>24&0x3c))
			}
		}
	}
	return text[:n]
}

func random(n int) []byte {
	text := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(text)
	return text
}

// fibonacci is a text whose best code would have words of more than fifteen bits.
func fibonacci() []byte {
	var text []byte
	for a, b, c := 1, 1, byte(0); c < 22; a, b, c = b, a+b, c+1 {
		text = append(text, bytes.Repeat([]byte{c * 11}, a)...)
	}
	r := rand.New(rand.NewPCG(2, 2))
	r.Shuffle(len(text), func(i, j int) { text[i], text[j] = text[j], text[i] })
	return text
}

func texts() map[string][]byte {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return map[string][]byte{
		"empty": nil, "one": []byte("a"), "three": []byte("aaa"), "short": []byte("a short text, a short text"),
		"every byte": every, "zeros": make([]byte, 300_000), "period of three": bytes.Repeat([]byte("abc"), 70_000),
		"random": random(200_000), "random twice": bytes.Repeat(random(window-1), 2),
		"random before and after": bytes.Join([][]byte{random(50_000), make([]byte, 30_000), random(50_000)}, nil),
		"fibonacci":               fibonacci(), "program": program(200_000, 1), "member": program(MemberSize, 2),
		"more than a chunk": append(program(chunkSize, 3), bytes.Repeat([]byte("across the end of a chunk "), 400)...),
	}
}

func raw(text []byte) []byte {
	s := New().Stream()
	s.Write(text)
	return s.Raw()
}

func TestRoundTrip(t *testing.T) {
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			s := New().Stream()
			s.Write(text)
			deflated := s.Raw()
			inflated, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
			if err != nil || !bytes.Equal(inflated, text) {
				t.Fatalf("%d bytes instead of %d: %v", len(inflated), len(text), err)
			}
			file := s.Gzip()
			z, err := gzip.NewReader(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if unzipped, err := io.ReadAll(z); err != nil || !bytes.Equal(unzipped, text) {
				t.Errorf("of the gzip file, %d bytes: %v", len(unzipped), err)
			}
			otherReader(t, file, text)
			var theirs bytes.Buffer
			w, _ := flate.NewWriter(&theirs, flate.BestCompression)
			w.Write(text)
			w.Close()
			t.Logf("%d bytes became %d; by compress/flate %d", len(text), len(deflated), theirs.Len())
			if ours := len(deflated); ours > theirs.Len()+2 || ours > len(text)+len(text)/1000+8 {
				t.Errorf("%d bytes became %d", len(text), ours)
			}
		})
	}
}

// otherReader reads a file with gzip, where that is installed.
func otherReader(t *testing.T, file, text []byte) {
	t.Helper()
	path, err := exec.LookPath("gzip")
	if err != nil {
		if os.Getenv("LAB") == "required" {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command(path, "-dc")
	cmd.Stdin = bytes.NewReader(file)
	if out, err := cmd.Output(); err != nil || !bytes.Equal(out, text) {
		t.Errorf("gzip reads %d bytes: %v", len(out), err)
	}
}

// TestSameEverywhere: what is written depends neither on the processors nor on what the
// packer has seen, nor on the machine.
func TestSameEverywhere(t *testing.T) {
	text := program(chunkSize+chunkSize/4, 4)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	alone := raw(text)
	runtime.GOMAXPROCS(3)
	p := New()
	for range 2 {
		s := p.Stream()
		s.Write(text)
		if !bytes.Equal(s.Raw(), alone) {
			t.Error("three processors write something else than one")
		}
	}
	// A machine that reckons otherwise fails here; so does who improves the packer, and
	// writes the new sum.
	const want = "2fe27327027709e973ac04a3a2c0b0651c3131f0063820c8020e3f9e2e5cf050"
	if got := fmt.Sprintf("%x", sha256.Sum256(raw(program(100_000, 5)))); got != want {
		t.Errorf("sum %s, want %s", got, want)
	}
}

// TestMembers: a large Write is compressed by itself, wherever it stands, and once.
func TestMembers(t *testing.T) {
	p := New()
	large := program(MemberSize, 6)
	for _, before := range []string{"", "x", "some text before"} {
		s := p.Stream()
		io.WriteString(s, before)
		s.Write(large)
		io.WriteString(s, "after")
		io.WriteString(s, "wards")
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(s.Raw())))
		if want := before + string(large) + "afterwards"; err != nil || string(got) != want {
			t.Errorf("after %q: %d bytes of %d, %v", before, len(got), len(want), err)
		}
	}
	s := p.Stream()
	s.Write(random(MemberSize))
	file := s.Gzip()
	s = p.Stream()
	s.Write(file)
	if again := s.Raw(); len(again) > len(file)+40 || !bytes.Contains(again, file[:1000]) {
		t.Errorf("a gzip file of %d bytes became %d", len(file), len(again))
	}
	if len(p.known) != 2 {
		t.Errorf("%d members are known, want two", len(p.known))
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, text := range texts() {
		if len(text) < 10_000 {
			f.Add(text, uint16(0))
		}
	}
	f.Add([]byte("repeated"), uint16(5000))
	f.Fuzz(func(t *testing.T, text []byte, times uint16) {
		if len(text) > 0 {
			text = bytes.Repeat(text, 1+int(times)%max(10_000/len(text), 1))
		}
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw(text))))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes instead of %d: %v", len(got), len(text), err)
		}
	})
}
