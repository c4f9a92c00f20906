package mesh

import (
	"testing"
	"time"
)

// reading is one look at a link's counters.
type reading struct {
	after  time.Duration
	tx, rx uint64
	probe  bool
}

func TestLinkWatchProbesSilence(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name     string
		readings []reading
	}{
		{"traffic both ways", []reading{
			{0, 0, 0, false}, {150 * ms, 1000, 1000, false}, {150 * ms, 2000, 2000, false}, {150 * ms, 3000, 3000, false},
		}},
		{"idle", []reading{
			{0, 5, 5, false}, {time.Second, 5, 5, false}, {time.Second, 5, 5, false},
		}},
		{"one hello that nobody answers yet", []reading{
			{0, 0, 0, false}, {time.Second, 120, 0, false}, {time.Second, 120, 0, false},
		}},
		{"sent and sent, nothing heard", []reading{
			{0, 0, 0, false}, {150 * ms, 1000, 1000, false},
			{150 * ms, 2000, 1000, false}, {150 * ms, 3000, 1000, true},
			// not again within a second
			{150 * ms, 4000, 1000, false}, {150 * ms, 5000, 1000, false},
			{time.Second, 6000, 1000, true},
		}},
		{"an answer ends the silence", []reading{
			{0, 0, 0, false}, {150 * ms, 1000, 0, false}, {150 * ms, 2000, 10, false}, {150 * ms, 3000, 10, false},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var w linkWatch
			now := time.Unix(1000, 0)
			for i, r := range test.readings {
				now = now.Add(r.after)
				if probe, _ := w.update(now, LinkStats{TxBytes: r.tx, RxBytes: r.rx}); probe != r.probe {
					t.Fatalf("reading %d: probe is %v, want %v", i, probe, r.probe)
				}
			}
		})
	}
}

func TestHandshakeStaleByOurOwnClock(t *testing.T) {
	var w linkWatch
	now := time.Unix(0, 0)
	// The handshake's own time is wall time and may be anything; only change counts.
	future := time.Unix(1<<40, 0)
	w.update(now, LinkStats{LastHandshake: future})
	if w.handshakeStale(now.Add(handshakeLife)) {
		t.Error("stale too early")
	}
	if !w.handshakeStale(now.Add(handshakeLife + time.Second)) {
		t.Error("not stale although WireGuard did not renew it")
	}
	now = now.Add(120 * time.Second)
	w.update(now, LinkStats{LastHandshake: time.Unix(5, 0)}) // the clock was set back
	if w.handshakeStale(now.Add(handshakeLife)) {
		t.Error("stale although it was renewed")
	}
}

// Counters are read often for the sake of traffic, not of Babel's own packets.
func TestLinkWatchPace(t *testing.T) {
	var w linkWatch
	now := time.Unix(1000, 0)
	for i, r := range []struct {
		tx, rx uint64
		again  pace
	}{
		{0, 0, slowly},
		{120, 0, soon}, // a hello
		{120, 0, slowly},
		{120, 120, slowly}, // the neighbour's
		{240, 240, slowly},
		{2000, 240, quickly},
		{2000, 3000, quickly},
		{2060, 3000, soon},
	} {
		now = now.Add(watchBusy)
		if _, again := w.update(now, LinkStats{TxBytes: r.tx, RxBytes: r.rx}); again != r.again {
			t.Errorf("reading %d: again %d, want %d", i, again, r.again)
		}
	}
}
