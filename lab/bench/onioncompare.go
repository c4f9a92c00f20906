package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"globalnet/lab/onionlab"
)

func init() {
	Register(Bench{Name: "compare-onion", Summary: "the onion beside tor as a private network", Print: compareOnionTable, Parts: []Part{
		{"near", "both on one loopback, one after the other", compareOnion("", 0, nearPlan)},
		{"far", "20 ms one way a link", compareOnion("20 ms a link, ", far, farPlan)},
	}})
}

const tor = "tor"

func compareOnion(title string, delay time.Duration, of func(int, bool) plan) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) ([]Result, error) {
		ours, err := measureOnion(ctx, e, onionlab.NewOurs, delay, of(e.Times(3), false))
		results := comparedOnion(title, "GlobalNet", ours)
		if err != nil {
			err = fmt.Errorf("GlobalNet: %w", err)
		}
		if missing := onionlab.CheckTor(); missing != nil {
			e.Logf("  %v; going on without", missing)
			return results, err
		}
		theirs, err2 := measureOnion(ctx, e, onionlab.NewTor, delay, of(e.Times(3), true))
		if err2 != nil {
			err = errors.Join(err, fmt.Errorf("tor: %w", err2))
		}
		return append(results, comparedOnion(title, tor, theirs)...), err
	}
}

func comparedOnion(title, program string, m measured) (results []Result) {
	add := func(metric string, value float64, unit, better string) {
		if value > 0 {
			results = append(results, Info(title+metric+separator+program, value, unit, better))
		}
	}
	half := func(v []float64) float64 { return quantile(v, 0.5) }
	add("start to first reply, nothing remembered", m.start, "s", "less")
	add("circuit of 3 hops", 1000*Median(m.build), "ms", "less")
	add("new stream, until SOCKS answers", 1000*Median(m.socks), "ms", "less")
	add("request to first byte", 1000*Median(m.first), "ms", "less")
	add("round trip on an open stream", 1000*Median(m.ping), "ms", "less")
	add("the same beside a bulk transfer", 1000*Median(m.beside), "ms", "less")
	add("one stream, down", half(m.down)/mega, "MB/s", "more")
	add("one stream, up", half(m.up)/mega, "MB/s", "more")
	add("10 streams on 10 circuits", half(m.ten)/mega, "MB/s", "more")
	add("CPU of a relay, one stream", half(m.relayCPU[0]), "s/GB", "less")
	add("CPU of a relay, 10 circuits", half(m.relayCPU[1]), "s/GB", "less")
	add("CPU of the client, one stream", half(m.clientCPU[0]), "s/GB", "less")
	add("CPU of the client, 10 circuits", half(m.clientCPU[1]), "s/GB", "less")
	add("500 small requests, one at a time", half(m.inTurn), "1/s", "more")
	add("500 small requests, 50 at a time", half(m.atOnce), "1/s", "more")
	add("RSS of the largest relay, after", m.relayRSS, "MiB", "less")
	add("RSS of the client, after", m.clientRSS, "MiB", "less")
	return results
}

func compareOnionTable(r Report, w io.Writer) {
	markdown(r, w, []string{"GlobalNet", tor})
	fmt.Fprint(w, `
Medians. Both were used through SOCKS by the same client, one after the other on the
same machine, with one file server. What differs:
- GlobalNet has five relays and an exit here, tor three authorities that relay and
  five exits; conflux and GeoIP files are off. All share the processors.
- SOCKS is answered by us when there is a circuit, by tor when the exit is connected;
  the request to the first byte then has the exit's connection in it with us.
- Circuits that tor gave up while they were made are not counted.
- Our mesh is not in these figures: links are plain TCP, as tor's are.
`)
}
