package lan

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

// tap looks at what a router sends, on every interface that leads away from the LAN, and
// keeps what is not its own. The list of what is its own is short: the uplink carries
// nothing at all of a router that is no exit.
type tap struct {
	file    *os.File
	done    chan struct{}
	ifnames map[int]string
	seen    atomic.Uint64

	mu    sync.Mutex
	leaks []string
}

func newTap(t *testing.T, n *lab.Node) *tap {
	t.Helper()
	c := &tap{done: make(chan struct{}), ifnames: map[int]string{}}
	must(t, n.Namespace().Do(func() error {
		all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		if err != nil {
			return err
		}
		c.file = os.NewFile(uintptr(fd), "tap")
		list, err := net.Interfaces()
		for _, i := range list {
			if i.Name == "wan" || strings.HasPrefix(i.Name, "radio") {
				c.ifnames[i.Index] = i.Name
			}
		}
		return err
	}))
	go c.run()
	t.Cleanup(func() {
		c.file.Close()
		<-c.done
	})
	return c
}

func (c *tap) run() {
	defer close(c.done)
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 256)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		if raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), b, 0)
			return failed != unix.EAGAIN
		}) != nil {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if failed != nil || !ok || ll.Pkttype != unix.PACKET_OUTGOING || c.ifnames[ll.Ifindex] == "" {
			continue
		}
		if c.seen.Add(1); !own(c.ifnames[ll.Ifindex], b[:n]) {
			c.mu.Lock()
			c.leaks = append(c.leaks, fmt.Sprintf("%v %s: %x", time.Now().Format("05.000"), c.ifnames[ll.Ifindex], b[:min(n, 110)]))
			c.mu.Unlock()
		}
	}
}

// take returns the leaks since the last call.
func (c *tap) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaks := c.leaks
	c.leaks = nil
	return leaks
}

// own reports whether a packet is the router's own business.
func own(ifname string, p []byte) bool {
	var proto byte
	var rest []byte
	var to netip.Addr
	switch {
	case len(p) >= 28 && p[0]>>4 == 4 && p[0] != 0x45:
		return false
	case len(p) >= 28 && p[0]>>4 == 4:
		proto, rest, to = p[9], p[20:], netip.AddrFrom4([4]byte(p[16:20]))
	case len(p) >= 48 && p[0]>>4 == 6:
		proto, rest, to = p[6], p[40:], netip.AddrFrom16([16]byte(p[24:40]))
	default:
		return true // ARP: no IP
	}
	if proto == 0 && len(rest) > 8 && to.IsMulticast() { // hop-by-hop before MLD
		return rest[0] == unix.IPPROTO_ICMPV6
	}
	if proto == unix.IPPROTO_ICMPV6 { // neighbour discovery, and errors, on the link
		return rest[0] >= 133 && rest[0] <= 136 || rest[0] == 143 || to.IsLinkLocalUnicast()
	}
	if ifname == "wan" {
		// A server that still answers a flow of before is refused by the router itself, as
		// any host would: that is no forwarded packet, and nothing of a client is in it.
		itself := p[0]>>4 == 4 && p[8] == 64 && !netip.MustParsePrefix("10.77.0.0/16").Contains(to)
		about := func() netip.Addr { return netip.AddrFrom4([4]byte(rest[8+16:])) } // whom the refused packet was for
		refusal := proto == unix.IPPROTO_TCP && len(p) == 40 && rest[13]&4 != 0 ||
			proto == unix.IPPROTO_ICMP && rest[0] == 3 && len(rest) >= 28 && about() == netip.MustParseAddr("198.51.100.6")
		return itself && refusal
	}
	from, at := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	ours := func(port uint16) bool { return port >= 18245 && port <= 18313 || port == 5353 }
	return (to.IsLinkLocalUnicast() || to.IsMulticast()) && (ours(from) || ours(at))
}

// noise is what the devices of a home send: to resolvers of their own, in old and new
// protocols, all the time, for the internet's servers at two addresses.
func noise(ctx context.Context, t *testing.T, n *lab.Node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01")
	each := func(f func()) {
		running.Go(func() {
			n.Namespace().Do(func() error {
				for ctx.Err() == nil {
					f()
					time.Sleep(15 * time.Millisecond)
				}
				return nil
			})
		})
	}
	for _, server := range []string{"203.0.113.80", "203.0.113.53", "2001:db8:ffff::80", "2001:db8:ffff::53"} {
		each(func() { // DNS, NTP, QUIC, LLMNR, mDNS, DoQ, STUN, whatever; and fragments
			for _, port := range []int{53, 123, 443, 5355, 5353, 853, 3478, 7} {
				if c, err := net.Dial("udp", net.JoinHostPort(server, fmt.Sprint(port))); err == nil {
					c.Write(query)
					c.Write(make([]byte, 3000))
					c.Close()
				}
			}
		})
		each(func() {
			for _, port := range []int{853, 22, 443, 80, 53} {
				d := net.Dialer{Timeout: 30 * time.Millisecond}
				if c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(server, fmt.Sprint(port))); err == nil {
					c.Write(query)
					c.Close()
				}
			}
		})
	}
	each(func() { // ICMP
		for _, s := range []struct{ network, to string }{{"ip4:icmp", "203.0.113.80"}, {"ip6:ipv6-icmp", "2001:db8:ffff::80"}, {"ip4:47", "203.0.113.80"}} {
			if c, err := net.Dial(s.network, s.to); err == nil {
				echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
				if s.network == "ip6:ipv6-icmp" {
					echo[0] = 128
				}
				c.Write(echo)
				c.Close()
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// Whatever happens to the agent, to the firewall, or to the links: in mode all nothing
// of a client leaves the router as it is.
func TestNothingLeavesInClear(t *testing.T) {
	nft := labtest.RequireProgram(t, "nft")
	ss := labtest.RequireProgram(t, "ss")
	// The program of the routers is a file of this test's, which an upgrade replaces.
	agent := filepath.Join(t.TempDir(), "globalnet")
	install := func(version string) {
		b, err := os.ReadFile(labtest.Agent(t)[0])
		must(t, err)
		must(t, os.WriteFile(agent+".new", append(b, version...), 0o755))
		must(t, os.Rename(agent+".new", agent))
	}
	install("1.0")
	l := startWith(t, street+"client tablet on a\n", true, append([]string{agent}, labtest.Agent(t)[1:]...))
	a, phone, tablet := l.Node("a"), l.Node("phone"), l.Node("tablet")
	must(t, l.StartAgents())
	ready(t, l)
	tap := newTap(t, a)
	run(t, tablet, "ip", "-4", "addr", "flush", "dev", "eth0") // it has IPv6 only

	// In mode names all of it leaves: the tap sees what there is to see.
	stop := noise(t.Context(), t, phone)
	defer func() { stop() }()
	stopTablet := noise(t.Context(), t, tablet)
	defer func() { stopTablet() }()
	await(t, "packets in clear", func() bool { return len(tap.take()) > 100 })
	// A flow that is there before goes on for as long as it may.
	var flow net.Conn
	must(t, phone.Namespace().Do(func() (err error) {
		flow, err = net.Dial("udp", "203.0.113.80:7777")
		return err
	}))
	defer flow.Close()
	var old net.Conn
	must(t, phone.Namespace().Do(func() (err error) {
		old, err = net.Dial("tcp", "203.0.113.80:80")
		return err
	}))
	defer old.Close()
	over := make(chan struct{})
	defer func() { <-over }()
	flowing, endFlow := context.WithCancel(t.Context())
	defer endFlow()
	go func() {
		defer close(over)
		for flowing.Err() == nil {
			flow.Write([]byte("hello"))
			old.Write([]byte("GET /ip HTTP/1.1\r\nHost: x\r\n\r\n"))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	setLAN(t, a, "mode all", "udp 1")
	tap.take() // until here it was allowed

	text, err := os.ReadFile(a.ConfigPath())
	must(t, err)
	// Restart writes the configuration of the topology; the agent is to keep this one.
	l.Topology.Options = append(l.Topology.Options,
		topology.Option{Node: "a", Name: "lan.mode", Value: "all"}, topology.Option{Node: "a", Name: "lan.udp", Value: "1"})
	restart := func() {
		must(t, a.Restart())
		await(t, "the agent to answer", func() bool {
			_, err := control.NewClient(a.Socket()).LAN(t.Context())
			return err == nil
		})
	}
	flush := func() { run(t, a, nft, "flush", "ruleset") }
	cut := func(x, y string) {
		must(t, l.Cut(x, y))
		time.Sleep(200 * time.Millisecond)
		must(t, l.Heal(x, y))
	}
	routes := func(verb string) {
		// What a DHCP server may give (option 121) to the router, and one in the LAN to its
		// clients: more special than any other, for the internet, names, and the LAN itself.
		for _, prefix := range []string{"0.0.0.0/1", "128.0.0.0/1", "203.0.113.0/24", "10.192.0.0/11", "10.77.0.8/29"} {
			run(t, a, "ip", "route", verb, prefix, "via", "198.51.100.5", "dev", "wan")
		}
		for _, prefix := range []string{"2000::/4", "fd67:6e65:7400::/65", "fd47:4e45::/33", "fd00:77::/65"} {
			run(t, a, "ip", "-6", "route", verb, prefix, "via", "2001:db8:0:2::1", "dev", "wan")
		}
		for _, prefix := range []string{"0.0.0.0/1", "203.0.113.0/24", "198.51.100.0/24"} {
			run(t, phone, "ip", "route", verb, prefix, "via", "10.77.0.1", "dev", "eth0")
		}
	}
	forward := func(value string) {
		must(t, a.Namespace().Sysctl("net/ipv4/ip_forward", value))
		must(t, a.Namespace().Sysctl("net/ipv6/conf/all/forwarding", value))
	}
	// What the system of a router does for its LAN.
	lanUp := func() {
		run(t, a, "ip", "link", "set", "lan", "up")
		run(t, a, "ip", "-6", "addr", "replace", "fd00:77::1/64", "dev", "lan", "nodad")
		for _, n := range []*lab.Node{phone, tablet} {
			run(t, n, "ip", "-6", "route", "replace", "default", "via", "fd00:77::1")
		}
	}
	// whole waits until clients answer again: one event after the other, not two at once.
	whole := func() {
		for _, address := range []string{"fd00:77::a", "fd00:77::b"} {
			await(t, "the LAN to work again", func() bool { return strings.Contains(run(t, a, "ping", "-c1", "-W1", address), " 0% packet loss") })
		}
	}
	events := []struct {
		name string
		do   func()
	}{
		{"reload", func() { reconfigure(t, a, func(string) string { return string(text) }) }},
		{"kill", func() { must(t, a.Kill()); time.Sleep(300 * time.Millisecond) }},
		{"flush while the agent is dead", flush},
		{"start after a kill", restart},
		{"stop and start", restart},
		{"flush", flush},
		{"table removed", func() { run(t, a, nft, "delete", "table", "inet", "globalnet") }},
		{"other firewall loaded", func() {
			run(t, a, "sh", "-c", "echo 'table inet fw4; flush table inet fw4; delete table inet fw4; table inet fw4 { chain forward { type filter hook forward priority filter; policy accept; }; }' | "+nft+" -f -")
		}},
		{"policy rules removed", func() {
			for _, family := range []string{"-4", "-6"} {
				for _, rule := range []string{"181", "182", "184", "185"} {
					run(t, a, "ip", family, "rule", "del", "priority", rule)
				}
			}
		}},
		{"uplink away and back", func() { cut("a", "internet") }},
		{"mesh away and back", func() { cut("a", "b") }},
		{"agent suspended", func() { must(t, a.Suspend()); time.Sleep(200 * time.Millisecond); must(t, a.Resume()) }},
		{"LAN interface down and up", func() {
			run(t, a, "ip", "link", "set", "lan", "down")
			time.Sleep(200 * time.Millisecond)
			lanUp()
			whole()
		}},
		{"options changed", func() { setLAN(t, a, "mode all"); setLAN(t, a, "mode all", "udp 1", "mesh 1") }},
		{"upgrade", func() {
			install("1.1")
			restart()
		}},
		{"upgrade of an agent that does not end", func() {
			must(t, a.Suspend())
			install("1.2")
			must(t, a.Kill())
			restart()
		}},
		{"routes of DHCP option 121", func() {
			routes("add")
			time.Sleep(time.Second)
			routes("del")
		}},
		{"reboot", func() {
			must(t, a.Kill())
			// Power off: nothing is left. The radio and the uplink stay, to be watched.
			run(t, a, "ip", "link", "set", "lan", "down")
			// The kernel goes on sending for a process that was killed: not without power.
			run(t, a, ss, "--kill", "--tcp", "--all")
			forward("0")
			flush()
			for _, family := range []string{"-4", "-6"} {
				run(t, a, "ip", family, "rule", "flush", "protocol", "72")
				run(t, a, "ip", family, "route", "flush", "proto", "72")
				run(t, a, "ip", family, "route", "flush", "table", "18321")
			}
			// Start, in the order of OpenWrt: init script 18, network, firewall, agent.
			run(t, a, agent, "lan", "guard", "--config", a.ConfigPath())
			lanUp()
			forward("1")
			run(t, a, nft, "add", "table", "inet", "fw4")
			time.Sleep(300 * time.Millisecond)
			restart()
			whole()
		}},
		{"guard without an agent", func() {
			must(t, a.Kill())
			run(t, a, agent, "lan", "guard", "--config", a.ConfigPath())
			restart()
		}},
	}
	rounds := 1 // make leak-test: 4, that is 76 events
	if n, err := strconv.Atoi(os.Getenv("LEAK_ROUNDS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		for _, e := range events {
			e.do()
			time.Sleep(400 * time.Millisecond)
			if leaks := tap.take(); len(leaks) > 0 {
				t.Errorf("round %d, %s: %d packets in clear, the first: %s", round, e.name, len(leaks), leaks[0])
			}
		}
	}
	// It was no silence: clients can still do what they may.
	ready(t, l)
	await(t, "the internet through the exit", func() bool { return curl(t, phone, "http://203.0.113.80/ip") == "198.51.100.2" })
	// The tablet, with IPv6 only, gets an address for a name that has none in IPv6.
	dig := labtest.RequireProgram(t, "dig")
	await(t, "the internet for a client with IPv6 only", func() bool {
		address := run(t, tablet, dig, "+short", "+time=5", "@fd00:77::1", "AAAA", "www.example")
		return strings.HasPrefix(address, "fd67:") && curl(t, tablet, "-6", "--resolve", "www.example:80:["+address+"]", "http://www.example/ip") == "198.51.100.2"
	})
	if s := status(t, a); s.Restored == 0 && s.Blocked["icmp"] == 0 {
		t.Errorf("nothing was refused: %+v", s)
	}
	if leaks := tap.take(); len(leaks) > 0 {
		t.Errorf("%d packets in clear at the end: %s", len(leaks), leaks[0])
	}
	endFlow()
}
