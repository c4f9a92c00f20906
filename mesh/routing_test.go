package mesh

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"

	"globalnet/internal/identity"
	"globalnet/mesh/babel"
)

func TestAcceptRoute(t *testing.T) {
	id := identity.NodeID{1, 2, 3}
	own := routerID(id)
	host := hostPrefix(id.Address())
	tests := []struct {
		name   string
		prefix netip.Prefix
		id     babel.RouterID
		want   bool
	}{
		{"a mesh address under its own router-id", host, own, true},
		{"a mesh address under another router-id", host, babel.RouterID{9}, false},
		{"the default route", netip.MustParsePrefix("::/0"), own, false},
		{"the IPv4 default route", netip.MustParsePrefix("0.0.0.0/0"), own, false},
		{"a wider piece of the mesh", netip.PrefixFrom(id.Address(), 127).Masked(), own, false},
		{"the whole mesh", identity.MeshPrefix, own, false},
		{"a host outside of the mesh", netip.MustParsePrefix("2001:db8::1/128"), babel.RouterID{7: 1}, false},
		{"an IPv4 host", netip.MustParsePrefix("192.0.2.1/32"), own, false},
	}
	for _, test := range tests {
		if got := acceptRoute("gn-x", test.prefix, test.id); got != test.want {
			t.Errorf("%s: accepted is %v, want %v", test.name, got, test.want)
		}
	}
}

// What has arrived is judged before a timer says that nothing has.
func TestHandlePackets(t *testing.T) {
	n := &Node{
		log: slog.New(slog.DiscardHandler), packets: make(chan packet, 8), counters: map[string]uint64{},
		speaker: babel.New(babel.Config{Rand: rand.New(rand.NewPCG(1, 2))}),
	}
	for range 3 {
		n.packets <- packet{ifname: "gn-x"}
	}
	n.handlePackets()
	if len(n.packets) != 0 || n.counters["babel_packets_refused"] != 3 {
		t.Errorf("%d wait, %v", len(n.packets), n.counters)
	}
}
