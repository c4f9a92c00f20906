package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/lab/onionlab"
)

// measured is what one onion did; times in seconds, rates in bytes a second.
type measured struct {
	start          float64 // of a client with nothing remembered, to the first reply
	build          []time.Duration
	buildFailed    int
	socks, first   []time.Duration // a new stream: until SOCKS answers; from the request to the first byte
	ping           []time.Duration // on an open stream
	beside         []time.Duration // the same while another circuit carries all it can
	down, up, ten  []float64
	relayCPU       [2][]float64 // s/GB and hop: one stream, ten circuits
	clientCPU      [2][]float64
	inTurn, atOnce []float64 // requests a second
	carried        float64   // bytes
	relayRSS       float64   // MiB, of the largest
	clientRSS      float64
}

// user is a client of an onion: where it speaks from, to whom, and what of.
type user struct {
	do     func(func() error) error // where sockets are the client's
	proxy  netip.AddrPort
	server string     // host:port
	client func() int // pids
	relays func() []int
	hops   float64
}

// open connects through the onion and asks for a path.
func (u *user) open(who, verb, path string) (conn net.Conn, err error) {
	err = u.do(func() error {
		conn, err = onionlab.DialHost(u.proxy, u.server, who)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := onionlab.Ask(conn, verb, path); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// get fetches n bytes.
func (u *user) get(who string, n int) error {
	conn, err := u.open(who, "GET", fmt.Sprintf("/%d", n))
	if err != nil {
		return err
	}
	defer conn.Close()
	return u.rest(conn, n)
}

func (u *user) rest(conn net.Conn, n int) error {
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	got, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{conn}, make([]byte, 128<<10))
	if err == nil && got != int64(n) {
		err = fmt.Errorf("%d of %d bytes came", got, n)
	}
	return err
}

// ready returns once a file has come.
func (u *user) ready(ctx context.Context, who string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := u.get(who, 100)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer through the onion: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// streams measures n new streams on a circuit that is there.
func (u *user) streams(n int) (socks, first []time.Duration, err error) {
	err = u.do(func() error {
		for range n {
			began := time.Now()
			conn, err := onionlab.DialHost(u.proxy, u.server, "streams")
			if err != nil {
				return err
			}
			asked := time.Now()
			if err = onionlab.Ask(conn, "GET", "/100"); err == nil {
				socks, first = append(socks, asked.Sub(began)), append(first, time.Since(asked))
				err = u.rest(conn, 100)
			}
			conn.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return socks, first, err
}

// pings measures round trips on one stream, a byte each, until n are done or stop ends.
func (u *user) pings(who string, n int, stop <-chan struct{}) (times []time.Duration, err error) {
	conn, err := u.open(who, "GET", "/echo")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	b := make([]byte, 1)
	for range n {
		select {
		case <-stop:
			return times, nil
		default:
		}
		began := time.Now()
		if _, err := conn.Write(b); err != nil {
			return times, err
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return times, err
		}
		times = append(times, time.Since(began))
		time.Sleep(2 * time.Millisecond)
	}
	return times, nil
}

// upload sends n bytes and waits until the server says that it has them.
func (u *user) upload(who string, n int) error {
	conn, err := u.open(who, "POST", fmt.Sprintf("/%d", n))
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	buf := make([]byte, 128<<10)
	for left := n; left > 0; {
		k, err := conn.Write(buf[:min(left, len(buf))])
		if err != nil {
			return err
		}
		left -= k
	}
	return onionlab.Answer(conn)
}

// bulk is one way of moving many bytes: rate, and CPU seconds a gigabyte of each relay
// on the path and of the client.
func (u *user) bulk(bytes int, move func() error) (rate, relay, client float64, err error) {
	relay0, client0, err := u.cpu()
	if err != nil {
		return 0, 0, 0, err
	}
	began := time.Now()
	if err := move(); err != nil {
		return 0, 0, 0, err
	}
	rate = float64(bytes) / time.Since(began).Seconds()
	relay1, client1, err := u.cpu()
	gigabytes := float64(bytes) / 1e9
	return rate, (relay1 - relay0).Seconds() / gigabytes / u.hops, (client1 - client0).Seconds() / gigabytes, err
}

func (u *user) cpu() (relays, client time.Duration, err error) {
	for _, pid := range u.relays() {
		c, err := cpuOf(pid)
		if err != nil {
			return 0, 0, err
		}
		relays += c
	}
	client, err = cpuOf(u.client())
	return relays, client, err
}

// parallel has streams of as many circuits bring n bytes each.
func (u *user) parallel(circuits, n int) error {
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range circuits {
		all.Go(func() {
			if err := u.get(fmt.Sprintf("ten%d", i), n); err != nil {
				failed.Store(&err)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// requests fetches small files, some at a time, and returns how many a second.
func (u *user) requests(n, atOnce int) (float64, error) {
	var left atomic.Int64
	left.Store(int64(n))
	var failed atomic.Int64
	began := time.Now()
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			failed.Add(1)
			err := u.do(func() error {
				for left.Add(-1) >= 0 {
					conn, err := onionlab.DialHost(u.proxy, u.server, "streams")
					if err != nil {
						return err
					}
					err = errors.Join(onionlab.Ask(conn, "GET", "/500"), u.rest(conn, 500), conn.Close())
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil {
				failed.Add(-1)
			}
		})
	}
	all.Wait()
	if failed.Load() > 0 {
		return 0, errors.New("small requests failed")
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// memory is the RSS of the client and of the largest relay, in MiB.
func (u *user) memory() (relay, client float64, err error) {
	for _, pid := range u.relays() {
		m, err := memoryOf(pid)
		if err != nil {
			return 0, 0, err
		}
		relay = max(relay, m.rss)
	}
	m, err := memoryOf(u.client())
	return relay, m.rss, err
}
