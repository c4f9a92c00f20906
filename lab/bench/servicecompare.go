package bench

import (
	"context"
	"errors"
	"fmt"
	"io"

	"globalnet/lab/onionlab"
)

func init() {
	Register(Bench{Name: "compare-service", Summary: "hidden services beside tor's onion services", Print: compareServiceTable, Parts: []Part{
		{"near", "both on one loopback, one after the other", compareService},
	}})
}

func compareService(ctx context.Context, e Env) ([]Result, error) {
	ours, err := measureServices(ctx, e, onionlab.NewOurServices, servicePlanOf(e.Times(3), false))
	results := comparedServices("GlobalNet", ours)
	if err != nil {
		err = fmt.Errorf("GlobalNet: %w", err)
	}
	if missing := onionlab.CheckTor(); missing != nil {
		e.Logf("  %v; going on without", missing)
		return results, err
	}
	theirs, err2 := measureServices(ctx, e, onionlab.NewTorServices, servicePlanOf(e.Times(3), true))
	if err2 != nil {
		err = errors.Join(err, fmt.Errorf("tor: %w", err2))
	}
	return append(results, comparedServices(tor, theirs)...), err
}

func comparedServices(program string, m serviceMeasured) (results []Result) {
	add := func(metric string, value float64, unit, better string) {
		if value > 0 {
			results = append(results, Info(metric+separator+program, value, unit, better))
		}
	}
	add("connect, descriptor not cached", 1000*Median(m.cold), "ms", "less")
	add("connect, descriptor not cached, 90 %", 1000*Quantile(m.cold, 0.9), "ms", "less")
	add("connect, new rendezvous, descriptor cached", 1000*Median(m.warm), "ms", "less")
	add("connect, new rendezvous, descriptor cached, 90 %", 1000*Quantile(m.warm, 0.9), "ms", "less")
	add("new stream on an existing rendezvous", 1000*Median(m.stream), "ms", "less")
	add("one stream, down", quantile(m.down, 0.5)/mega, "MB/s", "more")
	add("500 small requests, 50 at a time", quantile(m.atOnce, 0.5), "1/s", "more")
	add("from the offer of a service to the first visit", Median(m.first), "s", "less")
	return results
}

func compareServiceTable(r Report, w io.Writer) {
	markdown(r, w, []string{"GlobalNet", tor})
	fmt.Fprint(w, `
Medians, but for the 90 %. A connection and a stream end with the first byte of the
answer, with both. Both were used through SOCKS by the same client, one after the other
on the same machine, with one file server behind the service. What differs:
- GlobalNet has eight relays, tor three authorities and five exits, all of which relay.
- Before a connection there are 300 ms, in which circuits that wait are made again. A
  descriptor is forgotten by new credentials with us, by NEWNYM with tor, which also
  gives up its circuits and is taken every 10 s only: tor has those 10 s to make new ones.
- A rendezvous is new because its circuit was closed with us, by new credentials with tor.
- A service is offered by a call with us, by ADD_ONION with tor, whose host has circuits
  ready. With tor the first visit begins when a first descriptor is stored: a client that
  asks earlier is not let ask again. With us the client asks until somebody answers.
- Circuits are of three hops of the client and four of the service with us; tor has vanguards-lite.
`)
}
