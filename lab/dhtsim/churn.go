package dhtsim

import (
	"fmt"
	"io"
	"time"

	"globalnet/mesh/dht/dhttest"
)

// ChurnResult is how real nodes fared while others came and went.
type ChurnResult struct {
	Law                string
	Life, Republish    time.Duration
	Gets, Found, Stale int
	BytesPerRecord     float64 // a second: publishing and keeping one record
}

// Churn runs real nodes for a span during which each lives as the law says and is
// replaced by a newcomer. The publishers stay; every minute all records are read.
func Churn(o Options, law Law, life, republish, span time.Duration) ChurnResult {
	o = o.filled()
	r := &run{o: o, net: network(o), version: make([]int, o.Records), result: Result{Options: o}}
	cfg := dhtConfig(o.Membership)
	cfg.Republish = republish
	result := ChurnResult{Law: law.Name, Life: life, Republish: republish}
	draw := func() time.Duration {
		return time.Duration(law.draw(1-r.net.Rand().Float64()) * float64(life))
	}
	publishers := r.net.Build(max(2, o.Nodes/10), cfg)
	ends := make(map[*dhttest.Node]time.Time)
	for range o.Nodes - len(publishers) {
		x := r.net.Join(cfg)
		ends[x] = r.net.Now().Add(draw())
		r.net.Run(20 * time.Millisecond)
	}
	r.net.Run(10 * time.Second)
	r.publish(Store, publishers)
	end := r.net.Now().Add(span)
	bytes := r.net.Bytes
	getBytes := 0
	for r.net.Now().Before(end) {
		for _, x := range r.net.Alive() {
			if until, mortal := ends[x]; mortal && r.net.Now().After(until) {
				r.net.Kill(x, o.Membership)
				delete(ends, x)
				y := r.net.Join(cfg)
				ends[y] = r.net.Now().Add(draw())
			}
		}
		r.net.Run(time.Minute - r.net.Now().Sub(dhttest.Epoch)%time.Minute)
		before := r.net.Bytes
		p := r.get("churn", r.net.Alive(), 0)
		getBytes += r.net.Bytes - before
		result.Gets += p.Ops
		result.Found += p.OK
		result.Stale += p.Stale
	}
	result.BytesPerRecord = float64(r.net.Bytes-bytes-getBytes) / span.Seconds() / float64(o.Records)
	return result
}

// ChurnTable prints what real nodes did.
func ChurnTable(w io.Writer, o Options, span time.Duration) {
	fmt.Fprintf(w, "\n## Real nodes that come and go, k = 8\n\n| life | law | interval | reads | right | octets/s a record, all upkeep included |\n|---|---|---|---|---|---|\n")
	for _, law := range Laws {
		for _, interval := range []time.Duration{5 * time.Minute, 20 * time.Minute} {
			r := Churn(o, law, time.Hour, interval, span)
			fmt.Fprintf(w, "| %s | %s | %s | %d | %.2f %% | %.0f |\n", hours(r.Life), r.Law, minutes(r.Republish),
				r.Gets, 100*float64(r.Found)/float64(r.Gets), r.BytesPerRecord)
		}
	}
}
