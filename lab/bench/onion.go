package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"globalnet/lab/onionlab"
)

func init() {
	Register(Bench{Name: "onion", Summary: "the onion: circuits, streams, rates, and what they take", Parts: []Part{
		{"near", "the onion alone, all on one loopback", onionNear},
		{"far", "the same, 20 ms one way a link", onionFar},
		{"agents", "whole agents: each link of the path is a mesh with WireGuard in user space", onionAgents},
	}})
}

// far is how long a packet takes over a link, one way.
const far = 20 * time.Millisecond

// trialTime bounds one onion in one world: tor's slow rows and its start included.
const trialTime = 8 * time.Minute

// plan is how much is measured.
type plan struct {
	builds, streams, pings, rounds, starts, requests int
	down, up, ten                                    int     // bytes, of each stream
	total                                            float64 // bytes that a relay must have carried before its memory counts
	few                                              bool    // leave out small requests and fairness
}

func nearPlan(rounds int, slow bool) plan {
	p := plan{builds: 60, streams: 200, pings: 300, rounds: rounds, starts: 5, requests: 500,
		down: 256e6, up: 256e6, ten: 64e6, total: 4e9}
	if slow {
		p.down, p.up, p.ten, p.streams = 48e6, 32e6, 32e6, 100
	}
	return p
}

func farPlan(rounds int, slow bool) plan {
	p := plan{builds: 10, streams: 20, pings: 20, rounds: rounds, starts: 1, down: 128e6, up: 128e6, ten: 32e6, few: true}
	if slow {
		p.down, p.up, p.ten = 24e6, 16e6, 16e6
	}
	return p
}

type startOnion func(context.Context, *onionlab.World) (onionlab.Onion, error)

// measureOnion runs an onion and measures it. What was measured before an error counts.
func measureOnion(ctx context.Context, e Env, start startOnion, delay time.Duration, p plan) (m measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	w, err := onionlab.NewWorld(delay)
	if err != nil {
		return m, err
	}
	defer w.Close()
	o, err := start(ctx, w)
	if err != nil {
		return m, err
	}
	defer o.Close()
	server, stop, err := w.Serve()
	if err != nil {
		return m, err
	}
	defer stop()
	u := &user{do: func(f func() error) error { return w.Do(onionlab.Client, f) }, server: server.String(),
		client: o.ClientPid, relays: o.RelayPids, hops: 3}
	var starts []time.Duration
	for range p.starts {
		began := time.Now()
		if u.proxy, err = o.Connect(); err != nil {
			return m, err
		}
		if err := u.ready(ctx, "streams"); err != nil {
			return m, err
		}
		starts = append(starts, time.Since(began))
	}
	m.start = Median(starts)
	e.Logf("  %s: first reply after %.2f s", o.Name(), m.start)
	if err := wait(ctx, 3*time.Second); err != nil {
		return m, err
	}
	for range p.builds {
		took, err := o.Build(ctx)
		if err != nil {
			m.buildFailed++
			if m.buildFailed > p.builds/2 {
				return m, err
			}
			continue
		}
		m.build = append(m.build, took)
	}
	e.Logf("  %s: a circuit in %.1f ms, %d of %d were not made", o.Name(), 1000*Median(m.build), m.buildFailed, p.builds)
	return m, u.measure(ctx, e, o.Name(), p, &m)
}

// measure is what needs nothing but a proxy and a server.
func (u *user) measure(ctx context.Context, e Env, name string, p plan, m *measured) error {
	var err error
	if m.socks, m.first, err = u.streams(p.streams); err != nil {
		return fmt.Errorf("new streams: %w", err)
	}
	if m.ping, err = u.pings("ping", p.pings, nil); err != nil {
		return fmt.Errorf("round trips: %w", err)
	}
	e.Logf("  %s: a stream in %.2f ms, first byte after %.2f ms more, round trip %.2f ms", name,
		1000*Median(m.socks), 1000*Median(m.first), 1000*Median(m.ping))
	for range p.rounds {
		if err := u.round(ctx, e, name, p, m); err != nil {
			return err
		}
	}
	if p.few {
		return nil
	}
	for range p.rounds {
		inTurn, err := u.requests(p.requests, 1)
		if err != nil {
			return err
		}
		atOnce, err := u.requests(p.requests, 50)
		if err != nil {
			return err
		}
		m.inTurn, m.atOnce = append(m.inTurn, inTurn), append(m.atOnce, atOnce)
	}
	e.Logf("  %s: %.0f small requests a second one at a time, %.0f with 50", name, quantile(m.inTurn, 0.5), quantile(m.atOnce, 0.5))
	if err := u.fairness(p, m); err != nil {
		return fmt.Errorf("beside a bulk transfer: %w", err)
	}
	e.Logf("  %s: round trip beside a bulk transfer %.2f ms", name, 1000*Median(m.beside))
	for m.carried < p.total && ctx.Err() == nil {
		if err := u.parallel(10, p.ten); err != nil {
			return err
		}
		m.carried += 10 * float64(p.ten)
	}
	m.relayRSS, m.clientRSS, err = u.memory()
	e.Logf("  %s: largest relay %.1f MiB, client %.1f MiB after %.1f GB (load average %s)", name, m.relayRSS, m.clientRSS, m.carried/1e9, load())
	return errors.Join(err, ctx.Err())
}

func (u *user) round(ctx context.Context, e Env, name string, p plan, m *measured) error {
	for i := range 10 {
		if err := u.ready(ctx, fmt.Sprintf("ten%d", i)); err != nil { // the circuits are there
			return err
		}
	}
	down, relay, client, err := u.bulk(p.down, func() error { return u.get("bulk", p.down) })
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	m.relayCPU[0], m.clientCPU[0] = append(m.relayCPU[0], relay), append(m.clientCPU[0], client)
	up, _, _, err := u.bulk(p.up, func() error { return u.upload("bulk", p.up) })
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	ten, relay, client, err := u.bulk(10*p.ten, func() error { return u.parallel(10, p.ten) })
	if err != nil {
		return fmt.Errorf("ten streams: %w", err)
	}
	m.relayCPU[1], m.clientCPU[1] = append(m.relayCPU[1], relay), append(m.clientCPU[1], client)
	m.down, m.up, m.ten = append(m.down, down), append(m.up, up), append(m.ten, ten)
	m.carried += float64(p.down + p.up + 10*p.ten)
	e.Logf("  %s: %.1f MB/s down, %.1f up, %.1f on ten circuits; CPU s/GB relay %.2f, client %.2f (load average %s)", name,
		down/1e6, up/1e6, ten/1e6, relay, client, load())
	return nil
}

// fairness pings on one circuit while another carries all that it can.
func (u *user) fairness(p plan, m *measured) error {
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(stop)
		ended <- u.get("bulk", 2*p.down)
	}()
	time.Sleep(300 * time.Millisecond) // the transfer has come up to speed
	var err error
	m.beside, err = u.pings("ping", p.pings, stop)
	return errors.Join(err, <-ended)
}

const mega = 1e6

func onionNear(ctx context.Context, e Env) ([]Result, error) {
	m, err := measureOnion(ctx, e, onionlab.NewOurs, 0, nearPlan(e.Times(5), false))
	if m.build == nil {
		return nil, err
	}
	ms := func(d []time.Duration) float64 { return 1000 * Median(d) }
	half := func(v []float64) float64 { return quantile(v, 0.5) }
	results := []Result{
		Less("circuit of 3 hops, made from nothing, median", ms(m.build), "ms", 10),
		Info("circuit of 3 hops, 90 %", 1000*Quantile(m.build, 0.9), "ms", "less"),
		Less("new stream on a circuit, until SOCKS answers, median", ms(m.socks), "ms", 1.5),
		Less("request to first byte, median", ms(m.first), "ms", 2),
		Info("round trip on an open stream, median", ms(m.ping), "ms", "less"),
		More("one stream, down, median", half(m.down)/mega, "MB/s", 100),
		More("one stream, up, median", half(m.up)/mega, "MB/s", 100),
		More("10 streams on 10 circuits, sum, median", half(m.ten)/mega, "MB/s", 150),
		Less("CPU of a relay, one stream", half(m.relayCPU[0]), "s/GB", 2),
		Less("CPU of a relay, 10 circuits", half(m.relayCPU[1]), "s/GB", 2),
		Info("CPU of a relay, least of the rounds", least(m.relayCPU), "s/GB", "less"),
		Less("CPU of the client, one stream", half(m.clientCPU[0]), "s/GB", 3),
		Less("CPU of the client, 10 circuits", half(m.clientCPU[1]), "s/GB", 3),
		Info("CPU of the client, least of the rounds", least(m.clientCPU), "s/GB", "less"),
		More("500 small requests, one at a time", half(m.inTurn), "1/s", 300),
		More("500 small requests, 50 at a time", half(m.atOnce), "1/s", 3000),
		Less("start of a client with nothing remembered to its first reply, median", m.start, "s", 1),
		Less("round trip beside a bulk transfer, multiple of idle", ratio(ms(m.beside), ms(m.ping)), "×", 2),
		Info("round trip beside a bulk transfer, median", ms(m.beside), "ms", "less"),
	}
	if m.relayRSS > 0 {
		results = append(results, Less("RSS of the largest relay after 4 GB", m.relayRSS, "MiB", 30),
			Info("RSS of the client after 4 GB", m.clientRSS, "MiB", "less"))
	}
	return results, err
}

// least is what is left where other programs disturb: they share caches and cores.
func least(rounds [2][]float64) float64 { return quantile(slices.Concat(rounds[0], rounds[1]), 0) }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func onionFar(ctx context.Context, e Env) ([]Result, error) {
	m, err := measureOnion(ctx, e, onionlab.NewOurs, far, farPlan(e.Times(3), false))
	if m.build == nil {
		return nil, err
	}
	trip := 6 * far // of a path of three links
	return []Result{
		Info("20 ms a link, circuit of 3 hops, median", 1000*Median(m.build), "ms", "less"),
		Less("20 ms a link, new stream, until SOCKS answers, median", 1000*Median(m.socks), "ms", 5),
		Less("20 ms a link, request to first byte, in round trips", Median(m.first)/trip.Seconds(), "trips", 1.1),
		More("20 ms a link, one stream, down, median", quantile(m.down, 0.5)/mega, "MB/s", 20),
		More("20 ms a link, one stream, up, median", quantile(m.up, 0.5)/mega, "MB/s", 20),
		Info("20 ms a link, 10 streams on 10 circuits, sum, median", quantile(m.ten, 0.5)/mega, "MB/s", "more"),
		Info("20 ms a link, start to first reply", m.start, "s", "less"),
	}, err
}
