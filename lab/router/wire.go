package router

import (
	"net"
	"sync"
)

// Wire is the cable between workstation and router, which can be cut.
type Wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t Test, to string) *Wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, to: to}
	go w.serve() // ends with the listener
	t.Cleanup(func() {
		l.Close()
		w.Set(true)
	})
	return w
}

func (w *Wire) serve() {
	for {
		a, err := w.listener.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", w.to)
		w.mu.Lock()
		if err != nil || w.cut {
			a.Close()
			if b != nil {
				b.Close()
			}
			w.mu.Unlock()
			continue
		}
		w.conns = append(w.conns, a, b)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
			go func() {
				buffer := make([]byte, 32<<10)
				for {
					n, err := pair[0].Read(buffer)
					if n > 0 {
						if _, err := pair[1].Write(buffer[:n]); err != nil {
							break
						}
					}
					if err != nil {
						break
					}
				}
				pair[0].Close()
				pair[1].Close()
			}()
		}
	}
}

// Set cuts the cable, or mends it.
func (w *Wire) Set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

// Address is where the router is reached.
func (w *Wire) Address() (host, port string) {
	host, port, _ = net.SplitHostPort(w.listener.Addr().String())
	return host, port
}
