package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/lab"
)

const (
	transferWarm = time.Second // not counted: slow start, buffers that grow
	transferFor  = 4 * time.Second
)

// transfer pushes bytes through one TCP connection and returns how many arrived
// in a second, after a time to warm up. The sockets are this program's own, opened
// in the nodes' namespaces.
func transfer(ctx context.Context, from, to *lab.Node, addr netip.Addr) (float64, error) {
	listener, err := listen(to, addr)
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	sender, err := dial(from, listener.Addr().(*net.TCPAddr))
	if err != nil {
		return 0, err
	}
	defer sender.Close()
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	receiver, err := listener.Accept()
	if err != nil {
		return 0, fmt.Errorf("transfer to %s: %w", to.Name, err)
	}
	defer receiver.Close()

	var arrived atomic.Uint64
	var ended sync.WaitGroup
	defer ended.Wait()
	defer receiver.Close()
	defer sender.Close()
	ended.Go(func() {
		buf := make([]byte, 128<<10)
		for {
			if _, err := sender.Write(buf); err != nil {
				return
			}
		}
	})
	ended.Go(func() {
		buf := make([]byte, 128<<10)
		for {
			n, err := receiver.Read(buf)
			arrived.Add(uint64(n))
			if err != nil {
				return
			}
		}
	})
	if err := wait(ctx, transferWarm); err != nil {
		return 0, err
	}
	began, before := time.Now(), arrived.Load()
	if err := wait(ctx, transferFor); err != nil {
		return 0, err
	}
	n := arrived.Load() - before
	if n == 0 {
		return 0, errors.New("nothing arrived")
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func listen(n *lab.Node, addr netip.Addr) (l net.Listener, err error) {
	err = n.Namespace().Do(func() error {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(context.Background(), "tcp6", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", n.Name, err)
	}
	return l, nil
}

func dial(n *lab.Node, to *net.TCPAddr) (conn net.Conn, err error) {
	err = n.Namespace().Do(func() error {
		d := net.Dialer{Timeout: 10 * time.Second}
		conn, err = d.Dial("tcp6", to.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting from %s: %w", n.Name, err)
	}
	return conn, nil
}
