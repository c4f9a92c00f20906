package kernel_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"globalnet/mesh/kernel/kerneltest"
)

// BenchmarkLine sends TCP for three seconds through 1, 2 and 3 hops of userspace
// WireGuard; run it with -benchtime 1x. The processor time is that of the nodes.
func BenchmarkLine(b *testing.B) {
	duration := 3 * time.Second
	if d, err := time.ParseDuration(os.Getenv("KERNELTEST_BENCH_FOR")); err == nil {
		duration = d
	}
	for _, small := range []bool{false, true} {
		for hops := 1; hops <= 3; hops++ {
			b.Run(fmt.Sprintf("small=%v/hops=%d", small, hops), func(b *testing.B) {
				o := kerneltest.Options{Userspace: true, Small: small}
				if path := os.Getenv("KERNELTEST_PROFILE"); path != "" {
					o.Env = []string{"KERNELTEST_PROFILE=" + path}
				}
				l := newLine(b, hops+1, o)
				if _, err := l.Nodes[0].Ping(l.Address(hops), 10*time.Second); err != nil {
					b.Fatal(err)
				}
				port, err := l.Nodes[hops].Sink()
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					rate, err := l.Nodes[0].SendTCP(netip.AddrPortFrom(l.Address(hops), uint16(port)), duration)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(rate/1e6, "Mbit/s")
				}
				var cpu time.Duration
				var rss, peak int64
				for _, n := range l.Nodes {
					u, err := n.Usage(false)
					if err != nil {
						b.Fatal(err)
					}
					cpu += u.CPU
					rss, peak = max(rss, u.RSS), max(peak, u.PeakRSS)
				}
				b.ReportMetric(cpu.Seconds(), "cpu-s")
				b.ReportMetric(float64(rss)/(1<<20), "RSS-MiB")
				b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
				for _, n := range l.Nodes {
					if err := n.Stop(); err != nil {
						b.Error(err)
					}
				}
			})
		}
	}
}
