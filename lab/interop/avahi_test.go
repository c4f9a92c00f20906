package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
	"globalnet/lab/netns"
	"globalnet/mesh/beacon"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const busConfig = `<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>`

const avahiConfig = `[server]
host-name=somebody
use-ipv4=yes
use-ipv6=yes
allow-interfaces=w0
disallow-other-stacks=no
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[publish]
publish-hinfo=no
publish-workstation=no
`

// Avahi sees our service, from another node and from its own, whose port it
// shares; and it answers as before.
//
//	a: beacon ── wire ── b: beacon, avahi, capture
func TestAvahiSeesTheService(t *testing.T) {
	for _, p := range []string{"dbus-daemon", "avahi-daemon", "avahi-browse", "avahi-resolve"} {
		labtest.RequireProgram(t, p)
	}
	w := newWire(t)
	a, seenByA := w.a.beacon(t, 18245)
	b, seenByB := w.b.beacon(t, 18300)
	dir := t.TempDir()
	w.b.until(t, "a directory", "mkdir", "-p", "/run/dbus")
	w.b.daemon(t, "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+file(t, dir, "bus.conf", busConfig))
	w.b.until(t, "the bus", "test", "-S", "/run/dbus/system_bus_socket")
	w.b.daemon(t, "avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "--file="+file(t, dir, "avahi.conf", avahiConfig))

	var out string
	wait(t, "avahi to resolve both services", func() bool {
		out = w.b.output("avahi-browse", "--parsable", "--resolve", "--terminate", "_globalnet._udp")
		return resolved(out, a) && resolved(out, b)
	})
	t.Logf("avahi-browse:\n%s", out)
	for _, line := range strings.Split(out, "\n") {
		f := strings.Split(line, ";")
		if len(f) < 10 || f[0] != "=" || f[3] != a.String() {
			continue
		}
		if f[4] != "_globalnet._udp" || f[5] != "local" || f[6] != a.String()+".local" || f[8] != "18245" {
			t.Errorf("avahi resolved %q", line)
		}
		if f[7] != "10.8.0.1" && f[7] != w.a.ll.String() { // either will do, whatever it asked over
			t.Errorf("avahi resolved the address %s", f[7])
		}
		for _, want := range []string{`"v=1"`, `"t=` + a.String() + `"`, `"n=`} {
			if !strings.Contains(f[9], want) {
				t.Errorf("avahi resolved the text %s, want %s in it", f[9], want)
			}
		}
	}
	wait(t, "the host's addresses", func() bool {
		return strings.Contains(w.b.output("avahi-resolve", "-6", "-n", a.String()+".local"), w.a.ll.String()) &&
			strings.Contains(w.b.output("avahi-resolve", "-4", "-n", a.String()+".local"), "10.8.0.1")
	})
	wait(t, "the service type", func() bool {
		return strings.Contains(w.b.output("avahi-browse", "--parsable", "--terminate", "--all", "--no-db-lookup"), "_globalnet._udp")
	})
	// We see each other beside avahi.
	wait(t, "the sightings", func() bool { return seenByA.has(b) && seenByB.has(a) })
	// When a stops, its goodbye takes the service from avahi's cache.
	w.a.stop()
	wait(t, "the service to go", func() bool {
		out = w.b.output("avahi-browse", "--parsable", "--resolve", "--terminate", "_globalnet._udp")
		return !strings.Contains(out, a.String()) && resolved(out, b)
	})
}

// tshark decodes all that the beacons send, and finds no fault.
func TestTsharkFindsNoFault(t *testing.T) {
	tshark := labtest.RequireProgram(t, "tshark")
	w := newWire(t)
	capture := filepath.Join(t.TempDir(), "beacons.pcap")
	stop := w.b.daemon(t, tshark, "-i", "w0", "-w", capture, "-F", "pcap", "-q", "udp port 5353")
	wait(t, "the capture to begin", func() bool { info, err := os.Stat(capture); return err == nil && info.Size() > 0 })
	a, seenByA := w.a.beacon(t, 18245)
	b, seenByB := w.b.beacon(t, 18300)
	wait(t, "the sightings", func() bool { return seenByA.has(b) && seenByB.has(a) })
	wait(t, "the repetitions", func() bool { return seenByA.count(b) >= 3 && seenByB.count(a) >= 3 })
	w.a.stop()
	w.b.stop()
	time.Sleep(500 * time.Millisecond) // the capture writes behind
	stop()

	read := func(filter string) string { return w.b.output(tshark, "-r", capture, "-Y", filter) }
	all := read("mdns")
	if n := strings.Count(all, "\n"); n < 8 {
		t.Fatalf("captured only %d packets:\n%s", n, all)
	}
	// tshark takes an announcement that is repeated for a retransmission; nothing else may be odd.
	if faults := read("_ws.malformed || _ws.expert.severity >= \"Error\" || !mdns || _ws.expert.severity >= \"Warning\" && !dns.retransmission"); faults != "" {
		t.Errorf("faults:\n%s\nin:\n%s", faults, all)
	}
	for filter, why := range map[string]string{
		"mdns && dns.flags.response == 0 && dns.qry.name == \"_globalnet._udp.local\" && dns.qry.type == 12":                             "a question",
		"mdns && dns.flags.response == 1 && dns.ptr.domain_name contains \"_globalnet._udp.local\" && dns.srv.port == 18245 && dns.aaaa": "an announcement",
		"mdns && dns.resp.ttl == 0": "a goodbye",
	} {
		if read(filter) == "" {
			t.Errorf("%s is not in the capture:\n%s", why, all)
		}
	}
	if odd := read("mdns && (ipv6.hlim != 255 || ip.ttl != 255 || udp.srcport != 5353 || udp.dstport != 5353 || dns.id != 0)"); odd != "" {
		t.Errorf("not as RFC 6762 section 11 and 18 have it:\n%s", odd)
	}
}

func resolved(out string, tag beacon.Tag) bool {
	six, four := false, false
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "=;w0;") && strings.Contains(line, tag.String()) {
			six = six || strings.Contains(line, ";IPv6;")
			four = four || strings.Contains(line, ";IPv4;")
		}
	}
	return six && four
}

// A wire joins the interfaces "w0" of two nodes.
type wire struct{ a, b *node }

type node struct {
	ns    *netns.Namespace
	index int
	ll    netip.Addr
	stop  func()
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{&node{ns: labtest.Namespace(t, "a")}, &node{ns: labtest.Namespace(t, "b")}}
	for _, n := range []*node{w.a, w.b} {
		for _, name := range []string{"all", "default"} {
			must(t, n.ns.Sysctl("net/ipv6/conf/"+name+"/accept_dad", "0"))
		}
	}
	h, err := w.a.ns.Netlink()
	must(t, err)
	defer h.Close()
	must(t, h.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "w0"}, PeerName: "w0", PeerNamespace: netlink.NsFd(w.b.ns.Fd()),
	}))
	w.a.up(t, "10.8.0.1/24")
	w.b.up(t, "10.8.0.2/24")
	for _, n := range []*node{w.a, w.b} {
		n.findLinkLocal(t)
	}
	return w
}

func (n *node) up(t *testing.T, ip4 string) {
	t.Helper()
	h, err := n.ns.Netlink()
	must(t, err)
	defer h.Close()
	l, err := h.LinkByName("w0")
	must(t, err)
	n.index = l.Attrs().Index
	addr, err := netlink.ParseAddr(ip4)
	must(t, err)
	must(t, h.AddrAdd(l, addr))
	must(t, h.LinkSetUp(l))
}

func (n *node) findLinkLocal(t *testing.T) {
	t.Helper()
	h, err := n.ns.Netlink()
	must(t, err)
	defer h.Close()
	wait(t, "a link-local address", func() bool {
		list, err := h.AddrList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: n.index}}, netlink.FAMILY_V6)
		for _, a := range list {
			if ip, _ := netip.AddrFromSlice(a.IP); err == nil && ip.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				n.ll = ip
				return true
			}
		}
		return false
	})
}

// seen counts sightings.
type seen struct {
	mu   sync.Mutex
	tags map[beacon.Tag]int
}

func (s *seen) add(x beacon.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[x.Tag]++
}

func (s *seen) count(t beacon.Tag) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags[t]
}

func (s *seen) has(t beacon.Tag) bool { return s.count(t) > 0 }

// beacon runs a beacon in the node; its end is stop.
func (n *node) beacon(t *testing.T, port uint16) (beacon.Tag, *seen) {
	t.Helper()
	s := &seen{tags: make(map[beacon.Tag]int)}
	cfg := beacon.Config{Ifname: "w0", Index: n.index, Tag: beacon.NewTag(), Port: port, NetworkKey: []byte("k"), Seen: s.add}
	var b *beacon.Beacon
	must(t, n.ns.Do(func() (err error) { b, err = beacon.Open(cfg); return err }))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	n.stop = func() { cancel(); <-done }
	t.Cleanup(n.stop)
	return cfg.Tag, s
}

// daemon starts a program in the node; it is ended with the test, or by stop.
func (n *node) daemon(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, n.ns.Start(cmd))
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &out)
		}
	})
	t.Cleanup(stop)
	return stop
}

// output runs a program in the node and returns what it writes to standard output.
func (n *node) output(name string, args ...string) string {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout = &out
	if err := n.ns.Start(cmd); err != nil {
		return fmt.Sprint(err)
	}
	cmd.Wait()
	return out.String()
}

func (n *node) until(t *testing.T, what, name string, args ...string) {
	t.Helper()
	wait(t, what, func() bool {
		cmd := exec.Command(name, args...)
		return n.ns.Start(cmd) == nil && cmd.Wait() == nil
	})
}

func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
