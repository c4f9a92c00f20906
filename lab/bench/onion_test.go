package bench

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"globalnet/lab/onionlab"
)

// direct is a SOCKS server without an onion: it knows what onionlab.Dial says.
func direct(t *testing.T) netip.AddrPort {
	l := loopback(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveDirect(conn)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func serveDirect(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 600)
	if _, err := io.ReadFull(conn, b[:3]); err != nil {
		return
	}
	conn.Write([]byte{5, 2})
	for _, length := range []int{1, 0} { // version and user, password
		if _, err := io.ReadFull(conn, b[:length+1]); err != nil {
			return
		}
		io.ReadFull(conn, b[:b[length]])
	}
	conn.Write([]byte{1, 0})
	if _, err := io.ReadFull(conn, b[:10]); err != nil {
		return
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[8])<<8|uint16(b[9]))
	far, err := net.Dial("tcp", to.String())
	if err != nil {
		conn.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer far.Close()
	conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() {
		io.Copy(far, conn)
		far.Close()
	}()
	io.Copy(conn, far)
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// All that a proxy and a server need is measured, and makes a row each.
func TestMeasureOnion(t *testing.T) {
	server := loopback(t)
	t.Cleanup(onionlab.Serve(server))
	self := func() int { return os.Getpid() }
	u := &user{do: func(f func() error) error { return f() }, proxy: direct(t), server: server.Addr().String(),
		client: self, relays: func() []int { return []int{self()} }, hops: 3}
	p := plan{streams: 3, pings: 3, rounds: 2, requests: 60, down: 30e6, up: 30e6, ten: 1e6, total: 150e6}
	m := measured{start: 1, build: []time.Duration{time.Millisecond}}
	if err := u.measure(t.Context(), Env{Progress: io.Discard}, "x", p, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.socks) != 3 || len(m.first) != 3 || len(m.ping) != 3 || len(m.down) != 2 || len(m.atOnce) != 2 {
		t.Errorf("measured %+v", m)
	}
	if m.carried < p.total || m.relayRSS <= 0 {
		t.Errorf("%.0f bytes carried, then %f MiB", m.carried, m.relayRSS)
	}
	rows := map[string]bool{}
	for _, r := range comparedOnion("near, ", "x", m) {
		if r.Value <= 0 || !strings.HasPrefix(r.Metric, "near, ") || !strings.HasSuffix(r.Metric, ": x") {
			t.Errorf("row %+v", r)
		}
		rows[r.Metric] = true
	}
	for _, metric := range []string{"one stream, up", "500 small requests, 50 at a time", "round trip on an open stream"} {
		if !rows["near, "+metric+": x"] {
			t.Errorf("no row %q in %v", metric, rows)
		}
	}
}

// A proxy that refuses, a server that sends less than it should: errors, not rates.
func TestMeasureOnionErrors(t *testing.T) {
	server := loopback(t)
	at := server.Addr().(*net.TCPAddr).AddrPort()
	u := &user{do: func(f func() error) error { return f() }, proxy: direct(t), server: at.String()}
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 100))
			io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nshort")
			conn.Close()
		}
	}()
	if err := u.get("x", 6); err == nil || !strings.Contains(err.Error(), "5 of 6") {
		t.Errorf("a short answer: %v", err)
	}
	if _, err := u.requests(3, 2); err == nil {
		t.Error("requests with short answers made a rate")
	}
	server.Close()
	if err := u.get("x", 1); err == nil || !strings.Contains(err.Error(), "code 5") {
		t.Errorf("a proxy that refuses: %v", err)
	}
}
