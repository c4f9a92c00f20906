package mesh

import (
	"context"
	"time"
)

// watch reads the links' counters: often while there is traffic, so that a link
// that has died in silence is noticed, seldom when there is none.
type watch struct {
	next    time.Time
	asking  bool
	traffic time.Time // last time any link carried more than our own chatter
}

const (
	watchBusy    = 150 * time.Millisecond
	watchIdle    = time.Second
	watchLinger  = 10 * time.Second
	silenceProbe = 300 * time.Millisecond // sent without answer for so long: probe
	probeAgain   = time.Second
)

// linkWatch is what is known of one link's counters.
type linkWatch struct {
	last        LinkStats
	known       bool
	heardAt     time.Time // when received bytes grew
	sentPolls   int       // readings since then in which sent bytes grew
	firstSent   time.Time // first of them
	probedAt    time.Time
	handshakeAt time.Time // when the handshake's time changed
	kickedAt    time.Time // when we began it, again or for the first time
	kicks       int
}

// pace is how soon the counters should be read again.
type pace byte

const (
	slowly  pace = iota
	soon         // something is without an answer: once more
	quickly      // there is traffic: for a while
)

// update takes a reading and reports whether the neighbour should be probed.
func (w *linkWatch) update(now time.Time, s LinkStats) (probe bool, again pace) {
	if !w.known {
		w.last, w.known, w.heardAt, w.handshakeAt = s, true, now, now
		return false, slowly
	}
	sent, got := s.TxBytes-w.last.TxBytes, s.RxBytes-w.last.RxBytes
	if !s.LastHandshake.Equal(w.last.LastHandshake) {
		w.handshakeAt = now
	}
	w.last = s
	if sent+got > chatter {
		again = quickly
	}
	if got != 0 {
		w.heardAt, w.sentPolls = now, 0
		return false, again
	}
	if sent == 0 {
		return false, slowly
	}
	again = max(again, soon)
	if w.sentPolls == 0 {
		w.firstSent = now
	}
	w.sentPolls++
	if w.sentPolls >= 2 && now.Sub(w.firstSent) >= silenceProbe-watchBusy &&
		now.Sub(w.heardAt) >= silenceProbe && now.Sub(w.probedAt) >= probeAgain {
		w.probedAt = now
		return true, quickly
	}
	return false, again
}

// handshakeStale reports that WireGuard should have renewed its session by now;
// it gives the session up 30 s later (WireGuard paper, section 6.1).
func (w *linkWatch) handshakeStale(now time.Time) bool {
	return w.known && now.Sub(w.handshakeAt) > handshakeLife
}

// chatter is what a link carries in one reading without user traffic.
const chatter = 600

// pollStats asks the kernel for the counters, off the loop.
func (n *Node) pollStats(now time.Time) {
	interval := watchIdle
	if now.Sub(n.watch.traffic) < watchLinger {
		interval = watchBusy
	}
	n.watch.next = now.Add(interval)
	if n.watch.asking || len(n.neighbours) == 0 {
		return
	}
	n.watch.asking = true
	n.worker.submit(func(ctx context.Context, k Kernel) {
		stats, err := k.LinkStats(ctx)
		n.do(ctx, func(now time.Time) {
			n.watch.asking = false
			if err != nil {
				n.count("stats_errors")
				n.log.Debug("reading link counters", "err", err)
				return
			}
			n.takeStats(now, stats)
		})
	})
}

func (n *Node) takeStats(now time.Time, stats map[string]LinkStats) {
	for _, nb := range n.neighbours {
		s, ok := stats[nb.ifname]
		if !ok || nb.state == stateConnecting {
			continue
		}
		probe, again := nb.stats.update(now, s)
		if again == quickly {
			n.watch.traffic = now
		}
		if again != slowly {
			n.watch.next = minTime(n.watch.next, now.Add(watchBusy))
		}
		if nb.est.Initiator && s.LastHandshake.IsZero() {
			n.kickHandshake(now, nb)
		}
		if probe && nb.state == stateUp {
			n.count("probes")
			n.speaker.Probe(now, nb.ifname)
		}
	}
}

// kickHandshake begins the WireGuard handshake of a new link again: its first
// message may be lost, and WireGuard itself waits five seconds before it repeats it.
func (n *Node) kickHandshake(now time.Time, nb *neighbour) {
	w := &nb.stats
	n.watch.traffic = now
	if w.kickedAt.IsZero() {
		w.kickedAt = now // linkMade began it
	}
	if w.kicks >= maxKicks || now.Sub(w.kickedAt) < kickInterval<<w.kicks {
		return
	}
	w.kickedAt = now
	w.kicks++
	conf := nb.conf
	n.count("handshakes_repeated")
	n.worker.submit(func(ctx context.Context, k Kernel) {
		if err := k.SetLink(ctx, conf); err != nil {
			n.log.Warn("repeating the handshake", "ifname", conf.Name, "err", err)
		}
	})
}

const (
	kickInterval = 200 * time.Millisecond // doubles
	maxKicks     = 4
)

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
