package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"globalnet/onion/cell"
)

func TestTargets(t *testing.T) {
	p := NewPool()
	v4, v6, _ := p.Assign("cheesy.gnet.alt", phone)
	gone, _, _ := p.Assign("gone.gnet.alt", phone)
	s := NewServer(Config{Name: "lan", Pool: p, Target: func(name string) (cell.Target, bool) {
		return cell.Target{Name: name}, !strings.HasPrefix(name, "gone")
	}})
	for _, tt := range []struct {
		dst  netip.Addr
		want cell.Target
		err  bool
	}{
		{dst: v4, want: cell.Target{Name: "cheesy.gnet.alt", Port: 80}},
		{dst: v6, want: cell.Target{Name: "cheesy.gnet.alt", Port: 80}},
		{dst: netip.AddrFrom16(v4.As16()), want: cell.Target{Name: "cheesy.gnet.alt", Port: 80}},
		{dst: gone, err: true},
		{dst: netip.MustParseAddr("10.193.1.1"), err: true},
		{dst: netip.MustParseAddr("203.0.113.80"), want: cell.Target{Addr: netip.MustParseAddr("203.0.113.80"), Port: 80}},
		{dst: netip.MustParseAddr("::ffff:203.0.113.80"), want: cell.Target{Addr: netip.MustParseAddr("203.0.113.80"), Port: 80}},
		{dst: netip.MustParseAddr("fd47:4e45::1"), want: cell.Target{Addr: netip.MustParseAddr("fd47:4e45::1"), Port: 80}},
		{dst: netip.MustParseAddr("192.168.1.1"), err: true},
		{dst: netip.MustParseAddr("fd00::1"), err: true},
		{dst: netip.MustParseAddr("127.0.0.1"), err: true},
		{dst: netip.MustParseAddr("169.254.1.1"), err: true},
		{dst: netip.MustParseAddr("224.0.0.1"), err: true},
		{dst: netip.MustParseAddr("0.0.0.0"), err: true},
	} {
		got, done, err := s.target(netip.AddrPortFrom(tt.dst, 80), cell.TCP)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%v: %+v %v, want %+v", tt.dst, got, err, tt.want)
		}
		if err == nil {
			done()
		}
	}
	for _, m := range p.names {
		if m.users != 0 {
			t.Errorf("%s is still in use", m.name)
		}
	}
	if s.Stats().Unknown != 2 {
		t.Errorf("%d unknown addresses", s.Stats().Unknown)
	}
}

// Who asks for the proxy itself, or forges that, is refused and counted.
func TestLoops(t *testing.T) {
	s := NewServer(Config{Name: "lan", Pool: NewPool()})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { over <- s.Run(ctx, []net.Listener{l}) }()
	for range 3 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err == nil { // else the reset was faster
			c.SetDeadline(time.Now().Add(20 * time.Second))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the proxy's own port: %v", err)
		}
	}
	if s.Stats().Loops != 3 {
		t.Errorf("%+v", s.Stats())
	}
	cancel()
	if err := <-over; err != nil || s.Stats().Open != 0 {
		t.Errorf("%v, %d open", err, s.Stats().Open)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := NewServer(Config{Pool: NewPool(), MaxConns: 3, MaxPerClient: 2, Limit: func(netip.Addr) int64 { return 1000 }})
	here := netip.MustParseAddr("192.168.1.1")
	a, b := s.enter(phone, here), s.enter(phone, here)
	if a == nil || a != b || a.rate == nil {
		t.Error("connections of a client share no rate")
	}
	if s.enter(phone, here) != nil {
		t.Error("a third connection of a client")
	}
	if s.enter(tv, here) == nil || s.enter(netip.MustParseAddr("192.168.1.22"), here) != nil {
		t.Error("want three in all")
	}
	if list := s.Clients(); len(list) != 2 {
		t.Errorf("%v", list)
	}
	s.leave(phone)
	s.leave(phone)
	s.leave(tv)
	if len(s.perClient) != 0 || s.Stats().Open != 0 {
		t.Errorf("%v left", s.perClient)
	}
}

func TestRate(t *testing.T) {
	if newRate(0) != nil {
		t.Error("no limit is a limit")
	}
	now := time.Now()
	r := newRate(1000)
	if w := r.take(0, 250, now); w != 0 {
		t.Errorf("the first bytes wait %v", w)
	}
	if w := r.take(0, 1000, now); w != time.Second {
		t.Errorf("1000 bytes more wait %v", w)
	}
	if w := r.take(1, 100, now); w != 0 {
		t.Errorf("the other way waits %v", w)
	}
	if w := r.take(0, 1, now.Add(time.Hour)); w != 0 {
		t.Errorf("an hour later: %v", w)
	}
	if w := r.take(0, 1250, now.Add(time.Hour)); w < 900*time.Millisecond {
		t.Errorf("what was not used was saved up: %v", w)
	}
}

func TestIsHTTP(t *testing.T) {
	for text, want := range map[string]bool{"GET / HTTP/1.1\r\n": true, "POST /x": true, "GET": false, "GET ": false, "\x16\x03\x01": false, "SSH-2.0 x": false, "get /": false, "": false} {
		if got := isHTTP([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestWhyPage(t *testing.T) {
	for reason := cell.EndDone; reason <= cell.EndCircuit; reason++ {
		for _, inside := range []bool{true, false} {
			page := string(whyPage(reason, inside))
			head, body, ok := strings.Cut(page, "\r\n\r\n")
			if !ok || !strings.HasPrefix(head, "HTTP/1.1 4") && !strings.HasPrefix(head, "HTTP/1.1 5") || !strings.Contains(body, "<title>") ||
				!strings.Contains(head, "Connection: close") {
				t.Errorf("%v: %s", reason, page)
			}
		}
	}
	for _, tt := range []struct {
		reason cell.EndReason
		inside bool
		want   string
	}{
		{cell.EndResolve, true, "404 Not Found"}, {cell.EndResolve, false, "502 Bad Gateway"}, {cell.EndPolicy, false, "403 Forbidden"},
		{cell.EndRefused, true, "503 Service Unavailable"}, {cell.EndTimeout, false, "504 Gateway Timeout"}, {cell.EndCircuit, true, "503 Service Unavailable"},
	} {
		if page := string(whyPage(tt.reason, tt.inside)); !strings.HasPrefix(page, "HTTP/1.1 "+tt.want+"\r\n") {
			t.Errorf("%v: %.60s, want %s", tt.reason, page, tt.want)
		}
	}
}
