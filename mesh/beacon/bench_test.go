package beacon

import (
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Two nodes that are out of reach come into reach at some moment: how long
// until one knows the other? Run with -benchtime 20x.
func BenchmarkMeet(b *testing.B) {
	for _, c := range []struct {
		name  string
		pace  Pace
		query bool
	}{{"isolated", Isolated, false}, {"connected", Connected, false}, {"connected,query", Connected, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSegment(b)
			one, two := s.station(""), s.station("")
			var first, both []time.Duration
			for b.Loop() {
				s.plug(two, false)
				x, y := one.run(1, "net"), two.run(2, "net")
				x.SetPace(c.pace)
				y.SetPace(c.pace)
				eventually(b, "both to speak", func() bool { return x.Counters()["own"] > 0 && y.Counters()["own"] > 0 })
				time.Sleep(time.Second + mathrand.N(time.Second)) // some moment
				from := time.Now()
				s.plug(two, true)
				if c.query {
					x.Query()
				}
				x.seen.wait(b, y.cfg.Tag)
				y.seen.wait(b, x.cfg.Tag)
				d, e := x.seen.at[0].Sub(from), y.seen.at[0].Sub(from)
				first, both = append(first, min(d, e)), append(both, max(d, e))
				x.stop()
				y.stop()
			}
			slices.Sort(first)
			slices.Sort(both)
			b.ReportMetric(0, "ns/op")
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(first[len(first)/2]), "ms-first-median")
			b.ReportMetric(ms(first[len(first)-1]), "ms-first-max")
			b.ReportMetric(ms(both[len(both)/2]), "ms-both-median")
			b.ReportMetric(ms(both[len(both)-1]), "ms-both-max")
		})
	}
}

// What is in the air, of all nodes on a segment, in a minute. Run with -benchtime 1x.
func BenchmarkAir(b *testing.B) {
	const during = 30 * time.Second
	for _, c := range []struct {
		name  string
		pace  Pace
		nodes int
		ip4   bool
	}{
		{"isolated-1", Isolated, 1, false}, {"connected-2", Connected, 2, false},
		{"connected-5", Connected, 5, false}, {"connected-2-dual", Connected, 2, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s := newSegment(b)
				var nodes []*running
				var stations []*station
				for i := range c.nodes {
					ip4 := ""
					if c.ip4 {
						ip4 = "10.9.0." + string(rune('1'+i)) + "/24"
					}
					st := s.station(ip4)
					r := st.run(1, "net")
					r.SetPace(c.pace)
					nodes, stations = append(nodes, r), append(stations, st)
				}
				time.Sleep(2 * time.Second) // the start is not what we measure
				before := s.heard(stations)
				time.Sleep(during)
				after := s.heard(stations)
				perMinute := float64(time.Minute / during)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(after[0]-before[0])*perMinute, "packets/min")
				b.ReportMetric(float64(after[1]-before[1])*perMinute, "bytes/min")
				for _, r := range nodes {
					r.stop()
				}
			}
		})
	}
}

// heard counts the packets and bytes that the stations sent, Ethernet headers included.
func (s *segment) heard(stations []*station) (n [2]uint64) {
	s.t.Helper()
	for _, st := range stations {
		l, err := s.h.LinkByName(st.port)
		if err != nil {
			s.t.Fatal(err)
		}
		n[0] += l.Attrs().Statistics.RxPackets
		n[1] += l.Attrs().Statistics.RxBytes
	}
	return n
}
