package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

func socks5To(t cell.Target) string { return "\x05\x01\x00" + string(appendSocksAddr(nil, t)) }

// Each door leads to the same targets.
func TestTargets(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")
	for _, tt := range []struct {
		name, say string
		hello     string // answered before the request
		want      cell.Target
	}{
		{"socks5 name", socks5To(cell.Target{Name: "Site.TEST.", Port: 7}), "\x05\x00", cell.Target{Name: "site.test", Port: 7}},
		{"socks5 v4", socks5To(cell.Target{Addr: v4, Port: 7}), "\x05\x00", cell.Target{Addr: v4, Port: 7}},
		{"socks5 v6", socks5To(cell.Target{Addr: v6, Port: 7}), "\x05\x00", cell.Target{Addr: v6, Port: 7}},
		{"socks5 mapped v4", "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xcb\x00\x71\x05\x00\x07", "\x05\x00", cell.Target{Addr: v4, Port: 7}},
		{"socks5 address as name", socks5To(cell.Target{Name: "203.0.113.5", Port: 7}), "\x05\x00", cell.Target{Addr: v4, Port: 7}},
		{"socks5 address with a dot behind", socks5To(cell.Target{Name: "203.0.113.5.", Port: 7}), "\x05\x00", cell.Target{Addr: v4, Port: 7}},
		{"socks5 zone", socks5To(cell.Target{Name: "abc.gnet.alt", Port: 7}), "\x05\x00", cell.Target{Name: "abc.gnet.alt", Port: 7}},
		{"socks4", "\x04\x01\x00\x07\xcb\x00\x71\x05me\x00", "", cell.Target{Addr: v4, Port: 7}},
		{"socks4a", "\x04\x01\x00\x07\x00\x00\x00\x01\x00Site.test\x00", "", cell.Target{Name: "site.test", Port: 7}},
		{"connect name", "CONNECT Site.test:7 HTTP/1.1\r\nHost: x\r\n\r\n", "", cell.Target{Name: "site.test", Port: 7}},
		{"connect v4", "CONNECT 203.0.113.5:7 HTTP/1.0\r\n\r\n", "", cell.Target{Addr: v4, Port: 7}},
		{"connect v6", "CONNECT [2001:db8::5]:7 HTTP/1.1\r\n\r\n", "", cell.Target{Addr: v6, Port: 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.server(7, echo)
			w.hosts["abc.gnet.alt"] = v4
			_, addr := w.serve(Config{})
			conn := connectTo(t, addr)
			if tt.hello != "" {
				exchange(t, conn, "\x05\x02\x00\x01", tt.hello)
			}
			want := map[byte]string{5: granted, 4: "\x00\x5a\x00\x00\x00\x00\x00\x00",
				'C': "HTTP/1.1 200 Connection established\r\n\r\n"}[tt.say[0]]
			exchange(t, conn, tt.say, want)
			exchange(t, conn, "hello", "hello")
			if got := w.asked(); len(got) != 1 || got[0].target != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// What comes along with a request travels with BEGIN.
func TestEarlyData(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	_, addr := w.serve(Config{})
	conn := connectTo(t, addr)
	exchange(t, conn, "CONNECT site.test:7 HTTP/1.1\r\n\r\nearly", "HTTP/1.1 200 Connection established\r\n\r\nearly")
	if got := w.asked(); got[0].early != "early" {
		t.Errorf("early data: %q", got[0].early)
	}
}

// A server that speaks first is heard without the client saying anything.
func TestServerSpeaksFirst(t *testing.T) {
	w := newWorld(t)
	w.server(7, func(conn *net.TCPConn) {
		io.WriteString(conn, "220 ready\r\n")
		io.Copy(io.Discard, conn)
	})
	_, addr := w.serve(Config{})
	exchange(t, tunnel(t, addr, 7), "", "220 ready\r\n")
}

// ask makes a request by each protocol and returns the code of the answer; -1 is a
// reset after success.
func ask(t *testing.T, addr, protocol string) int {
	t.Helper()
	conn := connectTo(t, addr)
	var code int
	success := false
	switch target := (cell.Target{Name: "site.test", Port: 7}); protocol {
	case "socks5":
		exchange(t, conn, "\x05\x01\x00", "\x05\x00")
		io.WriteString(conn, socks5To(target))
		b := make([]byte, len(granted))
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		code, success = int(b[1]), b[1] == 0
	case "socks4":
		io.WriteString(conn, "\x04\x01\x00\x07\x00\x00\x00\x01\x00site.test\x00")
		b := make([]byte, 8)
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		code, success = int(b[1]), b[1] == 90
	case "connect", "http":
		io.WriteString(conn, map[string]string{"connect": "CONNECT site.test:7", "http": "GET http://site.test:7/"}[protocol]+" HTTP/1.1\r\n\r\n")
		b := make([]byte, len("HTTP/1.1 200 "))
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		fmt.Sscanf(string(b), "HTTP/1.1 %d", &code)
		success = code == 200
	}
	_, err := io.ReadAll(conn)
	switch {
	case success && isReset(err):
		return -1
	case err != nil:
		t.Errorf("after the answer %d: %v", code, err)
	}
	return code
}

func TestEveryReason(t *testing.T) {
	for _, tt := range []struct {
		reason               cell.EndReason
		socks5, socks4, http int
	}{
		{cell.EndMisc, 1, 91, 502},
		{cell.EndPolicy, 2, 91, 403},
		{cell.EndResolve, 4, 91, 502},
		{cell.EndRefused, 5, 91, 502},
		{cell.EndUnreachable, 3, 91, 502},
		{cell.EndTimeout, 6, 91, 504},
		{cell.EndReset, 5, 91, 502},
		{cell.EndResource, 1, 91, 503},
		{cell.EndProtocol, 1, 91, 502},
		{cell.EndCircuit, 1, 91, 502},
		{77, 1, 91, 502}, // of a later version
	} {
		t.Run(tt.reason.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ends["site.test"] = tt.reason
			quick, quickAddr := w.serve(Config{Name: "quick"})
			_, waitAddr := w.serve(Config{Name: "wait", Wait: true})
			want := map[string]int{"socks5": tt.socks5, "socks4": tt.socks4, "connect": tt.http, "http": tt.http}
			for protocol, code := range want {
				if got := ask(t, waitAddr, protocol); got != code {
					t.Errorf("%s with Wait: %d, want %d", protocol, got, code)
				}
				if protocol != "http" { // has no success but the server's
					code = -1
				}
				if got := ask(t, quickAddr, protocol); got != code {
					t.Errorf("%s: %d, want %d", protocol, got, code)
				}
			}
			counted := tt.reason
			if int(counted) >= reasons {
				counted = cell.EndMisc
			}
			within(t, "failures to be counted", func() bool { return quick.Stats().Failed[counted] == 4 })

			// If there is not even a circuit, the code is exact in any case.
			w.set(fmt.Errorf("dialling: %w", &stream.EndError{Reason: tt.reason}), nil)
			for protocol, code := range want {
				if got := ask(t, quickAddr, protocol); got != code {
					t.Errorf("%s without a circuit: %d, want %d", protocol, got, code)
				}
			}
		})
	}
}

func TestReasonOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want cell.EndReason
	}{
		{nil, cell.EndDone},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), cell.EndTimeout},
		{fmt.Errorf("x: %w", stream.ErrTooMany), cell.EndResource},
		{&stream.EndError{Reason: cell.EndPolicy}, cell.EndPolicy},
		{fmt.Errorf("x: %w", path.ErrNoExit), cell.EndPolicy},
		{fmt.Errorf("x: %w", client.ErrFull), cell.EndResource},
		{errors.New("no relays known"), cell.EndCircuit},
	} {
		if got := reasonOf(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestWaitAnswersSuccess(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	_, addr := w.serve(Config{Wait: true})
	exchange(t, tunnel(t, addr, 7), "x", "x")
}

// A circuit that breaks before the target has answered is none of the client's business,
// unless the client has said something: that may have arrived, and must not twice.
func TestWaitOutlivesCircuits(t *testing.T) {
	for _, x := range []struct {
		protocol            string
		breaks, dials, want int
	}{{"connect", 2, 3, 200}, {"connect", 3, 3, 502}, {"http", 1, 1, 502}} {
		w := newWorld(t)
		w.server(7, func(c *net.TCPConn) { c.Close() })
		w.breaks = x.breaks
		_, addr := w.serve(Config{Wait: true})
		if got := ask(t, addr, x.protocol); got != x.want {
			t.Errorf("%s after %d circuits: %d, want %d", x.protocol, x.breaks, got, x.want)
		}
		if got := len(w.asked()); got != x.dials {
			t.Errorf("%s after %d circuits: dialled %d times, want %d", x.protocol, x.breaks, got, x.dials)
		}
	}
}

func TestDialTime(t *testing.T) {
	w := newWorld(t)
	w.set(nil, make(chan struct{}))
	s, addr := w.serve(Config{DialTime: 20 * time.Millisecond})
	if got := ask(t, addr, "connect"); got != 504 {
		t.Errorf("answer %d", got)
	}
	if got := s.Stats().Failed[cell.EndTimeout]; got != 1 {
		t.Errorf("counted %d", got)
	}
}

// Whoever leaves before there is a circuit takes the request with him.
func TestClientLeavesWhileDialling(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { reset(c) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.set(nil, make(chan struct{}))
			s, addr := w.serve(Config{})
			conn := connectTo(t, addr)
			exchange(t, conn, "\x05\x01\x00", "\x05\x00")
			io.WriteString(conn, socks5To(cell.Target{Name: "site.test", Port: 7}))
			within(t, "the dial", func() bool { return len(w.asked()) == 1 })
			leave(conn)
			within(t, "the end", func() bool { return s.Stats().Open == 0 })
			if got := s.Stats().Left; got != 1 {
				t.Errorf("counted %d", got)
			}
		})
	}
}

// A client that waits long stays, and so does what it said.
func TestSlowDial(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	hold := make(chan struct{})
	w.set(nil, hold)
	_, addr := w.serve(Config{})
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	time.AfterFunc(3*patience, func() { close(hold) })
	exchange(t, conn, socks5To(cell.Target{Name: "site.test", Port: 7}), granted)
	exchange(t, conn, "x", "x")
}

func TestIsolation(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	_, plain := w.serve(Config{Name: "a"})
	_, apart := w.serve(Config{Name: "b", IsolateDestination: true})
	here := netip.MustParseAddr("127.0.0.1")
	socks := func(user, password string) string {
		return "\x01" + string([]byte{byte(len(user))}) + user + string([]byte{byte(len(password))}) + password
	}
	check := func(what string, want client.Isolation) {
		t.Helper()
		asked := w.asked()
		if got := asked[len(asked)-1].who; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	tunnel(t, plain, 7)
	check("without credentials", client.Isolation{Listener: "a", Client: here})
	for _, tt := range []struct{ user, password string }{{"", ""}, {"u", "p"}, {"up", ""}, {strings.Repeat("u", 255), "p"}} {
		conn := connectTo(t, plain)
		exchange(t, conn, "\x05\x02\x00\x02", "\x05\x02")
		exchange(t, conn, socks(tt.user, tt.password), "\x01\x00")
		exchange(t, conn, socks5To(cell.Target{Name: "site.test", Port: 7}), granted)
		check("user and password", client.Isolation{Listener: "a", Client: here, Credentials: hashCredentials(tt.user, tt.password)})
	}
	exchange(t, connectTo(t, plain), "CONNECT site.test:7 HTTP/1.1\r\nProxy-Authorization: basic dTpw\r\n\r\n", "HTTP/1.1 200 ")
	check("basic scheme", client.Isolation{Listener: "a", Client: here, Credentials: hashCredentials("u", "p")})
	exchange(t, connectTo(t, plain), "\x04\x01\x00\x07\x00\x00\x00\x01u\x00site.test\x00", "\x00\x5a")
	check("SOCKS4's user", client.Isolation{Listener: "a", Client: here, Credentials: hashCredentials("u", "")})
	tunnel(t, apart, 7)
	check("destination", client.Isolation{Listener: "b", Client: here, Destination: "site.test"})

	if hashCredentials("ab", "c") == hashCredentials("a", "bc") {
		t.Error("two pairs make one hash")
	}
}

// What no program should send, and what it is told.
func TestInvalidRequests(t *testing.T) {
	const failed, refused4 = "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct{ name, say, want string }{
		{"no method", "\x05\x01\x01", "\x05\xff"},
		{"bind", "\x05\x01\x00\x05\x02\x00\x01\x01\x02\x03\x04\x00\x07", "\x05\x00\x05\x07"},
		{"address type", "\x05\x01\x00\x05\x01\x00\x02\x01\x02\x03\x04\x00\x07", "\x05\x00\x05\x08"},
		{"space in a name", "\x05\x01\x00" + socks5To(cell.Target{Name: "a b", Port: 7}), "\x05\x00" + failed},
		{"empty label", "\x05\x01\x00" + socks5To(cell.Target{Name: "a..b", Port: 7}), "\x05\x00" + failed},
		{"empty name", "\x05\x01\x00\x05\x01\x00\x03\x00\x00\x07", "\x05\x00" + failed},
		{"port 0", "\x05\x01\x00" + socks5To(cell.Target{Name: "a"}), "\x05\x00" + failed},
		{"names of a name", "\x05\x01\x00\x05\xf1\x00\x03\x01a\x00\x00", "\x05\x00" + failed},
		{"address of a zone", "\x05\x01\x00" + socks5To(cell.Target{Name: "fe80::1%eth0", Port: 7}), "\x05\x00" + failed},
		{"password version", "\x05\x01\x02\x05", "\x05\x02\x01\x01"},
		{"version changes", "\x05\x01\x00\x04\x01", "\x05\x00"},
		{"socks4 bind", "\x04\x02\x00\x07\x01\x02\x03\x04\x00", refused4},
		{"socks4 port 0", "\x04\x01\x00\x00\x01\x02\x03\x04\x00", refused4},
		{"socks4 long user", "\x04\x01\x00\x07\x01\x02\x03\x04" + strings.Repeat("u", 300), refused4},
		{"TLS", "\x16\x03\x01", ""},
		{"web site", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
		{"https in the clear", "GET https://site.test/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"no port", "CONNECT site.test HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"port 99999", "CONNECT site.test:99999 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"user in the address", "GET http://me@site.test/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 "},
		{"no CR", "GET http://site.test/ HTTP/1.1\n\n", "HTTP/1.1 400 "},
		{"lone CR", "GET http://site.test/ HTTP/1.1\r\nA: b\rC: d\r\n\r\n", "HTTP/1.1 400 "},
		{"folded", "GET http://site.test/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 400 "},
		{"two lengths", "POST http://site.test/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 "},
		{"signed length", "POST http://site.test/ HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "HTTP/1.1 400 "},
		{"chunks", "POST http://site.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 "},
		{"two hosts", "GET http://site.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
		{"long", "GET http://site.test/" + strings.Repeat("x", maxRequest), "HTTP/1.1 431 "},
		{"many fields", "GET http://site.test/ HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n", "HTTP/1.1 431 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, addr := w.serve(Config{})
			conn := connectTo(t, addr)
			io.WriteString(conn, tt.say)
			got, err := io.ReadAll(conn)
			if err != nil && !(tt.want == "" && isReset(err)) || !strings.HasPrefix(string(got), tt.want) || tt.want == "" && len(got) > 0 {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if n := s.Stats().Invalid; n != 1 || len(w.asked()) > 0 {
				t.Errorf("counted %d; dialled %v", n, w.asked())
			}
		})
	}
}

func TestAdviceNamesTheProxy(t *testing.T) {
	_, addr := newWorld(t).serve(Config{})
	conn := connectTo(t, addr)
	io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	got, _ := io.ReadAll(conn)
	for _, want := range []string{"not a web site", "socks5h://" + addr, "http://" + addr, "text/plain"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestItselfAsTarget(t *testing.T) {
	w := newWorld(t)
	s, addr := w.serve(Config{})
	port := netip.MustParseAddrPort(addr).Port()
	hosts := []cell.Target{{Name: "localhost"}, {Name: "LOCALHOST."}, {Addr: netip.MustParseAddr("127.0.0.1")}, {Addr: netip.MustParseAddr("127.9.9.9")},
		{Addr: netip.IPv6Loopback()}, {Addr: netip.IPv4Unspecified()}}
	for _, target := range hosts {
		target.Port = port
		conn := connectTo(t, addr)
		exchange(t, conn, "\x05\x01\x00", "\x05\x00")
		exchange(t, conn, socks5To(target), "\x05\x02")
		conn.Close()
	}
	if got := s.Stats().Loops; got != uint64(len(hosts)) || len(w.asked()) > 0 {
		t.Errorf("counted %d, dialled %v", got, w.asked())
	}
}

func TestBounds(t *testing.T) {
	for name, cfg := range map[string]Config{"in total": {MaxConns: 3}, "of a client": {MaxPerClient: 3}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server(7, echo)
			s, addr := w.serve(cfg)
			var conns []*net.TCPConn
			for range 3 {
				conns = append(conns, tunnel(t, addr, 7))
			}
			tooMany(t, addr)
			if got := s.Stats(); got.Full != 1 || got.Open != 3 {
				t.Errorf("%+v", got)
			}
			conns[0].Close()
			within(t, "room", func() bool { return s.Stats().Open == 2 })
			exchange(t, tunnel(t, addr, 7), "x", "x")
		})
	}
}

// tooMany makes a connection that is refused.
func tooMany(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if !isReset(err) {
		t.Errorf("one too many saw %v", err)
	}
}

// Who does not finish a request in time is shut out, however busily it sends.
func TestSlowRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a request may")
	}
	t.Parallel()
	w := newWorld(t)
	s, addr := w.serve(Config{})
	begin := time.Now()
	silent, busy := connectTo(t, addr), connectTo(t, addr)
	io.WriteString(busy, "GET ")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := io.WriteString(busy, "x"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the silent client saw %v", err)
	}
	<-ended
	if took := time.Since(begin); took > 2*requestTime {
		t.Errorf("it took %v", took)
	}
	within(t, "both to be counted", func() bool { return s.Stats().Invalid == 2 && s.Stats().Open == 0 })
}

// A request may come byte by byte.
func TestBytewise(t *testing.T) {
	for _, say := range []string{"\x05\x01\x02\x01\x01u\x01p" + socks5To(cell.Target{Name: "site.test", Port: 7}),
		"\x04\x01\x00\x07\x00\x00\x00\x01me\x00site.test\x00", "CONNECT site.test:7 HTTP/1.1\r\nA: b\r\n\r\n"} {
		w := newWorld(t)
		w.server(7, echo)
		_, addr := w.serve(Config{})
		conn := connectTo(t, addr)
		conn.SetNoDelay(true)
		for i := range len(say) {
			io.WriteString(conn, say[i:i+1])
			time.Sleep(100 * time.Microsecond)
		}
		io.WriteString(conn, "hello")
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "hello") {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// Browsers open connections that they may not need.
func TestUnusedConnection(t *testing.T) {
	s, addr := newWorld(t).serve(Config{})
	connectTo(t, addr).Close()
	within(t, "it to end", func() bool { return s.Stats().Left == 1 && s.Stats().Open == 0 })
	if got := s.Stats().Invalid; got != 0 {
		t.Errorf("%d invalid requests", got)
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- New(Config{Name: "x", Dialer: newWorld(t)}).Serve(t.Context(), l) }()
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// Serve ends connections in every state.
func TestServeEndsAll(t *testing.T) {
	w := newWorld(t)
	w.server(7, func(conn *net.TCPConn) {
		if _, err := io.ReadAll(conn); err == nil {
			awaitBreak(conn)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Dialer: w})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	addr := l.Addr().String()
	connectTo(t, addr)
	tunnel(t, addr, 7)
	tunnel(t, addr, 7).CloseWrite()
	newAssociation(t, addr)
	within(t, "streams", func() bool { return s.Stats().Streams == 2 })
	w.set(nil, make(chan struct{}))
	dialling := connectTo(t, addr)
	exchange(t, dialling, "\x05\x01\x00", "\x05\x00")
	io.WriteString(dialling, socks5To(cell.Target{Name: "site.test", Port: 7}))
	within(t, "the dial", func() bool { return len(w.asked()) == 3 && s.Stats().Associations == 1 })
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not end")
	}
	if left := leftGoroutine(); left != "" {
		t.Error(left)
	}
	if got := s.Stats().Open; got != 0 {
		t.Errorf("%d connections are left", got)
	}
}

// Addresses must not come into a log.
func TestLogsNothingOfClients(t *testing.T) {
	var lines strings.Builder
	w := newWorld(t)
	w.ends["site.test"] = cell.EndRefused
	s, addr := w.serve(Config{Name: "door", MaxConns: 1, Log: newLog(&lines)})
	ask(t, addr, "connect")
	within(t, "room", func() bool { return s.Stats().Open == 0 })
	first := connectTo(t, addr)
	exchange(t, first, "\x05\x01\x00", "\x05\x00")
	for range 3 {
		tooMany(t, addr)
	}
	within(t, "refusals", func() bool { return s.Stats().Full == 3 })
	got := lines.String()
	if strings.Count(got, "\n") != 1 || strings.Contains(got, "127.0.0.1") || strings.Contains(got, "site.test") {
		t.Errorf("logged %q", got)
	}
}
