package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/stream"
)

// udpServer answers each datagram with "re: " in front.
func (w *world) udpServer(port uint16) {
	w.t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.ports[port] = addrPort(pc.LocalAddr()).Port()
	w.hosts["site.test"] = netip.MustParseAddr("203.0.113.5")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 2048); ; {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(append([]byte("re: "), b[:n]...), from)
		}
	}()
	w.t.Cleanup(func() {
		pc.Close()
		<-done
	})
}

// newAssociation returns the connection of an association and a socket to use it.
func newAssociation(t testing.TB, addr string) (*net.TCPConn, *net.UDPConn) {
	t.Helper()
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	exchange(t, conn, "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01")
	b := make([]byte, 6)
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), uint16(b[4])<<8|uint16(b[5]))
	pc, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return conn, pc
}

func datagram(target cell.Target, text string) []byte {
	return append(appendDatagram(nil, target), text...)
}

// hear reads a datagram.
func hear(t testing.TB, pc *net.UDPConn) string {
	t.Helper()
	pc.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 4096)
	n, err := pc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// silent sees that nothing comes: what is sent before a question that is answered
// would have been answered first.
func silent(t testing.TB, pc *net.UDPConn, known cell.Target) {
	t.Helper()
	pc.Write(datagram(known, "sync"))
	if got, want := hear(t, pc), string(datagram(known, "re: sync")); got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestDatagrams(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	w.udpServer(54)
	s, addr := w.serve(Config{Name: "door"})
	conn, pc := newAssociation(t, addr)
	for _, target := range []cell.Target{{Name: "site.test", Port: 53}, {Addr: netip.MustParseAddr("203.0.113.5"), Port: 54}, {Addr: netip.MustParseAddr("2001:db8::5"), Port: 53}} {
		for i := range 3 {
			text := fmt.Sprint("question ", i)
			pc.Write(datagram(target, text))
			if got, want := hear(t, pc), string(datagram(target, "re: "+text)); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	long := strings.Repeat("x", cell.MaxMessage-4)
	target := cell.Target{Name: "site.test", Port: 53}
	pc.Write(datagram(target, long))
	if got := hear(t, pc); got != string(datagram(target, "re: "+long)) {
		t.Errorf("%d bytes came back", len(got))
	}
	asked := w.asked()
	want := dial{client.Isolation{Listener: "door", Client: netip.MustParseAddr("127.0.0.1")}, cell.Target{Network: cell.UDP, Name: "site.test", Port: 53}, "question 0"}
	if len(asked) != 3 || asked[0] != want {
		t.Errorf("asked %+v, want first %+v", asked, want)
	}
	if x := s.Stats(); x.Flows != 3 || x.DatagramsSent != 10 || x.DatagramsReceived != 10 || x.Associations != 1 {
		t.Errorf("%+v", x)
	}
	conn.Close()
	within(t, "the association to end with its connection", func() bool { return s.Stats().Associations == 0 && s.Stats().Open == 0 })
}

// The socket is where the client is: it has the family of the connection.
func TestAssociationOverIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	w := newWorld(t)
	w.udpServer(53)
	_, addr := w.serveOn(Config{}, l)
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	exchange(t, conn, "\x05\x03\x00\x04"+string(make([]byte, 18)), "\x05\x00\x00\x04"+string(netip.IPv6Loopback().AsSlice()))
	b := make([]byte, 2)
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	pc, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv6loopback, Port: int(b[0])<<8 | int(b[1])})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	silent(t, pc, cell.Target{Name: "site.test", Port: 53})
}

// A listener for both families sees IPv4 clients as such.
func TestBothFamilies(t *testing.T) {
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	w := newWorld(t)
	w.udpServer(53)
	_, addr := w.serveOn(Config{}, l)
	_, port, _ := net.SplitHostPort(addr)
	_, pc := newAssociation(t, "127.0.0.1:"+port)
	silent(t, pc, cell.Target{Name: "site.test", Port: 53})
	if got, want := w.asked()[0].who.Client, netip.MustParseAddr("127.0.0.1"); got != want {
		t.Errorf("client %v, want %v", got, want)
	}
}

func TestDatagramsThatAreDropped(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	s, addr := w.serve(Config{})
	_, pc := newAssociation(t, addr)
	known := cell.Target{Name: "site.test", Port: 53}
	silent(t, pc, known)
	good := datagram(known, "x")
	fragment, reserved := bytes.Clone(good), bytes.Clone(good)
	fragment[2], reserved[0] = 1, 1
	bad := [][]byte{fragment, reserved, good[:5], {}, datagram(cell.Target{Name: "site.test"}, "x"),
		datagram(cell.Target{Name: "a b", Port: 53}, "x"), datagram(known, strings.Repeat("x", cell.MaxMessage+1)), datagram(known, strings.Repeat("x", 5000))}
	for _, p := range bad {
		pc.Write(p)
	}
	silent(t, pc, known)
	stranger, err := net.DialUDP("udp", nil, pc.RemoteAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stranger.Write(good)
	within(t, "all to be counted", func() bool { return s.Stats().DatagramsDropped == uint64(len(bad)+1) })
	silent(t, pc, known)
	if got := len(w.asked()); got != 1 {
		t.Errorf("%d flows", got)
	}
}

func TestFlowsAreBounded(t *testing.T) {
	w := newWorld(t)
	for port := uint16(1); port <= 5; port++ {
		w.udpServer(port)
	}
	_, addr := w.serve(Config{MaxFlows: 3})
	_, pc := newAssociation(t, addr)
	for port := uint16(1); port <= 5; port++ {
		silent(t, pc, cell.Target{Name: "site.test", Port: port})
	}
	within(t, "the oldest to end", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := 0
		for _, c := range w.circuits {
			n += c.near.Streams()
		}
		return n == 3
	})
	silent(t, pc, cell.Target{Name: "site.test", Port: 5})
	if got := len(w.asked()); got != 5 {
		t.Errorf("%d flows", got)
	}
	silent(t, pc, cell.Target{Name: "site.test", Port: 1})
	if got := len(w.asked()); got != 6 {
		t.Errorf("%d flows: the first was kept", got)
	}
}

func TestIdleFlowsEnd(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	_, addr := w.serve(Config{FlowIdle: 50 * time.Millisecond})
	_, pc := newAssociation(t, addr)
	known := cell.Target{Name: "site.test", Port: 53}
	silent(t, pc, known)
	within(t, "the flow to end", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range w.circuits {
			return c.near.Streams() == 0
		}
		return false
	})
	silent(t, pc, known)
}

// A circuit that comes late finds the datagrams that waited for it.
func TestDatagramsWaitForTheirCircuit(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	hold := make(chan struct{})
	w.set(nil, hold)
	s, addr := w.serve(Config{})
	_, pc := newAssociation(t, addr)
	known := cell.Target{Name: "site.test", Port: 53}
	for i := range maxPending + 3 {
		pc.Write(datagram(known, fmt.Sprint(i)))
	}
	within(t, "what is too much to be dropped", func() bool { return s.Stats().DatagramsDropped == 2 })
	close(hold)
	for i := range maxPending + 1 {
		if got, want := hear(t, pc), string(datagram(known, fmt.Sprint("re: ", i))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A target that failed is not tried again at once.
func TestFlowThatFails(t *testing.T) {
	w := newWorld(t)
	w.ends["site.test"] = cell.EndPolicy
	s, addr := w.serve(Config{})
	_, pc := newAssociation(t, addr)
	for range 10 {
		pc.Write(datagram(cell.Target{Name: "site.test", Port: 53}, "x"))
		time.Sleep(5 * time.Millisecond)
	}
	within(t, "the failure to be counted", func() bool { return s.Stats().Failed[cell.EndPolicy] == 1 })
	if got := len(w.asked()); got != 1 {
		t.Errorf("dialled %d times", got)
	}
}

func TestAssociationsAreBounded(t *testing.T) {
	w := newWorld(t)
	s, addr := w.serve(Config{MaxAssociations: 1})
	first, _ := newAssociation(t, addr)
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	exchange(t, conn, "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x01\x00")
	first.Close()
	within(t, "room", func() bool { return s.Stats().Associations == 0 })
	newAssociation(t, addr)
}

// A client may tell its port beforehand; others then get nowhere.
func TestAssociationWithPort(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	s, addr := w.serve(Config{})
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	mine, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	port := addrPort(mine.LocalAddr()).Port()
	exchange(t, conn, "\x05\x03\x00\x01\x00\x00\x00\x00"+string([]byte{byte(port >> 8), byte(port)}), "\x05\x00\x00\x01\x7f\x00\x00\x01")
	b := make([]byte, 2)
	io.ReadFull(conn, b)
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(b[0])<<8 | int(b[1])}
	other, err := net.DialUDP("udp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	known := cell.Target{Name: "site.test", Port: 53}
	other.Write(datagram(known, "x"))
	within(t, "the other's to be dropped", func() bool { return s.Stats().DatagramsDropped == 1 })
	mine.WriteTo(datagram(known, "x"), to)
	if got := hear(t, mine); got != string(datagram(known, "re: x")) {
		t.Errorf("%q", got)
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	w.hosts["site.test"] = netip.MustParseAddr("203.0.113.5")
	s, addr := w.serve(Config{})
	v6 := netip.MustParseAddr("2001:db8::7")
	w.hosts["six.test"] = v6
	for _, tt := range []struct{ name, say, want string }{
		{"name", "\x05\xf0\x00" + string(appendSocksAddr(nil, cell.Target{Name: "site.test"})), granted[:3] + "\x01\xcb\x00\x71\x05\x00\x00"},
		{"address", "\x05\xf0\x00" + string(appendSocksAddr(nil, cell.Target{Addr: v6})), granted[:3] + string(appendSocksAddr(nil, cell.Target{Addr: v6}))},
		{"unknown", "\x05\xf0\x00" + string(appendSocksAddr(nil, cell.Target{Name: "none.test"})), "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"names of IPv4", "\x05\xf1\x00\x01\xcb\x00\x71\x05\x00\x00", granted[:3] + "\x03\x09site.test\x00\x00"},
		{"names of IPv6", "\x05\xf1\x00" + string(appendSocksAddr(nil, cell.Target{Addr: v6})), granted[:3] + "\x03\x08six.test\x00\x00"},
		{"no names", "\x05\xf1\x00\x01\xcb\x00\x71\x06\x00\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		conn := connectTo(t, addr)
		exchange(t, conn, "\x05\x01\x00", "\x05\x00")
		io.WriteString(conn, tt.say)
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	w.set(errors.Join(&stream.EndError{Reason: cell.EndTimeout}), nil)
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	exchange(t, conn, "\x05\xf0\x00\x03\x01x\x00\x00", "\x05\x06")
	if got := s.Stats().Questions; got != 7 {
		t.Errorf("counted %d", got)
	}
}

func TestReverseName(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.10":  "10.2.0.192.in-addr.arpa",
		"2001:db8::1": "1." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := reverseName(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
