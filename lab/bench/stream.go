package bench

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"globalnet/lab"
)

// streamEvery is the pause between two requests of a stream.
const streamEvery = 50 * time.Millisecond

// stream is traffic between two routers, a request and its answer 20 times a second.
type stream struct {
	pinger *lab.Pinger
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu   sync.Mutex
	sent []echo
}

// echo is one request.
type echo struct {
	sent, answered time.Time // answered is zero while it is not
}

func newStream(ctx context.Context, from *lab.Node, to netip.Addr) (*stream, error) {
	p, err := lab.NewPinger(from.Namespace())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{pinger: p, cancel: cancel}
	s.ended.Go(func() { s.run(ctx, to) })
	return s, nil
}

func (s *stream) run(ctx context.Context, to netip.Addr) {
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for {
		s.mu.Lock()
		i := len(s.sent)
		s.sent = append(s.sent, echo{sent: time.Now()})
		s.mu.Unlock()
		s.ended.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if _, err := s.pinger.Ping(ctx, to); err == nil {
				s.mu.Lock()
				s.sent[i].answered = time.Now()
				s.mu.Unlock()
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *stream) stop() {
	s.cancel()
	s.ended.Wait()
	s.pinger.Close()
}

// resumed returns when traffic that was sent after since flowed again.
func (s *stream) resumed(since, now time.Time) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return resumed(s.sent, since, now)
}

// A hole is over when for so long nine of ten requests are answered.
const (
	steadyFor   = time.Second
	steadyGrace = 500 * time.Millisecond // how long answers of that time may take
)

// resumed finds the first answer after which traffic goes on.
func resumed(sent []echo, since, now time.Time) (time.Time, bool) {
	for i, first := range sent {
		if first.sent.Before(since) || first.answered.IsZero() || now.Sub(first.sent) < steadyFor+steadyGrace {
			continue
		}
		asked, answered := 0, 0
		for _, x := range sent[i:] {
			if x.sent.Sub(first.sent) > steadyFor {
				break
			}
			asked++
			if !x.answered.IsZero() {
				answered++
			}
		}
		if 10*answered >= 9*asked {
			return first.answered, true
		}
	}
	return time.Time{}, false
}
