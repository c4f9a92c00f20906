package kernel_test

import (
	"net/netip"
	"testing"
	"time"

	"globalnet/mesh/kernel/kerneltest"
)

func newLine(t testing.TB, n int, o kerneltest.Options) *kerneltest.Line {
	t.Helper()
	kerneltest.Require(t)
	l, err := kerneltest.NewLine(n, o)
	t.Cleanup(l.Close)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLine pings and sends TCP through three hops of WireGuard over link-local
// endpoints.
func TestLine(t *testing.T) {
	modes(t, func(t *testing.T, o kerneltest.Options) {
		l := newLine(t, 4, o)
		for i := 1; i < 4; i++ {
			if _, err := l.Nodes[0].Ping(l.Address(i), 10*time.Second); err != nil {
				t.Fatalf("node %d: %v", i, err)
			}
		}
		port, err := l.Nodes[3].Sink()
		if err != nil {
			t.Fatal(err)
		}
		rate, err := l.Nodes[0].SendTCP(netip.AddrPortFrom(l.Address(3), uint16(port)), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%.0f Mbit/s", rate/1e6)
		s := stats(t, l.Nodes[0], "gn-right")
		if s.RxBytes == 0 || s.TxBytes < uint64(rate/8/2) || s.LastHandshake.IsZero() || s.Endpoint != l.Links[0].Left.Endpoint {
			t.Errorf("stats %+v, endpoint %v expected", s, l.Links[0].Left.Endpoint)
		}
	})
}
