package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"globalnet/lab"
	"globalnet/lab/peers"
)

func init() {
	Register(Bench{
		Name: "lan", Summary: "the LAN edge: what clients without any program of ours get",
		Parts: []Part{{Name: "dns", Summary: "answers of the DNS listener to a client in the LAN, over UDP", Run: lanDNS},
			{Name: "proxy", Summary: "the proxy without circuits beside plain forwarding", Run: lanProxy},
			{Name: "page", Summary: "a page of a hidden service in Chromium", Run: lanPage},
			{Name: "memory", Summary: "1000 idle connections", Run: lanMemory}},
	})
}

// lanStreet has a client in the LAN of a, and an exit at d.
const lanStreet = `router a b c d
segment cable a b c d
uplink d
client phone on a
set d exit.policy web
set d exit.allow_private 203.0.113.0/24
set d exit.rule accept 203.0.113.0/24:*
set a lan.interface lan
set a lan.dns 1
`

const (
	askers  = 16              // questions under way
	askTime = 3 * time.Second // of one measurement
)

func lanDNS(ctx context.Context, e Env) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	t, err := newTrial(ctx, e, lanStreet, peers.GlobalNet{})
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return nil, err
	}
	id, err := t.lab.Node("c").ID()
	if err != nil {
		return nil, err
	}
	phone := t.lab.Node("phone")
	known := id.String() + ".gnet.alt."
	// The first answer through an exit takes until exits are known.
	for {
		if n, err := askDNS(ctx, phone, time.Second/2, func(uint64) string { return "www.example." }); err != nil || n > 0 {
			break
		}
	}
	var results []Result
	for _, m := range []struct {
		metric string
		target float64
		name   func(n uint64) string
	}{
		{"answers from the cache", 20000, func(uint64) string { return "www.example." }},
		{"answers for a name that has an address", 20000, func(uint64) string { return known }},
		{"answers for new names", 5000, func(n uint64) string { return fmt.Sprintf("n%d.%s", n, known) }},
	} {
		var rates []float64
		for range e.Times(3) {
			n, err := askDNS(ctx, phone, askTime, m.name)
			if err != nil {
				return results, err
			}
			rates = append(rates, float64(n)/askTime.Seconds())
		}
		results = append(results, More("lan, "+m.metric, quantile(rates, 0.5), "1/s", m.target))
	}
	return results, nil
}

// askDNS asks the router for so long, and counts good answers.
func askDNS(ctx context.Context, from *lab.Node, long time.Duration, name func(n uint64) string) (answers uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var asked, good atomic.Uint64
	var running sync.WaitGroup
	for range askers {
		var c net.Conn
		if err = from.Namespace().Do(func() (err error) {
			c, err = net.Dial("udp", "10.77.0.1:53")
			return err
		}); err != nil {
			break
		}
		running.Go(func() {
			defer c.Close()
			b := make([]byte, 512)
			for ctx.Err() == nil {
				q := dnsmessage.NewBuilder(b[:0], dnsmessage.Header{RecursionDesired: true})
				q.StartQuestions()
				q.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name(asked.Add(1))), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET})
				text, err := q.Finish()
				if err != nil {
					return
				}
				c.SetDeadline(time.Now().Add(time.Second))
				if _, err := c.Write(text); err != nil {
					continue
				}
				// An answer: no error, at least one address.
				if n, err := c.Read(b); err == nil && n > 12 && b[3]&15 == 0 && b[7] > 0 {
					good.Add(1)
				}
			}
		})
	}
	running.Wait()
	return good.Load(), err
}
