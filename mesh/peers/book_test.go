package peers

import (
	"encoding/binary"
	mathrand "math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"globalnet/internal/identity"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func nodeID(n int) (id identity.NodeID) {
	binary.BigEndian.PutUint32(id[:], uint32(n))
	id[31] = 1
	return id
}

func address(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, byte(n >> 16), byte(n >> 8), byte(n)}), 18245)
}

func entry(n int) Entry { return Entry{Node: nodeID(n), Addrs: []netip.AddrPort{address(n)}} }

func newBook() *Book { return New(nodeID(1<<30), mathrand.New(mathrand.NewPCG(1, 2))) }

func addrPorts(list ...string) []netip.AddrPort {
	var as []netip.AddrPort
	for _, s := range list {
		as = append(as, netip.MustParseAddrPort(s))
	}
	return as
}

func TestAddressesThatAreBelieved(t *testing.T) {
	for _, c := range []struct {
		addr               string
		told, byConfigured bool
	}{
		{"93.184.216.34:18245", true, true},
		{"[2a00::1]:18245", true, true},
		{"93.184.216.34:443", true, true},
		{"93.184.216.34:22", false, true},
		{"93.184.216.34:0", false, false},
		{"127.0.0.1:18245", false, true},
		{"[::1]:18245", false, true},
		{"10.1.2.3:18245", false, true},
		{"192.168.1.1:18245", false, true},
		{"172.16.0.1:18245", false, true},
		{"100.64.0.1:18245", false, true},
		{"169.254.1.1:18245", false, true},
		{"[fe80::1]:18245", false, true},
		{"[fe80::1%eth0]:18245", false, false},
		{"[fd00::1]:18245", false, true},
		{"[fd47:4e45::1]:18245", false, false}, // the mesh itself
		{"0.0.0.0:18245", false, false},
		{"[::]:18245", false, false},
		{"224.0.0.1:18245", false, false},
		{"[ff02::1]:18245", false, false},
		{"255.255.255.255:18245", false, false},
		{"[::ffff:93.184.216.34]:18245", true, true}, // the same as the first
		{"[::ffff:127.0.0.1]:18245", false, true},
	} {
		e := Entry{Node: nodeID(1), Addrs: addrPorts(c.addr)}
		b := newBook()
		if got := b.Add(start, nodeID(9), e); got != c.told || (b.Len() == 1) != c.told {
			t.Errorf("%s told by a stranger: taken %v, want %v", c.addr, got, c.told)
		}
		b = newBook()
		b.Configure(start, []Entry{e})
		if got := b.Len() == 1; got != c.byConfigured {
			t.Errorf("%s configured: taken %v, want %v", c.addr, got, c.byConfigured)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	b := newBook()
	if b.Add(start, nodeID(9), Entry{Node: b.self, Addrs: addrPorts("93.1.1.1:1024")}) {
		t.Error("took an entry for the node itself")
	}
	if b.Add(start, nodeID(9), Entry{Addrs: addrPorts("93.1.1.1:1024")}) {
		t.Error("took an entry for no node")
	}
	many := Entry{Node: nodeID(1)}
	for i := range 100 {
		many.Addrs = append(many.Addrs, address(i), address(i))
	}
	b.Add(start, nodeID(9), many)
	e, ok := b.Next(start)
	if !ok || len(e.Addrs) != MaxAddresses || e.Addrs[0] == e.Addrs[1] {
		t.Errorf("of 200 addresses kept %v", e.Addrs)
	}
}

func TestOneSourceCannotFillTheBook(t *testing.T) {
	b := newBook()
	b.Add(start, nodeID(2), entry(2000))
	for i := range 5000 {
		b.Add(start, nodeID(1), entry(10000+i))
	}
	if b.Len() != maxPerSource+1 {
		t.Errorf("%d entries, want %d", b.Len(), maxPerSource+1)
	}
	if b.records[nodeID(2000)] == nil {
		t.Error("the entry of another source is gone")
	}
}

func TestBookIsBoundedAndKeepsTheBest(t *testing.T) {
	b := newBook()
	b.Configure(start, []Entry{entry(1)})
	for i := range 5 { // 2: connected, 3: once connected, 4: failing, 5, 6: untried
		b.Add(start, nodeID(900), entry(2+i))
	}
	b.Succeeded(start, nodeID(2))
	b.Succeeded(start, nodeID(3))
	b.Lost(start, nodeID(3))
	b.Failed(start, nodeID(4))
	for i := range 3 * maxEntries {
		b.Add(start, nodeID(1000+i/maxPerSource), entry(10000+i))
		if b.Len() > maxEntries {
			t.Fatalf("%d entries", b.Len())
		}
	}
	for n, want := range map[int]bool{1: true, 2: true, 3: true, 4: false, 5: true, 6: true} {
		if got := b.records[nodeID(n)] != nil; got != want {
			t.Errorf("entry %d kept: %v, want %v", n, got, want)
		}
	}
	for i := range 2 * maxEntries { // a full book of connected nodes takes no more
		b.Add(start, nodeID(50000+i), entry(60000+i))
		b.Succeeded(start, nodeID(60000+i))
	}
	if b.Len() != maxEntries || b.records[nodeID(1)] == nil || b.records[nodeID(2)] == nil {
		t.Errorf("%d entries, configured one kept: %v", b.Len(), b.records[nodeID(1)] != nil)
	}
}

func TestAddressesOfAKnownNode(t *testing.T) {
	told := func(list ...string) Entry { return Entry{Node: nodeID(1), Addrs: addrPorts(list...)} }
	for _, c := range []struct {
		name   string
		proved []string
		failed bool
		from   int
		told   []string
		want   []string
	}{
		{"room", nil, false, 7, []string{"93.0.0.9:1024"}, []string{"93.0.0.1:1024", "93.0.0.2:1024", "93.0.0.3:1024", "93.0.0.9:1024"}},
		{"known", nil, false, 7, []string{"93.0.0.2:1024"}, []string{"93.0.0.1:1024", "93.0.0.2:1024", "93.0.0.3:1024"}},
		{"full", nil, false, 7, []string{"93.0.0.8:1024", "93.0.0.9:1024"}, []string{"93.0.0.1:1024", "93.0.0.2:1024", "93.0.0.3:1024", "93.0.0.8:1024"}},
		{"full, by itself", nil, false, 1, []string{"93.0.0.8:1024", "93.0.0.9:1024"}, []string{"93.0.0.2:1024", "93.0.0.3:1024", "93.0.0.8:1024", "93.0.0.9:1024"}},
		{"full and failing", nil, true, 7, []string{"93.0.0.8:1024", "93.0.0.9:1024"}, []string{"93.0.0.2:1024", "93.0.0.3:1024", "93.0.0.8:1024", "93.0.0.9:1024"}},
		{"proved stays", []string{"93.0.0.2:1024"}, true, 7, []string{"93.0.0.8:1024", "93.0.0.9:1024"}, []string{"93.0.0.2:1024", "93.0.0.3:1024", "93.0.0.8:1024", "93.0.0.9:1024"}},
	} {
		b := newBook()
		b.Add(start, nodeID(9), told("93.0.0.1:1024", "93.0.0.2:1024", "93.0.0.3:1024"))
		for _, a := range c.proved {
			b.Proved(nodeID(1), netip.MustParseAddrPort(a))
		}
		if c.failed {
			b.Failed(start, nodeID(1))
		}
		b.Add(start, nodeID(c.from), told(c.told...))
		got := b.records[nodeID(1)].Addrs
		if want := addrPorts(c.want...); !equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

func equal(a, b []netip.AddrPort) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestProvedAddressComesFirst(t *testing.T) {
	b := newBook()
	b.Add(start, nodeID(9), Entry{Node: nodeID(1), Addrs: addrPorts("93.0.0.1:1024", "93.0.0.2:1024", "93.0.0.3:1024")})
	b.Proved(nodeID(1), netip.MustParseAddrPort("93.0.0.3:1024"))
	b.Proved(nodeID(1), netip.MustParseAddrPort("93.0.0.9:1024")) // unknown
	b.Proved(nodeID(2), netip.MustParseAddrPort("93.0.0.9:1024"))
	if e, _ := b.Next(start); !equal(e.Addrs, addrPorts("93.0.0.3:1024", "93.0.0.1:1024", "93.0.0.2:1024")) {
		t.Errorf("order %v", e.Addrs)
	}
}

func TestNextPrefersConfiguredThenLongGood(t *testing.T) {
	b := newBook()
	for i := 1; i <= 5; i++ {
		b.Add(start, nodeID(9), entry(i))
	}
	now := start
	for range 3 { // 4 was good for long, 3 once; 1 has failed
		now = now.Add(2 * time.Hour)
		b.Succeeded(now, nodeID(4))
	}
	b.Succeeded(now, nodeID(3))
	b.Lost(now, nodeID(3))
	b.Lost(now, nodeID(4))
	b.Failed(now, nodeID(1))
	b.Configure(now, []Entry{entry(6)})
	now = now.Add(time.Minute)
	for _, want := range []int{6, 4, 3, 2, 5, 1} {
		e, ok := b.Next(now)
		if !ok || e.Node != nodeID(want) {
			t.Fatalf("dial %v %v, want %v", e.Node, ok, nodeID(want))
		}
	}
	if e, ok := b.Next(now); ok {
		t.Errorf("dials %v a second time", e.Node)
	}
}

func TestTargetAndMax(t *testing.T) {
	b := newBook()
	var list []Entry
	for i := range 30 {
		b.Add(start, nodeID(9), entry(100+i))
	}
	dial := func() (n int) {
		for {
			e, ok := b.Next(start)
			if !ok {
				return n
			}
			b.Succeeded(start, e.Node)
			n++
		}
	}
	if n := dial(); n != Target || b.Connected(start) != Target {
		t.Errorf("connected to %d, want %d", n, Target)
	}
	for i := range 30 {
		list = append(list, entry(200+i))
	}
	b.Configure(start, list)
	if n := dial(); n != Max-Target {
		t.Errorf("connected to %d more that are configured, want %d", n, Max-Target)
	}
	b.Failed(start, nodeID(100)) // the session broke and could not be had again
	b.Lost(start, nodeID(101))
	if got := b.Connected(start); got != Max-2 {
		t.Errorf("connected to %d, want %d", got, Max-2)
	}
	if n := dial(); n != 2 {
		t.Errorf("%d dials for two that were lost", n)
	}
}

func TestConnectionWithoutNewsIsTriedAgain(t *testing.T) {
	b := newBook()
	b.Add(start, nodeID(9), entry(1))
	b.Succeeded(start, nodeID(1))
	if _, ok := b.Next(start.Add(connectedFor - 1)); ok {
		t.Error("dials a connected node")
	}
	b.Succeeded(start.Add(connectedFor-1), nodeID(1))
	if _, ok := b.Next(start.Add(connectedFor)); ok {
		t.Error("dials a connected node")
	}
	if _, ok := b.Next(start.Add(2 * connectedFor)); !ok {
		t.Error("believes for ever in a connection without news")
	}
	if _, ok := b.Next(start.Add(2*connectedFor + dialTime - 1)); ok {
		t.Error("dials twice at a time")
	}
	if _, ok := b.Next(start.Add(2*connectedFor + dialTime)); !ok {
		t.Error("believes for ever in a dial without an end")
	}
}

func TestBackoff(t *testing.T) {
	b := newBook()
	b.Configure(start, []Entry{entry(1)})
	now := start
	for failures := 1; failures <= 20; failures++ {
		if _, ok := b.Next(now); !ok {
			t.Fatalf("not dialled after %d failures", failures-1)
		}
		b.Failed(now, nodeID(1))
		base := min(maxBackoff, minBackoff<<min(failures-1, 20))
		if _, ok := b.Next(now.Add(base*3/4 - 1)); ok {
			t.Errorf("dialled too early after %d failures", failures)
		}
		now = now.Add(min(maxBackoff, base*5/4))
	}
	b.Succeeded(now, nodeID(1))
	b.Lost(now, nodeID(1))
	if _, ok := b.Next(now.Add(minBackoff * 5 / 4)); !ok {
		t.Error("a success does not shorten the pause")
	}
}

func TestHopelessNodesAreForgotten(t *testing.T) {
	b := newBook()
	b.Configure(start, []Entry{entry(1)})
	b.Add(start, nodeID(9), entry(2))
	b.Add(start, nodeID(9), entry(3))
	b.Succeeded(start, nodeID(3))
	for range hopeless {
		for n := 1; n <= 3; n++ {
			b.Failed(start, nodeID(n))
		}
	}
	if b.records[nodeID(1)] == nil || b.records[nodeID(2)] != nil || b.records[nodeID(3)] == nil {
		t.Error("want the configured and the once good node kept, the other forgotten")
	}
	b.Failed(start, nodeID(77)) // unknown ones are no matter
	b.Lost(start, nodeID(77))
	b.Succeeded(start, nodeID(77))
}

func TestConfigureReplaces(t *testing.T) {
	b := newBook()
	home := Entry{Node: nodeID(3), Addrs: addrPorts("192.168.1.2:18245")}
	b.Configure(start, []Entry{entry(1), entry(2), home, {Node: b.self, Addrs: addrPorts("93.1.1.1:1024")}, {Node: nodeID(4)}})
	if b.Len() != 3 {
		t.Fatalf("%d entries, want 3", b.Len())
	}
	unresolved := []Entry{entry(1), entry(2), {Node: home.Node}}
	b.Configure(start, unresolved)
	if r := b.records[home.Node]; r == nil || !r.Configured || !equal(r.Addrs, home.Addrs) {
		t.Error("a name that could not be looked up took the address away")
	}
	b.Failed(start, nodeID(1))
	moved := Entry{Node: nodeID(1), Addrs: addrPorts("93.7.7.7:18245")}
	b.Configure(start, []Entry{moved})
	if e, ok := b.Next(start); !ok || !equal(e.Addrs, moved.Addrs) {
		t.Errorf("a new address is not dialled at once: %v %v", e, ok)
	}
	if b.Add(start, nodeID(9), Entry{Node: nodeID(1), Addrs: addrPorts("93.6.6.6:18245")}) {
		t.Error("a stranger changes a configured peer")
	}
	if r := b.records[nodeID(2)]; r == nil || r.Configured {
		t.Error("a public peer no longer configured should stay as a known node")
	}
	if b.records[nodeID(3)] != nil {
		t.Error("a private address outlived its configuration")
	}
}
