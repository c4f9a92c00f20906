package inside

import (
	"context"
	"testing"
	"time"

	"globalnet/lab"
)

// TestClock sets the clock back to 1970 under two agents that have a link. Their
// WireGuard sessions must be renewed twice since; the kernel refuses a handshake
// with an older timestamp than the last (TAI64N), so a key that lives on would
// lock them out. Then one agent starts again, in 1970.
func TestClock(t *testing.T) {
	require(t)
	radios := open(t, 2)
	agents := neighbourhood(t, radios)
	begin := time.Now()
	start(t, agents...)
	reach(t, begin, agents[0], agents[1])

	setClock(t, time.Minute)
	p, err := lab.NewPinger(radios[0].Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var worst time.Duration
	last := time.Now()
	for began := last; time.Since(began) < 400*time.Second; time.Sleep(time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := p.Ping(ctx, agents[1].Address)
		cancel()
		if err == nil {
			last = time.Now()
		}
		worst = max(worst, time.Since(last))
	}
	measured(t, "clock set to 1970 under a link: longest silence in 400 s", worst.Seconds(), "s")
	if worst > 10*time.Second {
		t.Errorf("the link was dead for %v", worst)
	}

	agents[1].Kill()
	if err := agents[1].Cleanup(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	start(t, agents[1])
	reach(t, begin, agents[0], agents[1])
	stop(t, agents)
}
