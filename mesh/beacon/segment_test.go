package beacon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
	"globalnet/lab/netns"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// A segment is a bridge with ports, each the interface "w0" of a namespace.
type segment struct {
	t    testing.TB
	hub  *netns.Namespace
	h    *netlink.Handle
	idx  int
	size int
}

func newSegment(t testing.TB) *segment {
	t.Helper()
	s := &segment{t: t, hub: labtest.Namespace(t, "hub")}
	s.h = handle(t, s.hub)
	snooping := false
	s.idx = s.addUp(s.h, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}, MulticastSnooping: &snooping})
	return s
}

func handle(t testing.TB, ns *netns.Namespace) *netlink.Handle {
	t.Helper()
	h, err := ns.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func (s *segment) addUp(h *netlink.Handle, l netlink.Link) int {
	s.t.Helper()
	if err := h.LinkAdd(l); err != nil {
		s.t.Fatal(err)
	}
	up, err := h.LinkByName(l.Attrs().Name)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := h.LinkSetUp(up); err != nil {
		s.t.Fatal(err)
	}
	return up.Attrs().Index
}

// A station is a namespace on a segment; ifname is "w0".
type station struct {
	t     testing.TB
	ns    *netns.Namespace
	h     *netlink.Handle
	index int
	port  string     // its end at the bridge
	ll    netip.Addr // with zone
}

// plug connects the station to the bridge, or cuts it off.
func (s *segment) plug(st *station, in bool) {
	s.t.Helper()
	p, err := s.h.LinkByName(st.port)
	if err != nil {
		s.t.Fatal(err)
	}
	master := s.idx
	if !in {
		master = 0
	}
	if err := s.h.LinkSetMasterByIndex(p, master); err != nil {
		s.t.Fatal(err)
	}
}

// station adds a namespace. With ip4, the interface has that address too.
func (s *segment) station(ip4 string) *station {
	s.t.Helper()
	s.size++
	st := &station{t: s.t, ns: labtest.Namespace(s.t, fmt.Sprintf("n%d", s.size))}
	for _, name := range []string{"all", "default"} {
		if err := st.ns.Sysctl("net/ipv6/conf/"+name+"/accept_dad", "0"); err != nil {
			s.t.Fatal(err)
		}
	}
	st.h = handle(s.t, st.ns)
	st.port = fmt.Sprintf("p%d", s.size)
	s.addUp(s.h, &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: st.port, MasterIndex: s.idx},
		PeerName:      "w0",
		PeerNamespace: netlink.NsFd(st.ns.Fd()),
	})
	w0, err := st.h.LinkByName("w0")
	if err != nil {
		s.t.Fatal(err)
	}
	st.index = w0.Attrs().Index
	if ip4 != "" {
		addr, err := netlink.ParseAddr(ip4)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := st.h.AddrAdd(w0, addr); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := st.h.LinkSetUp(w0); err != nil {
		s.t.Fatal(err)
	}
	st.findLinkLocal()
	return st
}

// findLinkLocal waits for the kernel to give the interface its address.
func (st *station) findLinkLocal() {
	st.t.Helper()
	eventually(st.t, "a link-local address", func() bool {
		w0, err := st.h.LinkByName("w0")
		if err != nil {
			return false
		}
		addrs, err := st.h.AddrList(w0, netlink.FAMILY_V6)
		if err != nil {
			return false
		}
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				st.ll = ip.WithZone("w0")
				return true
			}
		}
		return false
	})
}

// seen collects sightings.
type seen struct {
	mu   sync.Mutex
	list []Sighting
	at   []time.Time
	ring chan struct{} // something was added
}

func (s *seen) add(x Sighting) {
	s.mu.Lock()
	s.list, s.at = append(s.list, x), append(s.at, time.Now())
	s.mu.Unlock()
	select {
	case s.ring <- struct{}{}:
	default:
	}
}

func (s *seen) find(match func(Sighting) bool) (Sighting, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		if match(x) {
			return x, true
		}
	}
	return Sighting{}, false
}

// wait waits for a sighting of tag.
func (s *seen) wait(t testing.TB, tag Tag) Sighting {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if x, ok := s.find(func(x Sighting) bool { return x.Tag == tag }); ok {
			return x
		}
		select {
		case <-s.ring:
		case <-deadline:
			t.Fatalf("no sighting of %v", tag)
		}
	}
}

// A running beacon in a station.
type running struct {
	*Beacon
	seen *seen
	stop func()
}

func (st *station) config(port uint16, key string, s *seen) Config {
	return Config{
		Ifname: "w0", Index: st.index, Tag: NewTag(), Port: port,
		NetworkKey: []byte(key), Log: slog.New(slog.DiscardHandler), Seen: s.add,
	}
}

func (st *station) run(port uint16, key string) *running {
	st.t.Helper()
	r := &running{seen: &seen{ring: make(chan struct{}, 1)}}
	r.Beacon = st.open(st.config(port, key, r.seen))
	r.start(st.t)
	return r
}

func (st *station) open(cfg Config) (b *Beacon) {
	st.t.Helper()
	if err := st.ns.Do(func() (err error) { b, err = Open(cfg); return err }); err != nil {
		st.t.Fatal(err)
	}
	return b
}

func (r *running) start(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(r.stop)
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// openPorts lists the UDP ports other than that of multicast DNS that are open in the namespace.
func openPorts(t testing.TB, st *station) (ports []uint16) {
	t.Helper()
	var text []byte
	err := st.ns.Do(func() error {
		for _, f := range []string{"udp", "udp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + f)
			if err != nil {
				return err
			}
			text = append(text, b...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		_, port, ok := strings.Cut(f[1], ":")
		if p, err := strconv.ParseUint(port, 16, 16); ok && err == nil && p != mdnsPort {
			ports = append(ports, uint16(p))
		}
	}
	return ports
}
