package gate

import (
	"net"
	"testing"
)

type fakeConn struct {
	net.Conn
	addr   net.Addr
	closed *bool
}

func (c fakeConn) RemoteAddr() net.Addr { return c.addr }
func (c fakeConn) Close() error         { *c.closed = true; return nil }

func TestGate(t *testing.T) {
	var g Gate
	conn := func(host byte) net.Conn {
		return fakeConn{addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, host)}, closed: new(bool)}
	}
	first := conn(1)
	if !g.Enter(first) {
		t.Fatal("an empty gate is closed")
	}
	for i := range MaxOfOneAddress {
		if got, want := g.Enter(conn(1)), i < MaxOfOneAddress-1; got != want {
			t.Errorf("connection %d of one address: %v", i+2, got)
		}
	}
	for i := range MaxWaiting - MaxOfOneAddress {
		if !g.Enter(conn(byte(100 + i))) {
			t.Errorf("address %d is kept out", i)
		}
	}
	if *first.(fakeConn).closed {
		t.Error("closed before there was need")
	}
	if !g.Enter(conn(2)) || !*first.(fakeConn).closed || len(g.conns) != MaxWaiting {
		t.Error("the oldest did not make room")
	}
	for len(g.conns) > 0 {
		g.Leave(g.conns[0].conn)
	}
	g.Leave(first)
}
