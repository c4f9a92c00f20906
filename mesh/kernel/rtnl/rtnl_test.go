package rtnl_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"globalnet/mesh/kernel/kerneltest"
	"globalnet/mesh/kernel/rtnl"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// link makes a bridge, the kind that every kernel has.
func link(t *testing.T, name string) *rtnl.Link {
	t.Helper()
	kerneltest.Require(t)
	if err := rtnl.AddLink(name, "bridge"); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the kernel has no bridges")
	} else {
		must(t, err)
	}
	l, err := rtnl.LinkByName(name)
	must(t, err)
	t.Cleanup(func() {
		must(t, l.Delete())
		if _, err := rtnl.LinkByName(name); !errors.Is(err, unix.ENODEV) {
			t.Errorf("finding an interface that was removed: %v", err)
		}
	})
	return l
}

func TestLink(t *testing.T) {
	l := link(t, "rt0")
	if err := rtnl.AddLink("rt0", "bridge"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("adding it again: %v", err)
	}
	must(t, l.SetAlias("a word"))
	must(t, l.SetMTU(1400))
	must(t, l.SetAddrGenMode(1))
	must(t, l.SetUp())
	got, err := rtnl.LinkByName("rt0")
	must(t, err)
	want := rtnl.Link{Index: l.Index, Name: "rt0", Alias: "a word", Kind: "bridge", MTU: 1400, Flags: got.Flags | unix.IFF_UP}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	all, err := rtnl.Links()
	must(t, err)
	if !slices.Contains(all, want) {
		t.Errorf("%+v is not in %+v", want, all)
	}
	if addrs, err := rtnl.Addresses(l.Index); err != nil || len(addrs) != 0 {
		t.Errorf("the kernel chose an address: %v %v", addrs, err)
	}
	must(t, l.SetDown())
	if got, err = rtnl.LinkByName("rt0"); err != nil || got.Flags&unix.IFF_UP != 0 {
		t.Errorf("it is not down: %+v %v", got, err)
	}
	if _, err := rtnl.LinkByName("a name that is too long"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a name that is too long: %v", err)
	}
}

func TestAddress(t *testing.T) {
	l := link(t, "rt0")
	for _, p := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		a := rtnl.Address{Index: l.Index, Prefix: netip.MustParsePrefix(p)}
		if a.Prefix.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		must(t, a.Replace())
		must(t, a.Replace())
		have, err := rtnl.Addresses(l.Index)
		must(t, err)
		if len(have) != 1 || have[0].Prefix != a.Prefix || have[0].Flags&a.Flags != a.Flags {
			t.Fatalf("got %+v, want %+v", have, a)
		}
		must(t, have[0].Delete())
		if err := have[0].Delete(); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("removing %s again: %v", p, err)
		}
	}
}

func TestRoute(t *testing.T) {
	l := link(t, "rt0")
	must(t, rtnl.Address{Index: l.Index, Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_NODAD}.Replace())
	must(t, rtnl.Address{Index: l.Index, Prefix: netip.MustParsePrefix("192.0.2.1/24")}.Replace())
	must(t, l.SetUp())
	const table, protocol = 1000, 99
	for _, r := range []rtnl.Route{
		{Destination: netip.MustParsePrefix("2001:db8:1::/48"), Index: l.Index, Gateway: netip.MustParseAddr("fe80::1"), Flags: unix.RTNH_F_ONLINK, Metric: 5},
		{Destination: netip.MustParsePrefix("198.51.100.0/24"), Index: l.Index, Gateway: netip.MustParseAddr("192.0.2.2"), Source: netip.MustParseAddr("192.0.2.1")},
		{Destination: netip.MustParsePrefix("2001:db8:2::/48"), Type: unix.RTN_UNREACHABLE, Metric: 7},
		{Destination: netip.MustParsePrefix("198.51.100.0/24"), Type: unix.RTN_UNREACHABLE, Metric: 7},
		{Destination: netip.MustParsePrefix("0.0.0.0/0"), Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Index: l.Index},
	} {
		r.Table, r.Protocol = table, protocol
		must(t, r.Replace())
		must(t, r.Replace())
		family := unix.AF_INET
		if r.Destination.Addr().Is6() {
			family = unix.AF_INET6
		}
		have, err := rtnl.Routes(family, table, protocol)
		must(t, err)
		if len(have) != 1 || have[0].Destination != r.Destination || have[0].Gateway != r.Gateway || have[0].Source != r.Source || r.Metric != 0 && have[0].Metric != r.Metric {
			t.Fatalf("got %+v, want %+v", have, r)
		}
		if other, err := rtnl.Routes(family, table, protocol+1); err != nil || len(other) != 0 {
			t.Errorf("of another protocol: %v %v", other, err)
		}
		must(t, have[0].Delete())
		if err := have[0].Delete(); !errors.Is(err, unix.ESRCH) {
			t.Errorf("removing %v again: %v", r.Destination, err)
		}
	}
}

func TestRule(t *testing.T) {
	kerneltest.Require(t)
	for _, r := range []rtnl.Rule{
		{Action: unix.FR_ACT_TO_TBL, Table: 1000, Destination: netip.MustParsePrefix("2001:db8::/32")},
		{Action: unix.FR_ACT_TO_TBL, Table: 1000, Mark: 0x20000000, Mask: 0x60000000},
		{Action: unix.FR_ACT_GOTO, Goto: 32766, Ifname: "rt0"},
		{Action: unix.FR_ACT_PROHIBIT, Ifname: "rt0"},
		{Action: unix.FR_ACT_NOP},
	} {
		r.Family, r.Priority, r.Protocol = unix.AF_INET6, 500, 99
		must(t, r.Add())
		if err := r.Add(); !errors.Is(err, unix.EEXIST) {
			t.Errorf("adding %+v again: %v", r, err)
		}
		rules, err := rtnl.Rules(unix.AF_INET6)
		must(t, err)
		if !slices.Contains(rules, r) {
			t.Fatalf("%+v is not in %+v", r, rules)
		}
		must(t, r.Delete())
		if err := r.Delete(); !errors.Is(err, unix.ENOENT) {
			t.Errorf("removing %+v again: %v", r, err)
		}
	}
}
