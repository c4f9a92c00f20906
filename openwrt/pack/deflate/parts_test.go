package deflate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// kraft is the sum of 2^-length in parts of 2^15; 2^15 is a complete code.
func kraft(lengths []uint8) (sum int) {
	for _, l := range lengths {
		if l > 0 {
			sum += 1 << (15 - l)
		}
	}
	return sum
}

func total(counts []uint32, lengths []uint8) (sum int) {
	for s, n := range counts {
		sum += int(n) * int(lengths[s])
	}
	return sum
}

// least tries all lengths, for counts sorted from the greatest.
func least(counts []uint32, from, limit, left int) int {
	if len(counts) == 0 {
		return 0
	}
	best := -1
	for l := from; l <= limit; l++ {
		if rest := left - 1<<(15-l); rest >= 0 {
			if sum := least(counts[1:], l, limit, rest); sum >= 0 && (best < 0 || sum+int(counts[0])*l < best) {
				best = sum + int(counts[0])*l
			}
		}
	}
	return best
}

func TestCodeLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		limit := 3 + r.IntN(3)
		counts := make([]uint32, 2+r.IntN(7))
		for i := range counts {
			counts[i] = 1 + uint32(r.ExpFloat64()*float64(int(1)<<r.IntN(12)))
		}
		lengths := make([]uint8, len(counts))
		codeLengths(counts, limit, lengths)
		sorted := slices.Clone(counts)
		slices.SortFunc(sorted, func(a, b uint32) int { return int(b) - int(a) })
		if want := least(sorted, 1, limit, 1<<15); total(counts, lengths) != want || kraft(lengths) != 1<<15 || int(slices.Max(lengths)) > limit {
			t.Fatalf("counts %v, at most %d bits: lengths %v cost %d, want %d", counts, limit, lengths, total(counts, lengths), want)
		}
	}
}

func TestCodeLengthsOfExtremes(t *testing.T) {
	fibonacci := make([]uint32, 40)
	for i := range fibonacci {
		if fibonacci[i] = 1; i > 1 {
			fibonacci[i] = fibonacci[i-1] + fibonacci[i-2]
		}
	}
	all := slices.Repeat([]uint32{1}, litLens)
	all[7] = 1 << 30
	for name, counts := range map[string][]uint32{
		"fibonacci": fibonacci, "none": make([]uint32, 30), "the first": {5, 0, 0}, "the last": {0, 0, 5}, "all": all,
	} {
		lengths := make([]uint8, len(counts))
		codeLengths(counts, 15, lengths)
		if kraft(lengths) != 1<<15 || slices.Max(lengths) > 15 {
			t.Errorf("%s: lengths %v", name, lengths)
		}
		for s, n := range counts {
			if n > 0 && lengths[s] == 0 {
				t.Errorf("%s: symbol %d has no code", name, s)
			}
		}
	}
}

// TestFinder compares with looking everywhere.
func TestFinder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	text := make([]byte, 3000)
	for i := range text {
		if text[i] = byte(r.IntN(3)); i > 300 && r.IntN(30) == 0 {
			copy(text[i:], text[i-1-r.IntN(300):][:min(len(text)-i, 100)])
		}
	}
	f := new(finder)
	for at := range text {
		most := min(len(text)-at, maxMatch)
		found := f.find(text, at, most, nil)
		longest := 0
		for from := at - 1; from >= 0; from-- {
			longest = max(longest, common(text[from:], text[at:], 0, most))
		}
		if longest < minMatch || most < 4 {
			longest = 0
		}
		got, last := 0, 0
		for _, m := range found {
			got = m.length()
			if got <= last || m.distance() > at || common(text[at-m.distance():], text[at:], 0, most) < got {
				t.Fatalf("at %d: length %d, distance %d, after length %d", at, got, m.distance(), last)
			}
			for near := 1; near < m.distance(); near++ {
				if got > minMatch && common(text[at-near:], text[at:], 0, most) >= got {
					t.Fatalf("at %d: length %d at distance %d, but nearer at %d", at, got, m.distance(), near)
				}
			}
			last = got
		}
		if got != longest {
			t.Fatalf("at %d: the longest match has %d bytes, found %d", at, longest, got)
		}
	}
}

func TestTables(t *testing.T) {
	for length := minMatch; length <= maxMatch; length++ {
		for _, distance := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 24, 25, 192, 193, 256, 257, 24576, 24577, window} {
			m := match(length, distance)
			l, d := m.lenSymbol(), m.distSymbol()
			if m.length() != length || m.distance() != distance || l > 28 || d > 29 ||
				lengthBases[l]+int(m.lenExtra()) != length || m.lenExtra()>>lengthExtraBits[l] != 0 ||
				distBase(d)+int(m.distExtra()) != distance || m.distExtra()>>distExtraBits(d) != 0 {
				t.Fatalf("length %d, distance %d: symbols %d and %d", length, distance, l, d)
			}
		}
	}
	for n, want := range map[uint64]uint64{1: 0, 2: 1 << 16, 1 << 40: 40 << 16, 3: 103872, 1000: 653117} {
		if got := log2(n); got != want {
			t.Errorf("log2(%d) is %d, want %d", n, got, want)
		}
	}
}
