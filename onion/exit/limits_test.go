package exit

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterLetsTheBurstAndThenTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter()
		if w := l.Take(1 << 30); w != 0 {
			t.Errorf("without a limit: %v", w)
		}
		l.Set(1000, 500)
		for _, tt := range []struct {
			sleep time.Duration
			n     int
			wait  time.Duration
		}{
			{0, 300, 0}, {0, 200, 0}, {0, 1000, time.Second}, {0, 500, 1500 * time.Millisecond},
			{1500 * time.Millisecond, 1, time.Millisecond}, {time.Hour, 500, 0}, {0, 1, time.Millisecond},
		} {
			time.Sleep(tt.sleep)
			if w := l.Take(tt.n); w != tt.wait {
				t.Errorf("%d bytes: wait %v, want %v", tt.n, w, tt.wait)
			}
		}
	})
}

func TestLimiterSharesTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter()
		l.Set(100_000, 1)
		start := time.Now()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				for range 10 {
					l.Wait(1000, nil)
				}
			})
		}
		group.Wait()
		if took := time.Since(start); took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("100 kB at 100 kB/s took %v", took)
		}
	})
}

func TestLimiterWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter()
		l.Set(1, 1)
		done := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(done) })
		start := time.Now()
		l.Wait(1_000_000, done)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("waited %v although done", took)
		}
		l.Set(1, 1)
		time.AfterFunc(time.Second, func() { l.Set(0, 0) })
		start = time.Now()
		l.Wait(1_000_000, nil)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("waited %v although the limit was taken away", took)
		}
	})
}

func TestLimiterTellsItsQuota(t *testing.T) {
	l := NewLimiter()
	l.Quota = NewQuota(1000)
	l.Take(999)
	left := l.Quota.Left()
	l.Set(1<<30, 0)
	if l.Take(1); !left || l.Quota.Left() || l.Quota.Save().Bytes != 1000 {
		t.Errorf("left %v, then %+v", left, l.Quota.Save())
	}
}

func BenchmarkLimiterWithoutLimit(b *testing.B) {
	l := NewLimiter()
	for b.Loop() {
		l.Take(1300)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewLimiter()
	l.Set(1<<40, 1<<40)
	for b.Loop() {
		l.Take(1300)
	}
}

func TestGateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Connections: 3, Rate: 10, Burst: 4, PerDestination: 2, DestinationRate: 1, DestinationBurst: 3})
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		enter := func(want bool) {
			t.Helper()
			if got := g.enter(); got != want {
				t.Errorf("entered %v, want %v", got, want)
			}
		}
		enterTo := func(a netip.Addr, want bool) {
			t.Helper()
			if got := g.enterTo(a); got != want {
				t.Errorf("entered to %v %v, want %v", a, got, want)
			}
		}
		for range 3 {
			enter(true)
		}
		enter(false) // three are open
		g.leave()
		enter(true)
		g.leave()
		enter(false) // the burst is used up
		time.Sleep(101 * time.Millisecond)
		enter(true)

		enterTo(a, true)
		enterTo(a, true)
		enterTo(a, false) // two are open
		enterTo(b, true)  // elsewhere
		g.leaveTo(a)
		enterTo(a, true)
		g.leaveTo(a)
		enterTo(a, false) // the burst is used up
		g.leaveTo(a)
		enterTo(a, false) // and not forgotten
		time.Sleep(1001 * time.Millisecond)
		enterTo(a, true)
		g.leaveTo(a)
		time.Sleep(time.Minute)
		enterTo(a, true)
		g.leaveTo(a)

		g.set(Limits{Connections: -1, Rate: -1, PerDestination: -1, DestinationRate: -1})
		for range 10_000 {
			enter(true)
			enterTo(a, true)
		}
	})
}

func TestGateRemembersABoundedNumberOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{DestinationRate: 1})
		addr := netip.MustParseAddr("2000::")
		visit := func() bool {
			addr = addr.Next()
			ok := g.enterTo(addr)
			if ok {
				g.leaveTo(addr)
			}
			return ok
		}
		for range maxDestinations {
			if !visit() {
				t.Fatal("refused early")
			}
		}
		if visit() || len(g.destinations) > maxDestinations {
			t.Errorf("%d addresses are remembered", len(g.destinations))
		}
		time.Sleep(2 * time.Second)
		if !visit() {
			t.Error("the addresses are never forgotten")
		}
	})
}
