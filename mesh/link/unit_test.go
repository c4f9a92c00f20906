package link

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun"

	"globalnet/internal/identity"
	"globalnet/mesh/link/signal"
)

var (
	ll1    = netip.MustParseAddr("fe80::1%eth0")
	ll2    = netip.MustParseAddr("fe80::2%wlan0")
	site4  = netip.MustParseAddr("192.168.1.2")
	glob6  = netip.MustParseAddr("2001:db8::2")
	public = netip.MustParseAddr("198.51.100.7")
	inMesh = netip.MustParseAddr("fd47:4e45::1")
)

func TestUsableLocal(t *testing.T) {
	in := []LocalAddress{
		{Addr: public, Class: Internet},
		{Addr: site4, Class: Wire},
		{Addr: ll2, Class: Radio},
		{Addr: inMesh, Class: Wire},
		{Addr: netip.MustParseAddr("fe80::9"), Class: Wire}, // no zone: where would it lead?
		{Addr: netip.IPv6Unspecified(), Class: Wire},
		{Addr: netip.MustParseAddr("ff02::1%eth0"), Class: Wire},
		{Addr: glob6, Class: Mesh},
		{},
		{Addr: ll1, Class: Wire},
	}
	var got []netip.Addr
	for _, l := range usableLocal(in) {
		got = append(got, l.Addr)
	}
	if want := []netip.Addr{ll1, ll2, site4, public}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v, best first", got, want)
	}
	many := make([]LocalAddress, 100)
	for i := range many {
		many[i] = LocalAddress{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Class: Wire}
	}
	if n := len(usableLocal(many)); n != maxLocalAddresses {
		t.Errorf("%d of 100 addresses, want %d", n, maxLocalAddresses)
	}
}

func TestReachable(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		local, remote netip.Addr
		want          bool
	}{
		{ll1, ll2.WithZone(""), true},
		{ll1, glob6, false},
		{glob6, ll2.WithZone(""), false},
		{glob6, glob6, true},
		{glob6, inMesh, false},
		{site4, public, true},
		{site4, glob6, false},
		{site4, lo, false},
		{lo, lo, true},
		{lo, site4, false},
		{site4, netip.MustParseAddr("224.0.0.1"), false},
		{site4, netip.IPv4Unspecified(), false},
	} {
		if got := reachable(c.local, c.remote); got != c.want {
			t.Errorf("%v to %v: %v", c.local, c.remote, got)
		}
	}
}

// A neighbour may name someone else's address as its candidate. That one gets
// few packets, however often pion checks.
func TestChecksOfTheSilentAreFew(t *testing.T) {
	m := &mux{remotes: make(map[netip.AddrPort]*pace)}
	s := &socket{mux: m}
	victim := netip.AddrPortFrom(public, 53)
	now := time.Unix(0, 0)
	sent := 0
	for range int(pathTimeout / checkInterval) {
		if m.mayCheck(s, victim, now) {
			sent++
		}
		now = now.Add(checkInterval)
	}
	if sent < 10 || sent > 25 {
		t.Errorf("%d checks in %v to an address that never answered", sent, pathTimeout)
	}
	m.heard(victim)
	for range 10 {
		if !m.mayCheck(s, victim, now) {
			t.Fatal("a check of an address that answers was held back")
		}
	}
	for i := range 2 * maxRemotes {
		m.heard(netip.AddrPortFrom(public, uint16(1000+i)))
	}
	if len(m.remotes) != maxRemotes {
		t.Errorf("%d addresses remembered, want %d", len(m.remotes), maxRemotes)
	}
	if m.heard(netip.AddrPortFrom(public, 999)) {
		t.Error("pion would hear of an address too many")
	}
}

func TestPortRange(t *testing.T) {
	r := newPortRange(100, 103)
	seen := make(map[uint16]bool)
	for range 4 {
		p, ok := r.reserve()
		if !ok || p < 100 || p > 103 || seen[p] {
			t.Fatalf("port %d, %v", p, ok)
		}
		seen[p] = true
	}
	if _, ok := r.reserve(); ok {
		t.Error("a fifth port of four")
	}
	r.release(102)
	if p, ok := r.reserve(); !ok || p != 102 {
		t.Errorf("port %d, %v, want the one that was given back", p, ok)
	}
}

// A port that anyone has on any address is not taken: WireGuard would not get it.
func TestBusyPortIsSkipped(t *testing.T) {
	busy, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := uint16(busy.LocalAddr().(*net.UDPAddr).Port)
	n := newTestNode(t, 1, func(c *Config) { c.PortMin, c.PortMax = port, port })
	if m, err := n.openMux(); err == nil {
		m.Close()
		t.Error("a port was shared")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	if len(n.ports.used) != 0 {
		t.Error("the port is still reserved")
	}
}

func TestPathClassAndMTU(t *testing.T) {
	for _, c := range []struct {
		local  LocalAddress
		remote netip.Addr
		class  Class
		mtu    int
	}{
		{LocalAddress{Addr: ll1, Class: Wire, MTU: 1500}, ll1, Wire, 1420},
		{LocalAddress{Addr: ll2, Class: Radio, MTU: 1532}, ll2, Radio, 1452},
		{LocalAddress{Addr: site4, Class: Wire}, site4, Wire, 1420},
		{LocalAddress{Addr: site4, Class: Wire, MTU: 9000}, public, Internet, 1420},
		{LocalAddress{Addr: glob6, Class: Wire, MTU: 1500}, netip.MustParseAddr("2001:db8::3"), Wire, 1420},
		{LocalAddress{Addr: glob6, Class: Wire, MTU: 1500}, netip.MustParseAddr("2001:db8:9::3"), Internet, 1420},
		{LocalAddress{Addr: public, Class: Internet, MTU: 1492}, public, Internet, 1412},
		{LocalAddress{Addr: public, Class: Internet, MTU: 1280}, site4, Internet, 1280},
	} {
		p := path{local: c.local, remote: netip.AddrPortFrom(c.remote, 1)}
		if p.class() != c.class || p.mtu() != c.mtu {
			t.Errorf("%v to %v: %v, MTU %d; want %v, %d", c.local, c.remote, p.class(), p.mtu(), c.class, c.mtu)
		}
	}
}

func TestSamePair(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	a, b, other := at("[fe80::a%w0]:1"), at("[fe80::b%w0]:2"), at("[fe80::c]:2")
	for _, c := range []struct {
		name         string
		ours, theirs signal.Ready
		want         bool
	}{
		{"one cable", signal.Ready{Local: a, Remote: b}, signal.Ready{Local: at("[fe80::b]:2"), Remote: at("[fe80::a]:1")}, true},
		{"another cable", signal.Ready{Local: a, Remote: b}, signal.Ready{Local: other, Remote: at("[fe80::a]:1")}, false},
		{"a cable and the internet", signal.Ready{Local: a, Remote: b}, signal.Ready{Local: at("192.0.2.1:2"), Remote: at("192.0.2.2:3")}, false},
		{"a translator between", signal.Ready{Local: at("10.0.0.2:5"), Remote: at("192.0.2.1:2")}, signal.Ready{Local: at("192.0.2.1:2"), Remote: at("198.51.100.1:77")}, true},
	} {
		if got := samePair(&c.ours, &c.theirs); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestIsPublic(t *testing.T) {
	for a, want := range map[netip.Addr]bool{
		public: true, glob6: true, site4: false, inMesh: false, ll1: false,
		netip.MustParseAddr("100.64.1.1"): false, netip.MustParseAddr("127.0.0.1"): false,
	} {
		if isPublic(a) != want {
			t.Errorf("%v: %v", a, !want)
		}
	}
}

func TestSourceKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":        "192.0.2.1",
		"::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8::1:2":    "2001:db8::",
		"fe80::1%w0":       "fe80::1%w0",
		"fd47:4e45::1":     "fd47:4e45::1",
	} {
		if got := sourceKey(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", in, got, want)
		}
	}
}

func TestBuckets(t *testing.T) {
	b := newBuckets(3, time.Second, 2)
	now := time.Unix(100, 0)
	take := func(a netip.Addr, want ...bool) {
		t.Helper()
		for i, w := range want {
			if got := b.take(a, now); got != w {
				t.Errorf("take %d of %v: %v", i, a, got)
			}
		}
	}
	take(site4, true, true, true, false)
	now = now.Add(time.Second)
	take(site4, true, false)
	take(public, true)
	take(glob6, false) // no memory for a third source
	now = now.Add(time.Minute)
	take(glob6, true)
}

func TestSTUNAnswer(t *testing.T) {
	server := newTestNode(t, 5, nil)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.ServeSTUN(ctx, conn) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	good, err := stun.Build(stun.TransactionID, stun.BindingRequest, stunIntegrity(testKey), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range [][]byte{
		{}, []byte("hello"), good.Raw[:20],
		stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stunIntegrity(NetworkKey("other", ""))).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingSuccess, stunIntegrity(testKey)).Raw,
		append(good.Raw, make([]byte, maxSTUNRequest)...),
	} {
		client.Write(refused)
	}
	client.Write(good.Raw)
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1500)
	n, err := client.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	answer := new(stun.Message)
	var mapped stun.XORMappedAddress
	if err := stun.Decode(buf[:n], answer); err != nil {
		t.Fatal(err)
	}
	if err := mapped.GetFrom(answer); err != nil || answer.TransactionID != good.TransactionID {
		t.Errorf("not the answer to what was asked: %v", err)
	}
	if fmt.Sprintf("%s:%d", mapped.IP, mapped.Port) != client.LocalAddr().String() {
		t.Errorf("%v, want %v", mapped, client.LocalAddr())
	}
	if n > len(good.Raw) {
		t.Errorf("an answer of %d bytes to %d", n, len(good.Raw))
	}
	for range 2 * stunBurst {
		client.Write(good.Raw)
	}
	eventually(t, "the source was not limited", func() bool { return server.Counters()["stun_limited"] > 0 })
	if got := server.Counters()["stun_answered"]; got > stunBurst+1 {
		t.Errorf("%d answers", got)
	}
	if got := server.Counters()["stun_refused"]; got != 7 {
		t.Errorf("%d refused, want 7", got)
	}
}

func TestPeerExchange(t *testing.T) {
	server, client := newTestNode(t, 5, nil), newTestNode(t, 1, nil)
	server.serve(t, "127.0.0.1:0")
	known := func(b byte) identity.NodeID { return identity.NodeID{b} }
	good := netip.AddrPortFrom(public, 18245)
	server.peers = []PeerAddress{
		{Node: known(1), Addrs: []netip.AddrPort{good, good, good, good, good, good}},
		{Node: client.self, Addrs: []netip.AddrPort{good}},
		{Node: known(2)},
		{Node: known(3), Addrs: []netip.AddrPort{netip.AddrPortFrom(ll1, 1), netip.AddrPortFrom(public, 0), good}},
		{Node: known(4), Addrs: []netip.AddrPort{netip.AddrPortFrom(ll1, 1)}},
	}
	for b := range byte(100) {
		server.peers = append(server.peers, PeerAddress{Node: known(100 + b), Addrs: []netip.AddrPort{good}})
	}
	target := DialTarget{Addr: server.addr, Node: server.self, WantPeers: true}
	est, err := client.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	got := est.LearnedPeers
	if len(got) != signal.MaxPeers {
		t.Fatalf("%d nodes, want %d", len(got), signal.MaxPeers)
	}
	if got[0].Node != known(1) || len(got[0].Addrs) != signal.MaxPeerAddrs {
		t.Errorf("first: %v", got[0])
	}
	if want := (PeerAddress{known(3), []netip.AddrPort{good}}); !reflect.DeepEqual(got[1], want) {
		t.Errorf("second: %v, want %v", got[1], want)
	}
	waitIdle(t, server)
	target.WantPeers = false
	if est, err = client.Dial(t.Context(), target); err != nil || est.LearnedPeers != nil {
		t.Errorf("%v, %v: nobody asked", est.LearnedPeers, err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	est := Established{PrivateKey: Secret{0xde, 0xad}, PresharedKey: Secret{0xbe, 0xef}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "est", est, "key", est.PrivateKey)
	for _, s := range []string{fmt.Sprint(est), fmt.Sprintf("%+v", est), fmt.Sprintf("%#v", est), fmt.Sprintf("%v", est.PrivateKey), log.String()} {
		if strings.Contains(s, "222") || strings.Contains(s, "dead") || strings.Contains(s, "0xde") || !strings.Contains(s, "[secret]") {
			t.Errorf("a key is in %s", s)
		}
	}
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	good := newTestNode(t, 1, nil).cfg
	for name, change := range map[string]func(*Config){
		"identity":    func(c *Config) { c.Identity = nil },
		"network key": func(c *Config) { c.NetworkKey = nil },
		"tag":         func(c *Config) { c.Tag = Tag{} },
		"addresses":   func(c *Config) { c.Local = nil },
		"handler":     func(c *Config) { c.Handler = nil },
		"port range":  func(c *Config) { c.PortMin, c.PortMax = 9, 8 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("without a good %s: no error", name)
		}
	}
	good.PortMin, good.PortMax, good.Timeout, good.MaxSessions, good.Log = 0, 0, 0, 0, nil
	e, err := New(good)
	if err != nil || e.cfg.PortMin != defaultPortMin || e.cfg.Timeout != defaultTimeout || e.cfg.Log == nil {
		t.Errorf("defaults: %+v, %v", e.cfg, err)
	}
}

func TestNetworkKey(t *testing.T) {
	keys := map[string]bool{}
	for _, k := range [][]byte{NetworkKey("a", ""), NetworkKey("b", ""), NetworkKey("a", "b"), NetworkKey("", "a")} {
		keys[string(k)] = true
	}
	if len(keys) != 4 {
		t.Errorf("%d keys of 4 networks", len(keys))
	}
	if again := NetworkKey("a", "b"); !keys[string(again)] {
		t.Error("network keys are not of name and passphrase alone")
	}
	if want := deriveNetworkKey("globalnet", ""); !bytes.Equal(NetworkKey("globalnet", ""), want) {
		t.Errorf("the key of the public network is not %x", want)
	}
	if bytes.Equal(NetworkKey("globalnet", "secret"), NetworkKey("globalnet", "")) {
		t.Error("the passphrase of the network globalnet does not count")
	}
}

// A preamble with any bit changed is refused; the original is taken for each target it names.
func TestPreambleIsWhole(t *testing.T) {
	target := [16]byte(testTag(5))
	good := [preambleSize]byte(newPreamble(testTag(1)).append(nil, testKey, target))
	if p, ok := parsePreamble(&good, testKey, testTag(4), target); !ok || p.tag != testTag(1) {
		t.Fatal("a good preamble was refused")
	}
	if _, ok := parsePreamble(&good, testKey, testTag(4)); ok {
		t.Error("a preamble for another node was taken")
	}
	for bit := range preambleSize * 8 {
		bad := good
		bad[bit/8] ^= 1 << (bit % 8)
		if _, ok := parsePreamble(&bad, testKey, testTag(4), target); ok {
			t.Errorf("taken with bit %d changed", bit)
		}
	}
}
