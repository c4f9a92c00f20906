package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"globalnet/lab/onionlab"
)

func init() {
	Register(Bench{Name: "service", Summary: "hidden services: connections, streams, rates, and the way to the first visit", Parts: []Part{
		{"near", "the onion alone, client and service on one loopback", serviceNear},
		{"agents", "whole agents: each link of the path is a mesh with WireGuard in user space", serviceAgents},
	}})
}

// serviceTime bounds one network of services: tor waits 10 s for each fresh descriptor.
const serviceTime = 8 * time.Minute

// servicePlan is how much is measured of a service.
type servicePlan struct {
	offers, cold, warm, streams, rounds, requests int
	down                                          int // bytes
}

func servicePlanOf(rounds int, slow bool) servicePlan {
	p := servicePlan{offers: 5, cold: 20, warm: 30, streams: 200, rounds: rounds, requests: 500, down: 256e6}
	if slow {
		p.offers, p.cold, p.down = 3, 8, 24e6
	}
	return p
}

// servicing is a network with hidden services, as measured from outside.
type servicing struct {
	name  string
	u     *user
	offer func(ctx context.Context) (address string, err error)
	fresh func(ctx context.Context, cached bool) (who string, err error)
}

// serviceMeasured is what one network of services did; rates in bytes a second.
type serviceMeasured struct {
	first         []time.Duration // from the offer to the end of the first visit
	cold, warm    []time.Duration // until the first byte: no descriptor; one, but no rendezvous
	coldFailed    int
	stream        []time.Duration
	down, atOnce  []float64
	requestFailed error
}

// pause lets a client make ready what it keeps ready.
const pause = 300 * time.Millisecond

// visit opens a connection for who and returns how long it took until a byte came back.
func (u *user) visit(who string) (took time.Duration, err error) {
	err = u.do(func() error {
		began := time.Now()
		conn, err := onionlab.DialHost(u.proxy, u.server, who)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := onionlab.Ask(conn, "GET", "/100"); err != nil {
			return err
		}
		took = time.Since(began)
		return u.rest(conn, 100)
	})
	return took, err
}

// firstVisit offers a service and visits it until somebody answers.
func (s *servicing) firstVisit(ctx context.Context) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	s.u.server, err = s.offer(ctx)
	if err != nil {
		return 0, fmt.Errorf("offering a service: %w", err)
	}
	for i := 0; ; i++ {
		if _, err = s.u.visit(fmt.Sprintf("first-%d-%d", began.UnixNano(), i)); err == nil {
			return time.Since(began), nil
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return 0, fmt.Errorf("nobody answers at a service that is new: %w", err)
		}
	}
}

// connects measures new connections that begin with a descriptor or without one.
func (s *servicing) connects(ctx context.Context, n int, cached bool) (times []time.Duration, failed int, err error) {
	for range n {
		if err := wait(ctx, pause); err != nil {
			return times, failed, err
		}
		who, err := s.fresh(ctx, cached)
		if err != nil {
			return times, failed, err
		}
		took, err := s.u.visit(who)
		if err != nil {
			if failed++; failed > n/2 {
				return times, failed, err
			}
			continue
		}
		times = append(times, took)
	}
	return times, failed, nil
}

// measure is the whole table. What was measured before an error counts.
func (s *servicing) measure(ctx context.Context, e Env, p servicePlan) (m serviceMeasured, err error) {
	for range p.offers {
		took, err := s.firstVisit(ctx)
		if err != nil {
			return m, err
		}
		m.first = append(m.first, took)
		if err := wait(ctx, time.Second); err != nil { // the next is not the rest of this one
			return m, err
		}
	}
	e.Logf("  %s: first visit after %.2f s", s.name, Median(m.first))
	failed := 0
	if m.cold, m.coldFailed, err = s.connects(ctx, p.cold, false); err != nil {
		return m, fmt.Errorf("connections without a descriptor: %w", err)
	}
	if m.warm, failed, err = s.connects(ctx, p.warm, true); err != nil {
		return m, fmt.Errorf("connections with a descriptor: %w", err)
	}
	e.Logf("  %s: connected in %.1f ms without a descriptor, %.1f with; %d and %d failed (load average %s)", s.name,
		1000*Median(m.cold), 1000*Median(m.warm), m.coldFailed, failed, load())
	if _, err = s.u.visit("streams"); err != nil {
		return m, err
	}
	for range p.streams {
		took, err := s.u.visit("streams")
		if err != nil {
			return m, fmt.Errorf("new streams: %w", err)
		}
		m.stream = append(m.stream, took)
	}
	for range p.rounds {
		began := time.Now()
		if err := s.u.get("streams", p.down); err != nil {
			return m, fmt.Errorf("download: %w", err)
		}
		m.down = append(m.down, float64(p.down)/time.Since(began).Seconds())
		atOnce, err := s.u.requests(p.requests, 50)
		if err != nil {
			m.requestFailed = errors.Join(m.requestFailed, err)
			continue
		}
		m.atOnce = append(m.atOnce, atOnce)
		e.Logf("  %s: %.1f MB/s, %.0f small requests a second (load average %s)", s.name, m.down[len(m.down)-1]/mega, atOnce, load())
	}
	return m, m.requestFailed
}

type startServices func(context.Context, *onionlab.World) (onionlab.Services, error)

// measureServices runs a network on one loopback and measures its services.
func measureServices(ctx context.Context, e Env, start startServices, p servicePlan) (m serviceMeasured, err error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	w, err := onionlab.NewWorld(0)
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
	s := &servicing{name: o.Name(), offer: o.Offer, fresh: o.Fresh,
		u: &user{do: func(f func() error) error { return w.Do(onionlab.Client, f) }, server: server.String()}}
	if s.u.proxy, err = o.Connect(); err != nil {
		return m, err
	}
	if err := s.u.ready(ctx, "streams"); err != nil { // by an exit
		return m, err
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return m, err
	}
	return s.measure(ctx, e, p)
}

func serviceNear(ctx context.Context, e Env) ([]Result, error) {
	m, err := measureServices(ctx, e, onionlab.NewOurServices, servicePlanOf(e.Times(5), false))
	if m.stream == nil {
		return nil, err
	}
	ms := func(d []time.Duration) float64 { return 1000 * Median(d) }
	return []Result{
		Less("connect, descriptor not cached, median", ms(m.cold), "ms", 60),
		Info("connect, descriptor not cached, 90 %", 1000*Quantile(m.cold, 0.9), "ms", "less"),
		Less("connect, new rendezvous, descriptor cached, median", ms(m.warm), "ms", 40),
		Info("connect, new rendezvous, descriptor cached, 90 %", 1000*Quantile(m.warm, 0.9), "ms", "less"),
		Less("new stream on an existing rendezvous, median", ms(m.stream), "ms", 3),
		More("one stream, down, median", quantile(m.down, 0.5)/mega, "MB/s", 40),
		More("500 small requests, 50 at a time", quantile(m.atOnce, 0.5), "1/s", 1500),
		Less("from the offer of a service to the first visit, median", Median(m.first), "s", 3),
		Info("from the offer of a service to the first visit, longest", Quantile(m.first, 1), "s", "less"),
	}, err
}
