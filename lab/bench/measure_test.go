package bench

import (
	"encoding/hex"
	"testing"
	"time"
)

func TestResumed(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	// traffic is requests every 50 ms up to 6 s, answered after 1 ms where answered says so.
	traffic := func(answered func(ms int) bool) (sent []echo) {
		for ms := 0; ms < 6000; ms += 50 {
			x := echo{sent: at(ms)}
			if answered(ms) {
				x.answered = at(ms + 1)
			}
			sent = append(sent, x)
		}
		return sent
	}
	for _, x := range []struct {
		name     string
		answered func(ms int) bool
		now      int
		want     int // milliseconds; -1 is never
	}{
		{"no hole", func(int) bool { return true }, 6000, 1001},
		{"a hole", func(ms int) bool { return ms < 1000 || ms >= 2500 }, 6000, 2501},
		{"the hole is over, but not yet for long", func(ms int) bool { return ms < 1000 || ms >= 2500 }, 3500, -1},
		{"one answer within the hole", func(ms int) bool { return ms < 1000 || ms == 1500 || ms >= 2500 }, 6000, 2501},
		{"every third is lost", func(ms int) bool { return ms < 1000 || ms%150 != 0 }, 6000, -1},
		{"every fifteenth is lost", func(ms int) bool { return ms < 1000 || ms%750 != 0 }, 6000, 1001},
		{"all is lost", func(ms int) bool { return ms < 1000 }, 6000, -1},
	} {
		got, ok := resumed(traffic(x.answered), at(1000), at(x.now))
		if ok != (x.want >= 0) || ok && !got.Equal(at(x.want)) {
			t.Errorf("%s: %v, %v; want %d ms", x.name, got.Sub(start), ok, x.want)
		}
	}
}

func TestParseCPU(t *testing.T) {
	got, err := parseCPU("42 (a (b) 1 2) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1000 1 1")
	if err != nil || got != 2*time.Second {
		t.Errorf("%v, %v; want 2 s", got, err)
	}
	for _, bad := range []string{"", "42", "42 (x)", "42 (x) S 1 2 3", "42 (x) S 1 42 42 0 -1 4194560 100 0 0 0 x 50 0"} {
		if _, err := parseCPU(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestIsBabel(t *testing.T) {
	header := "6000000000001101" + "fe800000000000000000000000000001" + "ff020000000000000000000000010006"
	for text, want := range map[string]bool{
		header + "1a281a2800100000":        true,
		header + "00351a2800100000":        true,
		header + "1a28003500100000":        false,
		header:                             false,
		"45" + header[2:] + "1a281a280010": false,
		"":                                 false,
	} {
		p, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if isBabel(p) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestMemoryOfOurselves(t *testing.T) {
	m, err := memoryOf(1)
	if err != nil {
		t.Skip(err)
	}
	if m.rss <= 0 || m.peak < m.rss {
		t.Errorf("%+v", m)
	}
}
