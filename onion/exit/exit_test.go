package exit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/ntor"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
)

// names is a Resolver whose answers a test says; each lookup takes the next answer of a name, the
// last one stays.
type names struct {
	mu    sync.Mutex
	addrs map[string][][]string
	names []string
	ttl   time.Duration
	err   error
	asked int
}

func (n *names) LookupAddrs(ctx context.Context, name string) (addrs []netip.Addr, ttl time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.err != nil {
		return nil, 0, n.err
	}
	answers := n.addrs[name]
	if len(answers) == 0 {
		return nil, 0, errNotFound
	}
	if len(answers) > 1 {
		n.addrs[name] = answers[1:]
	}
	for _, a := range answers[0] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, n.ttl, nil
}

func (n *names) LookupNames(context.Context, netip.Addr) ([]string, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.names, n.ttl, n.err
}

// dials is a Dialer that notes what is dialled. Addresses of refused fail after so long;
// others get one end of a pipe.
type dials struct {
	mu      sync.Mutex
	to      []string
	refused map[string]time.Duration
	slow    map[string]time.Duration
	open    int
}

func (d *dials) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.to = append(d.to, network+" "+address)
	after, refused := d.refused[address]
	if !refused {
		after = d.slow[address]
	}
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(after):
	}
	if refused {
		return nil, &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(9, 9, 9, 9)}, Err: syscall.ECONNREFUSED}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	near, far := net.Pipe()
	go func() {
		io.Copy(io.Discard, far)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.open--
	}()
	return near, nil
}

func (d *dials) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := d.to
	d.to = nil
	return to
}

func parsed(t testing.TB, preset string, rules ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(preset, rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noAddresses() []netip.Addr { return nil }

func reasonOf(err error) cell.EndReason {
	var told *relay.Error
	if errors.As(err, &told) {
		return told.Reason
	}
	if err == nil {
		return cell.EndDone
	}
	return cell.EndMisc
}

var self, other = identity.NodeID{1}, identity.NodeID{2}

func name(s string, port uint16) cell.Target { return cell.Target{Name: s, Port: port} }

func addr(s string, port uint16) cell.Target {
	return cell.Target{Addr: netip.MustParseAddr(s), Port: port}
}

func node(n identity.NodeID, port uint16) cell.Target { return cell.Target{Node: n, Port: port} }

func udp(t cell.Target) cell.Target {
	t.Network = cell.UDP
	return t
}

func TestConnect(t *testing.T) {
	mesh := "[" + other.Address().String() + "]:"
	for _, tt := range []struct {
		what   string
		target cell.Target
		reason cell.EndReason
		dialed string
		count  func(Stats) uint64
	}{
		{"a name", name("www.example.org", 443), cell.EndDone, "tcp [2606:4700::1]:443", func(s Stats) uint64 { return s.Connected }},
		{"a name by UDP", udp(name("www.example.org", 443)), cell.EndDone, "udp [2606:4700::1]:443", func(s Stats) uint64 { return s.Connected }},
		{"an address", addr("9.9.9.9", 80), cell.EndDone, "tcp 9.9.9.9:80", func(s Stats) uint64 { return s.Connected }},
		{"a port that is closed", addr("9.9.9.9", 22), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"a port that is closed, by name", name("www.example.org", 22), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"a private address", addr("192.168.1.1", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a name of a private address", name("private.example.org", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a name of both", name("mixed.example.org", 80), cell.EndDone, "tcp 9.9.9.9:80", func(s Stats) uint64 { return s.Connected }},
		{"a mapped loopback by name", name("mapped.example.org", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a mesh address by name", name("mesh.example.org", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"this host's address", addr("8.8.4.4", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"localhost", name("localhost", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a number for a name", name("127.1", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a service", name("cheesy.gnet.alt", 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"an unknown name", name("nothing.example.org", 80), cell.EndResolve, "", func(s Stats) uint64 { return s.ResolveFailed }},
		{"a name without addresses", name("empty.example.org", 80), cell.EndResolve, "", func(s Stats) uint64 { return s.ResolveFailed }},
		{"another node", node(other, 80), cell.EndDone, "tcp " + mesh + "80", func(s Stats) uint64 { return s.Connected }},
		{"another node by UDP", udp(node(other, 53)), cell.EndDone, "udp " + mesh + "53", func(s Stats) uint64 { return s.Connected }},
		{"another node's agent", node(other, 18246), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"another node's mesh address as such", addr(other.Address().String(), 80), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPrivate }},
		{"a port of this node", node(self, 2222), cell.EndDone, "tcp 127.0.0.1:2222", func(s Stats) uint64 { return s.Connected }},
		{"another port of this node", node(self, 22), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"no target", cell.Target{Port: 80}, cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"port 0 of a node", node(other, 0), cell.EndPolicy, "", func(s Stats) uint64 { return s.RefusedPolicy }},
		{"a refusal", addr("9.9.9.10", 80), cell.EndMisc, "tcp 9.9.9.10:80", func(s Stats) uint64 { return s.ConnectFailed }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			d := &dials{refused: map[string]time.Duration{"9.9.9.10:80": 0}}
			e := New(Config{Self: self, Policy: parsed(t, "web"), Inside: true, ServePorts: []uint16{2222}, Dialer: d,
				Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("8.8.4.4")} },
				Resolver: &names{addrs: map[string][][]string{
					"www.example.org": {{"2606:4700::1", "9.9.9.9"}}, "private.example.org": {{"10.0.0.1", "fe80::1"}}, "mixed.example.org": {{"127.0.0.1", "::1", "9.9.9.9"}},
					"mapped.example.org": {{"::ffff:127.0.0.1"}}, "mesh.example.org": {{other.Address().String()}}, "empty.example.org": {{}},
				}}})
			c, err := e.Connect(t.Context(), tt.target)
			if got := reasonOf(err); got != tt.reason {
				t.Errorf("%v, want %v", err, tt.reason)
			}
			if err != nil && (strings.Contains(err.Error(), "9.9.9") || strings.Contains(err.Error(), "example")) {
				t.Errorf("the error names the destination: %v", err)
			}
			if got := strings.Join(d.take(), ", "); got != tt.dialed {
				t.Errorf("dialled %q, want %q", got, tt.dialed)
			}
			s := e.Stats()
			if got := tt.count(s); got != 1 {
				t.Errorf("counted %d of %+v", got, s)
			}
			if c != nil {
				if s.Open != 1 {
					t.Errorf("%d are open", s.Open)
				}
				c.Close()
				c.Close()
			}
			if s := e.Stats(); s.Open != 0 {
				t.Errorf("%d are open at the end", s.Open)
			}
		})
	}
}

func TestNothingLeavesByDefault(t *testing.T) {
	d := &dials{}
	e := New(Config{Self: self, Dialer: d, Own: noAddresses, Resolver: &names{}})
	for _, target := range []cell.Target{addr("9.9.9.9", 443), name("example.org", 443), node(other, 80), node(self, 80)} {
		if _, err := e.Connect(t.Context(), target); reasonOf(err) != cell.EndPolicy {
			t.Errorf("%+v: %v", target, err)
		}
	}
	if _, err := e.Resolve(t.Context(), "example.org"); reasonOf(err) != cell.EndPolicy {
		t.Errorf("resolve: %v", err)
	}
	if e.Summary().IsExit() || len(d.take()) > 0 {
		t.Errorf("summary %v", e.Summary())
	}
	e.SetPolicy(parsed(t, "all"))
	e.SetInside(true, []uint16{80})
	for _, target := range []cell.Target{addr("9.9.9.9", 443), node(other, 80), node(self, 80)} {
		c, err := e.Connect(t.Context(), target)
		if err != nil {
			t.Fatalf("%+v: %v", target, err)
		}
		c.Close()
	}
}

// A name that answers with a public address first and a private one the next time
// never leads to the private one: each answer is judged, and the very addresses
// judged are dialled, without another lookup.
func TestRebinding(t *testing.T) {
	d := &dials{}
	n := &names{addrs: map[string][][]string{"rebind.example.org": {{"9.9.9.9"}, {"127.0.0.1"}, {"192.168.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"}, {"10.0.0.1", "9.9.9.8"}}}}
	e := New(Config{Self: self, Policy: parsed(t, "all"), Dialer: d, Resolver: n, Own: noAddresses})
	for i, want := range []string{"tcp 9.9.9.9:80", "", "", "tcp 9.9.9.8:80"} {
		c, err := e.Connect(t.Context(), name("rebind.example.org", 80))
		if c != nil {
			c.Close()
		}
		if got := strings.Join(d.take(), ", "); got != want || (err == nil) != (want != "") {
			t.Errorf("connection %d: dialled %q, %v, want %q", i+1, got, err, want)
		}
		if n.asked != i+1 {
			t.Errorf("%d lookups for %d connections", n.asked, i+1)
		}
	}
}

func TestAddressesAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dials{
			refused: map[string]time.Duration{"[2606:4700::1]:80": time.Millisecond, "9.9.9.9:80": 100 * time.Millisecond},
			slow:    map[string]time.Duration{"[2606:4700::2]:80": time.Second, "9.9.9.10:80": 400 * time.Millisecond},
		}
		n := &names{addrs: map[string][][]string{
			"all.example.org":  {{"9.9.9.9", "9.9.9.10", "2606:4700::1", "2606:4700::2"}},
			"none.example.org": {{"2606:4700::1", "9.9.9.9"}},
			"many.example.org": {{"9.9.9.9", "9.9.9.9", "9.9.9.9", "9.9.9.9", "9.9.9.9", "9.9.9.9", "9.9.9.9", "9.9.9.9"}},
		}}
		e := New(Config{Self: self, Policy: parsed(t, "web"), Dialer: d, Resolver: n, Own: noAddresses})
		start := time.Now()
		c, err := e.Connect(t.Context(), name("all.example.org", 80))
		if err != nil {
			t.Fatal(err)
		}
		// ::1 is refused after 1 ms, 9.9.9.9 after 100 ms more, ::2 would take a second, 9.9.9.10 begins 250 ms later.
		if took := time.Since(start); took != 751*time.Millisecond {
			t.Errorf("connected after %v", took)
		}
		want := []string{"tcp [2606:4700::1]:80", "tcp 9.9.9.9:80", "tcp [2606:4700::2]:80", "tcp 9.9.9.10:80"}
		if got := d.take(); !slices.Equal(got, want) {
			t.Errorf("dialled %q, want %q", got, want)
		}
		c.Close()
		synctest.Wait()
		if d.open != 0 || e.Stats().Open != 0 {
			t.Errorf("%d connections stay, %d are counted", d.open, e.Stats().Open)
		}
		if _, err = e.Connect(t.Context(), name("none.example.org", 80)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("all refused: %v", err)
		}
		d.take()
		if e.Connect(t.Context(), name("many.example.org", 80)); len(d.take()) != maxAttempts {
			t.Error("any number of addresses is tried")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := e.Connect(ctx, addr("2606:4700::2", 80)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too slow: %v", err)
		}
		for a, to := range e.gate.destinations {
			if to.open != 0 {
				t.Errorf("%d connections to %v are counted", to.open, a)
			}
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	e := New(Config{Self: self, Policy: parsed(t, "web"), Dialer: &dials{}, Own: noAddresses, Limits: Limits{Connections: 3, PerDestination: 2}})
	var open []net.Conn
	for i, tt := range []struct {
		addr string
		ok   bool
	}{{"9.9.9.9", true}, {"9.9.9.9", true}, {"9.9.9.9", false}, {"9.9.9.10", true}, {"9.9.9.11", false}} {
		c, err := e.Connect(t.Context(), addr(tt.addr, 80))
		if (err == nil) != tt.ok || err != nil && reasonOf(err) != cell.EndResource {
			t.Errorf("connection %d: %v", i, err)
		}
		if c != nil {
			open = append(open, c)
		}
	}
	if s := e.Stats(); s.RefusedLimit != 2 || s.Open != 3 {
		t.Errorf("%+v", s)
	}
	e.SetLimits(Limits{Connections: 10, PerDestination: 10})
	c, err := e.Connect(t.Context(), addr("9.9.9.9", 80))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(open, c) {
		c.Close()
	}
	if s := e.Stats(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSecret(t *testing.T) {
	secret := []byte("sixteen octets..")
	e := New(Config{Self: self, Policy: parsed(t, "web"), Inside: true, Dialer: &dials{}, Own: noAddresses, Secret: secret,
		Resolver: &names{addrs: map[string][][]string{"example.org": {{"9.9.9.9"}}}}})
	if e.Summary().IsExit() {
		t.Error("strangers are invited")
	}
	x := [32]byte{7}
	for _, tt := range []struct {
		what  string
		proof [16]byte
		want  bool
	}{
		{"the proof", ntor.Proof(secret, self, x), true}, {"none", [16]byte{}, false}, {"of another secret", ntor.Proof([]byte("sixteen octets.!"), self, x), false},
		{"for another relay", ntor.Proof(secret, other, x), false}, {"of another handshake", ntor.Proof(secret, self, [32]byte{8}), false},
	} {
		if got := e.Admits(x, tt.proof); got != tt.want {
			t.Errorf("%s: admitted %v", tt.what, got)
		}
	}
	connect := func(ctx context.Context) error {
		c, err := e.Connect(ctx, addr("9.9.9.9", 80))
		if c != nil {
			c.Close()
		}
		_, rerr := e.Resolve(ctx, "example.org")
		if reasonOf(err) != reasonOf(rerr) {
			t.Errorf("connect %v, resolve %v", err, rerr)
		}
		return err
	}
	if err := connect(t.Context()); reasonOf(err) != cell.EndPolicy || e.Stats().RefusedSecret != 2 {
		t.Errorf("without the secret: %v, %+v", err, e.Stats())
	}
	if err := connect(relay.WithTrust(t.Context())); err != nil {
		t.Errorf("with the secret: %v", err)
	}
	if c, err := e.Connect(t.Context(), node(other, 80)); err != nil {
		t.Errorf("inside: %v", err)
	} else {
		c.Close()
	}
	e.SetSecret(nil)
	if err := connect(t.Context()); err != nil || e.Admits(x, ntor.Proof(nil, self, x)) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestResolve(t *testing.T) {
	n := &names{ttl: 400 * time.Second, names: []string{"www.example.org.", "127.0.0.1.", "printer.local.", "a b.example.org."}, addrs: map[string][][]string{
		"www.example.org": {{"9.9.9.9", "10.0.0.1", "2606:4700::1", "::ffff:9.9.9.8"}}, "private.example.org": {{"10.0.0.1"}},
	}}
	e := New(Config{Self: self, Policy: parsed(t, "web"), Resolver: n, Own: noAddresses})
	m, err := e.Resolve(t.Context(), "www.example.org")
	if err != nil || m.TTL != 300*time.Second || len(m.Addrs) != 3 || m.Addrs[0].String() != "9.9.9.9" || m.Addrs[1].String() != "2606:4700::1" || m.Addrs[2].String() != "9.9.9.8" {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = e.Resolve(t.Context(), "34.216.184.93.in-addr.arpa")
	if err != nil || !slices.Equal(m.Names, []string{"www.example.org"}) {
		t.Errorf("names: %+v, %v", m, err)
	}
	asked := n.asked
	for _, tt := range []struct {
		name   string
		reason cell.EndReason
	}{
		{"private.example.org", cell.EndPolicy}, {"nothing.example.org", cell.EndResolve}, {"router.lan", cell.EndPolicy}, {"127.1", cell.EndPolicy},
		{"1.0.0.10.in-addr.arpa", cell.EndPolicy}, {"1.1.168.192.in-addr.arpa", cell.EndPolicy}, {"168.192.in-addr.arpa", cell.EndPolicy}, {toArpa(other.Address()), cell.EndPolicy},
	} {
		if m, err := e.Resolve(t.Context(), tt.name); reasonOf(err) != tt.reason || len(m.Addrs)+len(m.Names) > 0 {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
	}
	if n.asked != asked+2 {
		t.Errorf("%d names were looked up that were not to be", n.asked-asked-2)
	}
	n.err = context.DeadlineExceeded
	if _, err := e.Resolve(t.Context(), "www.example.org"); reasonOf(err) != cell.EndTimeout {
		t.Errorf("a timeout: %v", err)
	}
	for ttl, want := range map[time.Duration]time.Duration{0: 60, 59: 60, 60: 60, 299: 60, 300: 300, 1799: 300, 1800: 1800, 1 << 30: 1800} {
		if got := lifetime(ttl * time.Second); got != want*time.Second {
			t.Errorf("%d s became %v", ttl, got)
		}
	}
}

// Loopback is opened by name, so that real sockets are used.
func TestRealSockets(t *testing.T) {
	p := parsed(t, "all")
	loopback, err := policy.ParsePrivate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p.AllowPrivate = append(p.AllowPrivate, loopback)
	e := New(Config{Self: self, Policy: p})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	target := func(a net.Addr) (t cell.Target) {
		ap := netip.MustParseAddrPort(a.String())
		return cell.Target{Addr: ap.Addr(), Port: ap.Port()}
	}
	if s := e.Summary(); !s.IPv4 || !s.TCP.Has(443) || s.TCP.Has(25) {
		t.Errorf("summary %v", s)
	}
	c, err := e.Connect(t.Context(), target(l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	c.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("echo %q, %v", b, err)
	}
	c.Close()

	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if c, err = e.Connect(t.Context(), udp(target(u.LocalAddr()))); err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("ping"))
	b := make([]byte, 10)
	n, from, err := u.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" || from.String() != c.LocalAddr().String() {
		t.Errorf("%q from %v, %v", b[:n], from, err)
	}
	u.WriteTo([]byte("pong"), from)
	if n, err = c.Read(b); err != nil || string(b[:n]) != "pong" {
		t.Errorf("%q, %v", b[:n], err)
	}
	c.Close()
	if s := e.Stats(); s.BytesOut != 9 || s.BytesIn != 9 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
	// Without AllowPrivate the same targets are closed, and so is what the host has for addresses.
	e.SetPolicy(parsed(t, "all"))
	if _, err := e.Connect(t.Context(), target(l.Addr())); reasonOf(err) != cell.EndPolicy {
		t.Errorf("loopback: %v", err)
	}
	for _, own := range OwnAddresses()() {
		if _, err := e.Connect(t.Context(), cell.Target{Addr: own, Port: 80}); reasonOf(err) != cell.EndPolicy {
			t.Errorf("own address: %v", err)
		}
	}
}

func TestBytesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Self: self, Policy: parsed(t, "web"), Dialer: &dials{}, Own: noAddresses, Limits: Limits{BytesPerSecond: 1000, BytesBurst: 1000, BytesPerMonth: 5000}})
		c, err := e.Connect(t.Context(), addr("9.9.9.9", 80))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 4 {
			if n, err := c.Write(make([]byte, 1000)); n != 1000 || err != nil {
				t.Fatal(n, err)
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("4000 bytes took %v", took)
		}
		e.SetLimits(Limits{BytesPerMonth: 5000})
		start = time.Now()
		if _, err := c.Write(make([]byte, 1000)); err != nil || time.Since(start) > 0 {
			t.Errorf("after the limit was taken away: %v, %v", err, time.Since(start))
		}
		if _, err := c.Write(make([]byte, 1)); reasonOf(err) != cell.EndPolicy {
			t.Errorf("more than the month has: %v", err)
		}
		c.Close()
		if _, err := e.Connect(t.Context(), addr("9.9.9.9", 80)); reasonOf(err) != cell.EndPolicy || e.Stats().RefusedQuota != 1 || e.Summary().IsExit() {
			t.Errorf("%v, %+v", err, e.Stats())
		}
		time.Sleep(31 * day)
		if c, err = e.Connect(t.Context(), addr("9.9.9.9", 80)); err != nil {
			t.Fatal(err)
		}
		e.SetLimits(Limits{BytesPerSecond: 1})
		time.AfterFunc(time.Second, func() { c.Close() })
		start = time.Now()
		c.Write(make([]byte, 1_000_000))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("Close did not wake a writer: %v", took)
		}
	})
}

func TestLogsHoldNoDestinations(t *testing.T) {
	var log strings.Builder
	e := New(Config{Self: self, Policy: parsed(t, "web"), Dialer: &dials{refused: map[string]time.Duration{"9.9.9.9:80": 0}}, Own: noAddresses,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Limits: Limits{BytesPerMonth: 1},
		Resolver: &names{err: errors.New("no answer about www.example.org")}})
	ask := func() {
		for _, target := range []cell.Target{addr("9.9.9.9", 80), addr("9.9.9.9", 22), addr("10.0.0.1", 80), name("www.example.org", 80), name("x.local", 80), node(other, 80)} {
			if _, err := e.Connect(t.Context(), target); err == nil {
				t.Errorf("%+v is connected", target)
			}
		}
	}
	ask()
	e.quota.Add(1)
	ask()
	e.SetLimits(Limits{Rate: 1, Burst: 1}) // however slow the machine is
	ask()
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines, want one of each kind", got)
	}
	for _, word := range []string{"9.9.9", "10.0", "example", "local", other.Short()} {
		if strings.Contains(log.String(), word) {
			t.Errorf("the log says %q:\n%s", word, log.String())
		}
	}
}
