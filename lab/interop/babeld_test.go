package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv6"

	"globalnet/lab/labtest"
	"globalnet/mesh/babel"
	babelwire "globalnet/mesh/babel/wire"
)

// speaker drives the Babel core over a socket of a node.
type speaker struct {
	n     *node
	conn  *ipv6.PacketConn
	close func() error

	mu      sync.Mutex
	core    *babel.Speaker
	routes  map[netip.Prefix]babel.RouteSelected
	blocked bool // nothing goes in or out, and nobody is told
	refused []error
}

var ourPrefix = netip.MustParsePrefix("fd47:4e45:1:2:3:4:5:6/128")

func newSpeaker(t *testing.T, n *node) *speaker {
	t.Helper()
	s := &speaker{n: n, routes: make(map[netip.Prefix]babel.RouteSelected)}
	must(t, n.ns.Do(func() error {
		c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: babelwire.Port})
		if err != nil {
			return err
		}
		s.conn, s.close = ipv6.NewPacketConn(c), c.Close
		if err := s.conn.SetMulticastHopLimit(1); err != nil {
			return err
		}
		return s.conn.JoinGroup(&net.Interface{Index: n.index}, &net.UDPAddr{IP: babelwire.Group.AsSlice()})
	}))
	must(t, s.conn.SetControlMessage(ipv6.FlagInterface, true))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(s.receive)
	running.Go(func() { s.tick(ctx) })
	n.stop = sync.OnceFunc(func() { cancel(); s.close(); running.Wait() })
	t.Cleanup(n.stop)
	s.start(t)
	return s
}

// start begins with a fresh core, as after a restart of the process.
func (s *speaker) start(t *testing.T) {
	t.Helper()
	a := ourPrefix.Addr().As16()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core = babel.New(babel.Config{RouterID: babel.RouterID(a[8:]), Rand: rand.New(rand.NewPCG(rand.Uint64(), 1))})
	clear(s.routes)
	now := time.Now()
	s.core.Originate(now, ourPrefix, 0)
	s.core.Originate(now, netip.MustParsePrefix("10.47.0.1/32"), 0)
	must(t, s.core.AddInterface(now, babel.Interface{
		Name: "w0", Address: s.n.ll, MTU: 1500, HelloInterval: time.Second, UpdateInterval: 4 * time.Second, RTT: true,
	}))
	s.carryOut()
}

func (s *speaker) receive() {
	buf := make([]byte, 2000)
	for {
		n, _, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		a, _ := netip.AddrFromSlice(from.(*net.UDPAddr).IP)
		s.mu.Lock()
		if !s.blocked {
			if err := s.core.HandlePacket(time.Now(), "w0", a, buf[:n]); err != nil {
				s.refused = append(s.refused, err)
			}
			s.carryOut()
		}
		s.mu.Unlock()
	}
}

func (s *speaker) tick(ctx context.Context) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.mu.Lock()
			if next := s.core.NextTimeout(); !next.IsZero() && !now.Before(next) {
				s.core.HandleTimeout(now)
				s.carryOut()
			}
			s.mu.Unlock()
		}
	}
}

func (s *speaker) carryOut() {
	for {
		e, ok := s.core.NextEvent()
		if !ok {
			return
		}
		switch e := e.(type) {
		case babel.SendPacket:
			if !s.blocked {
				s.conn.WriteTo(e.Packet, &ipv6.ControlMessage{IfIndex: s.n.index, HopLimit: 1},
					&net.UDPAddr{IP: e.To.AsSlice(), Port: babelwire.Port})
			}
		case babel.RouteSelected:
			s.routes[e.Prefix] = e
		case babel.RouteRetracted:
			delete(s.routes, e.Prefix)
		}
	}
}

func (s *speaker) block(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = yes
}

func (s *speaker) route(p string) (r babel.RouteSelected, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok = s.routes[netip.MustParsePrefix(p)]
	return r, ok
}

// TestBabeld exchanges routes with babeld, cuts the link silently, heals it, restarts
// our side, and has tshark judge all packets.
//
//	a: our core ── wire ── b: babeld, capture
func TestBabeld(t *testing.T) {
	babeld, tshark := labtest.RequireProgram(t, "babeld"), labtest.RequireProgram(t, "tshark")
	socat := labtest.RequireProgram(t, "socat")
	w := newWire(t)
	dir := t.TempDir()
	const theirs, theirs4 = "fd47:4e45:b::b/128", "10.47.0.2/32"
	for _, a := range []string{theirs, theirs4} {
		w.b.until(t, "an address of b", "ip", "addr", "add", a, "dev", "lo")
	}
	capture := filepath.Join(dir, "babel.pcap")
	stopCapture := w.b.daemon(t, tshark, "-i", "w0", "-w", capture, "-F", "pcap", "-q", "udp port 6696")
	wait(t, "the capture to begin", func() bool { info, err := os.Stat(capture); return err == nil && info.Size() > 0 })
	logFile, socket := filepath.Join(dir, "log"), filepath.Join(dir, "socket")
	stopBabeld := w.b.daemon(t, babeld, "-I", filepath.Join(dir, "pid"), "-S", filepath.Join(dir, "state"),
		"-L", logFile, "-G", socket, "-C", "skip-kernel-setup true", "-C", "random-id true",
		"-C", "interface w0 type tunnel hello-interval 1 update-interval 4 enable-timestamps true",
		"-C", "redistribute local ip fd47:4e45::/32 eq 128 allow", "-C", "redistribute local ip 10.47.0.0/16 eq 32 allow",
		"-C", "redistribute local deny")
	dump := func() string {
		return w.b.output("sh", "-c", fmt.Sprintf("printf 'dump\\nquit\\n' | %s - UNIX:%s", socat, socket))
	}
	// has tells whether babeld has installed a route.
	has := func(prefix string) bool {
		for line := range strings.Lines(dump()) {
			if strings.HasPrefix(line, "add route") && strings.Contains(line, " prefix "+prefix+" ") &&
				strings.Contains(line, " installed yes ") && strings.Contains(line, " via "+w.a.ll.String()+" ") {
				return true
			}
		}
		return false
	}
	s := newSpeaker(t, w.a)
	both := func() bool {
		_, six := s.route(theirs)
		_, four := s.route(theirs4)
		return six && four && has(ourPrefix.String()) && has("10.47.0.1/32")
	}

	wait(t, "routes both ways", both)
	text := dump()
	t.Logf("babeld:\n%s", text)
	if !strings.Contains(text, " id 00:03:00:04:00:05:00:06 ") {
		t.Error("babeld has another router-id of ours")
	}
	if r, _ := s.route(theirs); r.NextHop != w.b.ll || r.Metric == 0 || r.Metric > 200 {
		t.Errorf("our route %+v", r)
	}
	if r, _ := s.route(theirs4); r.NextHop != netip.MustParseAddr("10.8.0.2") && r.NextHop != w.b.ll {
		t.Errorf("our IPv4 route %+v", r)
	}
	wait(t, "a round-trip time on both sides", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := s.core.Neighbours()
		return len(n) == 1 && n[0].RTT > 0 && n[0].RTT < 50*time.Millisecond && strings.Contains(dump(), " rtt ")
	})

	s.block(true)
	wait(t, "both sides to notice the cut", func() bool {
		_, ours := s.route(theirs)
		return !ours && !has(ourPrefix.String())
	})
	s.block(false)
	wait(t, "routes after the cut", both)

	s.start(t)
	wait(t, "routes after our restart", both)

	// babeld goes: it takes its routes back, and so do we.
	stopBabeld()
	wait(t, "our routes to go", func() bool {
		_, six := s.route(theirs)
		_, four := s.route(theirs4)
		return !six && !four
	})
	s.mu.Lock()
	c := s.core.Counters()
	if len(s.refused) > 0 || c["babel_tlvs_malformed"] > 0 {
		t.Errorf("refused from babeld: %v, %v", s.refused, c)
	}
	s.mu.Unlock()
	w.a.stop()
	time.Sleep(500 * time.Millisecond) // the capture writes behind
	stopCapture()

	said, err := os.ReadFile(logFile)
	must(t, err)
	for line := range strings.Lines(string(said)) {
		t.Logf("babeld's log: %s", line)
		for _, word := range []string{"eceived", "alformed", "truncated", "nknown", "unexpected", "rror"} {
			if strings.Contains(line, word) {
				t.Errorf("babeld complains: %s", line)
			}
		}
	}
	read := func(filter string) string { return w.b.output(tshark, "-r", capture, "-Y", filter) }
	own := "babel && ipv6.src == " + w.a.ll.String()
	if n := strings.Count(read(own), "\n"); n < 10 {
		t.Errorf("only %d packets of ours in the capture", n)
	}
	if faults := read("ipv6.src == " + w.a.ll.String() + " && (_ws.malformed || _ws.expert.severity >= \"Warning\" || !babel || ipv6.hlim != 1)"); faults != "" {
		t.Errorf("faults in our packets:\n%s", faults)
	}
	for kind, name := range map[int]string{2: "acknowledgment request", 4: "hello", 5: "IHU", 8: "update", 9: "route request"} {
		if read(fmt.Sprintf("%s && babel.message.type == %d", own, kind)) == "" {
			t.Errorf("no %s of ours in the capture", name)
		}
	}
}
