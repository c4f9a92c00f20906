package conntrack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// add puts a UDP flow into the kernel's table.
func add(t testing.TB, family netlink.InetFamily, src, dst string, port int) {
	t.Helper()
	from, to := netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()
	err := netlink.ConntrackCreate(netlink.ConntrackTable, family, &netlink.ConntrackFlow{
		FamilyType: uint8(family), TimeOut: 100,
		Forward: netlink.IPTuple{SrcIP: from, DstIP: to, SrcPort: uint16(port), DstPort: 53, Protocol: unix.IPPROTO_UDP},
		Reverse: netlink.IPTuple{SrcIP: to, DstIP: from, SrcPort: 53, DstPort: uint16(port), Protocol: unix.IPPROTO_UDP},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The kernel's own table: more flows than are removed at once, and others that stay.
func TestRemove(t *testing.T) {
	const many = 5*together + 3
	ns := labtest.Namespace(t, "router")
	err := ns.Do(func() error {
		for _, x := range []struct {
			family                  netlink.InetFamily
			client, router, outside string
			other                   netlink.InetFamily
		}{
			{unix.AF_INET, "192.168.1.20", "192.168.1.1", "203.0.113.1", unix.AF_INET6},
			{unix.AF_INET6, "fd00:77::20", "fd00:77::1", "2001:db8::1", unix.AF_INET},
		} {
			for port := range many {
				add(t, x.family, x.client, x.outside, 1000+port)
			}
			add(t, x.family, x.client, x.router, 1000)
			add(t, x.family, x.outside, x.client, 1000)
			asked := 0
			doomed := func(src, dst netip.Addr) bool {
				asked++
				return src == netip.MustParseAddr(x.client) && dst == netip.MustParseAddr(x.outside)
			}
			if err := Remove(int(x.other), doomed); err != nil {
				return err
			}
			asked = 0
			if err := Remove(int(x.family), doomed); err != nil {
				return err
			}
			if asked != many+2 {
				t.Errorf("asked of %d flows", asked)
			}
			left, err := netlink.ConntrackTableList(netlink.ConntrackTable, x.family)
			if err != nil {
				return err
			}
			for _, f := range left {
				if f.Forward.SrcIP.String() == x.client && f.Forward.DstIP.String() == x.outside {
					t.Errorf("still there: %v", f)
				}
			}
			if len(left) != 2 {
				t.Errorf("%d are left", len(left))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What ends while it is looked at, or has come in its place, is nobody's trouble.
func TestRemoveWhatHasEnded(t *testing.T) {
	ns := labtest.Namespace(t, "router")
	err := ns.Do(func() error {
		for port := range 3 * together {
			add(t, unix.AF_INET, "192.168.1.20", "203.0.113.1", 1000+port)
		}
		first := true
		err := Remove(unix.AF_INET, func(netip.Addr, netip.Addr) bool {
			if first {
				first = false
				if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
					t.Error(err)
				}
				for port := range 3 * together {
					add(t, unix.AF_INET, "192.168.1.20", "203.0.113.1", 1000+port)
				}
			}
			return true
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkRemove is 20,000 flows, by this package and by the library's own function.
func BenchmarkRemove(b *testing.B) {
	for name, remove := range map[string]func() error{
		"ours": func() error { return Remove(unix.AF_INET, func(netip.Addr, netip.Addr) bool { return true }) },
		"library": func() error {
			_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, all{})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			err := labtest.Namespace(b, "router").Do(func() error {
				for b.Loop() {
					b.StopTimer()
					for i := range 20000 {
						add(b, unix.AF_INET, "192.168.1.20", "203.0.113.1", 1000+i)
					}
					b.StartTimer()
					if err := remove(); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

type all struct{}

func (all) MatchConntrackFlow(*netlink.ConntrackFlow) bool { return true }

func TestParseMalformed(t *testing.T) {
	attribute := func(typ uint16, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
		return append(binary.NativeEndian.AppendUint16(b, typ), data...)
	}
	tuple := func(addresses ...[]byte) []byte {
		return append([]byte{unix.AF_INET, 0, 0, 0}, attribute(nl.CTA_TUPLE_ORIG, attribute(nl.CTA_TUPLE_IP, slices.Concat(addresses...)...)...)...)
	}
	src, dst := attribute(nl.CTA_IP_V4_SRC, 1, 2, 3, 4), attribute(nl.CTA_IP_V4_DST, 5, 6, 7, 8)
	whole := tuple(src, dst)
	if f, ok := parse(whole); !ok || f.src != netip.AddrFrom4([4]byte{1, 2, 3, 4}) || f.dst != netip.AddrFrom4([4]byte{5, 6, 7, 8}) || !slices.Equal(f.handle, whole) {
		t.Errorf("%x is %+v, %v", whole, f, ok)
	}
	for n := range whole {
		if f, ok := parse(whole[:n]); ok {
			t.Errorf("of %d bytes: %+v", n, f)
		}
	}
	for name, m := range map[string][]byte{
		"no destination":     tuple(src),
		"short address":      tuple(attribute(nl.CTA_IP_V4_SRC, 1, 2, 3), dst),
		"longer than it is":  append(whole[:4:4], 0xff, 0xff, 0, 0, 1),
		"shorter than it is": append(whole[:4:4], 0, 0, 0, 0),
	} {
		if f, ok := parse(m); ok {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
