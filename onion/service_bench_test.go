package onion

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/service"
)

// source answers each connection with size bytes for each byte that it hears.
func (w *network) source(size int) net.Listener {
	l := w.listen()
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer := make([]byte, min(size, 1<<18))
				for b := make([]byte, 1); ; {
					if _, err := io.ReadFull(conn, b); err != nil {
						return
					}
					for left := size; left > 0; {
						n, err := conn.Write(answer[:min(left, len(answer))])
						if err != nil {
							return
						}
						left -= n
					}
				}
			}()
		}
	}()
	return l
}

// BenchmarkService measures a service on loopback, all nodes in one process.
func BenchmarkService(b *testing.B) {
	w, x := newNetwork(b), newTable()
	ready := relays()
	ready.Client = client.Settings{}
	host := w.add(ready, x.with)
	visitor := w.add(ready, x.with)
	for range 8 {
		w.add(relays(), x.with)
	}
	w.meet()
	id := mustIdentity(b)
	const bulk, tiny = 64 << 20, 100
	start := time.Now()
	host.SetServices([]service.Config{{Key: id, Ports: []service.Port{port(1, w.source(tiny)), port(2, w.source(bulk))}}})
	w.published(host)
	b.ReportMetric(time.Since(start).Seconds()*1e3, "ms/publish")
	target := func(port uint16) cell.Target {
		return cell.Target{Name: id.NodeID().String() + "." + Zone, Port: port}
	}
	fetch := func(who client.Isolation, port uint16, size int64) error {
		s, err := visitor.Client().Dial(withTimeout(b), who, target(port), []byte{1})
		if err != nil {
			return err
		}
		defer s.Close()
		n, err := io.CopyN(io.Discard, s, size)
		if n != size {
			return fmt.Errorf("%d of %d bytes: %w", n, size, err)
		}
		return nil
	}
	if err := fetch(client.Isolation{Listener: "warm"}, 1, tiny); err != nil {
		b.Fatal(err)
	}
	measure := func(times int, unit string, f func(i int) error) {
		var all []time.Duration
		for i := range times {
			time.Sleep(100 * time.Millisecond) // for what waits ready
			start := time.Now()
			if err := f(i); err != nil {
				b.Fatal(err)
			}
			all = append(all, time.Since(start))
		}
		b.ReportMetric(median(all).Seconds()*1e3, unit)
	}
	who := func(i int) client.Isolation { return client.Isolation{Listener: fmt.Sprint(i)} }
	measure(20, "ms/cold", func(i int) error { return fetch(who(i), 1, tiny) })
	measure(20, "ms/rendezvous", func(i int) error {
		for _, c := range visitor.Client().Circuits() {
			if c.Purpose == client.Service {
				visitor.Client().CloseCircuit(c.ID)
			}
		}
		return fetch(who(i), 1, tiny)
	})
	measure(50, "ms/stream", func(int) error { return fetch(who(0), 1, tiny) })
	start = time.Now()
	for range 4 {
		if err := fetch(who(0), 2, bulk); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(4*bulk/1e6/time.Since(start).Seconds(), "MB/s")
	start = time.Now()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			for range 40 {
				if err := fetch(who(0), 1, tiny); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(2000/time.Since(start).Seconds(), "requests/s")
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
