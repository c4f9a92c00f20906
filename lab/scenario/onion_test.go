package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/onionlab"
	"globalnet/lab/topology"
)

// Six routers on one cable, two of them exits: enough for three hops.
//
//	a   b   c   d   e   f
//	+---+---+---+---+---+
//	                |   |
//	                internet
const hall = `router a b c d e f
segment hall a b c d e f
uplink e
uplink f
set e exit.policy all
set e exit.allow_private 203.0.113.0/24
set e exit.rule accept 203.0.113.0/24:*
set f exit.policy all
set f exit.allow_private 203.0.113.0/24
set f exit.rule accept 203.0.113.0/24:*
`

// The doors of the tests.
var (
	socksPort  = netip.MustParseAddrPort("127.0.0.1:18248")
	fileServer = netip.AddrPortFrom(lab.WebServer, 8080)
)

// startOnion starts a neighbourhood and waits until all know all relays and exits.
func startOnion(t *testing.T, text string, exits int) *lab.Lab {
	t.Helper()
	l := start(t, text)
	for _, name := range names(l) {
		knows(t, l, name, len(l.Routers())-1, exits)
	}
	var listener net.Listener
	must(t, l.Node(topology.Internet).Namespace().Do(func() (err error) {
		listener, err = net.Listen("tcp4", fileServer.String())
		return err
	}))
	t.Cleanup(onionlab.Serve(listener))
	return l
}

// knows waits until a router knows that many relays, and exits among them.
func knows(t *testing.T, l *lab.Lab, name string, relays, exits int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s knows %d relays, %d exits", name, relays, exits), func() bool {
		s := onionStatus(t, l, name)
		own := 0
		if s.Exit != "" {
			own = 1
		}
		return s.Relays == relays && s.Exits == exits-own
	})
}

func onionStatus(t *testing.T, l *lab.Lab, name string) control.OnionStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := dhtClient(l, name).Onion(ctx)
	must(t, err)
	return s
}

func circuits(t *testing.T, l *lab.Lab, name string) []control.Circuit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	list, err := dhtClient(l, name).Circuits(ctx)
	must(t, err)
	return list
}

// inUse are the circuits that new streams may take, and that have had some.
func inUse(t *testing.T, l *lab.Lab, name string) (list []control.Circuit) {
	t.Helper()
	for _, c := range circuits(t, l, name) {
		if c.Used && !c.Closing {
			list = append(list, c)
		}
	}
	return list
}

// through connects from a router through its proxy; who isolates.
func through(l *lab.Lab, from string, to netip.AddrPort, who string) (conn net.Conn, err error) {
	err = l.Node(from).Namespace().Do(func() error {
		conn, err = onionlab.Dial(socksPort, to, who)
		return err
	})
	return conn, err
}

// echo opens a stream to the file server that sends all back.
func echo(l *lab.Lab, from, who string) (net.Conn, error) {
	conn, err := through(l, from, fileServer, who)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := onionlab.Ask(conn, "GET", "/echo"); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// says sends a line to an echo and reads it back.
func says(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return err
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != "hello\n" {
		return fmt.Errorf("%q came back", b)
	}
	return nil
}

// echoes opens a stream that works, at the latest when all have heard of what changed.
func echoes(t *testing.T, l *lab.Lab, from, who string) (conn net.Conn) {
	t.Helper()
	eventually(t, "a stream works", func() bool {
		var err error
		if conn, err = echo(l, from, who); err != nil {
			return false
		}
		if err = says(conn); err != nil {
			conn.Close()
		}
		return err == nil
	})
	return conn
}

// reply is the code of SOCKS for a target; 0 is success.
func reply(l *lab.Lab, from, to string) (byte, error) {
	conn, err := through(l, from, netip.MustParseAddrPort(to), "reply")
	if refused := (*onionlab.Refused)(nil); errors.As(err, &refused) {
		return refused.Code, nil
	}
	if err != nil {
		return 0, err
	}
	return 0, conn.Close()
}

// curl runs curl on a router.
func curl(t *testing.T, l *lab.Lab, from string, args ...string) (string, error) {
	t.Helper()
	labtest.RequireProgram(t, "curl")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := l.Node(from).Exec(ctx, "curl", append([]string{"-sS", "--max-time", "20"}, args...)...)
	return strings.TrimSpace(string(out)), err
}

// edit changes a router's configuration and has the agent read it.
func edit(t *testing.T, l *lab.Lab, name string, change func(string) string) {
	t.Helper()
	path := l.Node(name).ConfigPath()
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(change(string(text))), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = dhtClient(l, name).Reload(ctx)
	must(t, err)
}

func TestOnion(t *testing.T) {
	l := startOnion(t, hall+"set a proxy.listen "+socksPort.String()+"\nset a proxy.wait 1\n", 2)
	exits := map[string]bool{}
	for _, name := range []string{"e", "f"} {
		addr, ok := l.PublicAddress(name)
		if !ok {
			t.Fatal(name + " has no public address")
		}
		exits[addr.String()] = true
	}
	for _, x := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"curl", func(t *testing.T) {
			for _, args := range [][]string{
				{"-x", "socks5h://" + socksPort.String(), "http://203.0.113.80/ip"},
				{"-x", "socks5h://" + socksPort.String(), "http://web.example/ip"}, // the exit asks its name server
				{"-x", "socks4a://" + socksPort.String(), "http://web.example/ip"},
				{"-x", "http://" + socksPort.String(), "http://web.example/ip"},
				{"-p", "-x", "http://" + socksPort.String(), "http://web.example/ip"},
			} {
				out, err := curl(t, l, "a", args...)
				if ip, _ := netip.ParseAddr(out); err != nil || !exits[out] && !ip.Is6() {
					t.Errorf("%s: the server saw %q, %v", args, out, err)
				}
			}
			for _, c := range inUse(t, l, "a") {
				if len(c.Path) != 3 {
					t.Errorf("a path of %d hops", len(c.Path))
				}
			}
		}},
		{"replies", func(t *testing.T) {
			for to, want := range map[string]byte{
				"203.0.113.80:80":   0,
				"203.0.113.80:8081": 5, // nobody listens
				"10.1.2.3:80":       2, // private
				"127.0.0.1:80":      2,
				"192.0.2.1:25":      2, // a port that no exit opens
			} {
				if got, err := reply(l, "a", to); err != nil || got != want {
					t.Errorf("%s: code %d, %v; want %d", to, got, err, want)
				}
			}
		}},
		{"circuits", func(t *testing.T) { onionCircuits(t, l) }},
		{"by hand", func(t *testing.T) { onionByHand(t, l) }},
		{"names over UDP", func(t *testing.T) { onionUDP(t, l) }},
		{"ssh", func(t *testing.T) { onionSSH(t, l) }},
		{"reload", func(t *testing.T) { onionReload(t, l) }},
		{"relay off", func(t *testing.T) { onionRelayOff(t, l) }},
		{"restart", func(t *testing.T) { onionRestart(t, l) }},
	} {
		if !t.Run(x.name, x.run) && testing.Verbose() {
			t.Logf("failed: %s", x.name)
		}
	}
}

// A new identity takes new circuits and leaves open streams alone; a circuit that is
// closed takes its streams with it.
func onionCircuits(t *testing.T, l *lab.Lab) {
	conn := echoes(t, l, "a", "circuits")
	defer conn.Close()
	before := inUse(t, l, "a")
	command(t, l, "a", "newnym")
	other := echoes(t, l, "a", "circuits")
	defer other.Close()
	after := inUse(t, l, "a")
	if len(after) != 1 || slices.ContainsFunc(before, func(c control.Circuit) bool { return c.ID == after[0].ID }) {
		t.Errorf("in use before newnym: %+v, after: %+v", before, after)
	}
	if err := says(conn); err != nil {
		t.Errorf("the old stream after newnym: %v", err)
	}
	if out := command(t, l, "a", "circuits"); !strings.Contains(out, fmt.Sprint(after[0].ID)) || !strings.Contains(out, after[0].Path[2].Short()) {
		t.Errorf("no circuit %+v in\n%s", after[0], out)
	}
	command(t, l, "a", "circuits", "close", fmt.Sprint(after[0].ID))
	other.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := other.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stream of a closed circuit: %v", err)
	}
	if err := says(conn); err != nil {
		t.Errorf("the stream of another circuit: %v", err)
	}
}

// byHand runs `globalnet tunnel` or `proxy` until the test ends, and returns what it prints.
func byHand(t *testing.T, l *lab.Lab, from, verb, path string) (stdout, stderr *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, labtest.Agent(t)[0], verb, path, "--socket", l.Node(from).Socket())
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	out, err := cmd.StdoutPipe()
	must(t, err)
	errs, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	return bufio.NewReader(out), bufio.NewReader(errs)
}

// The original syntax, with names of the owner's.
func onionByHand(t *testing.T, l *lab.Lab) {
	id := func(name string) identity.NodeID {
		id, err := l.Node(name).ID()
		must(t, err)
		return id
	}
	edit(t, l, "a", func(text string) string {
		for i, name := range []string{"b", "d", "f"} {
			text += fmt.Sprintf("\nconfig name 'peer%d'\n\toption node '%s'\n", i+1, id(name))
		}
		return text
	})
	out, _ := byHand(t, l, "a", "tunnel", "localhost:1000>peer1>peer3:4748>web.example:80")
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, "1000") {
		t.Fatalf("%q, %v", line, err)
	}
	if body, err := curl(t, l, "a", "http://localhost:1000/ip"); err != nil || body == "" {
		t.Errorf("through the tunnel came %q, %v", body, err)
	}
	conn := openTunnel(t, l, "1000")
	found := slices.ContainsFunc(circuits(t, l, "a"), func(c control.Circuit) bool {
		return slices.Equal(c.Path, []identity.NodeID{id("b"), id("f")}) && c.Purpose == "tunnel"
	})
	if !found {
		t.Errorf("no circuit over b and f in %+v", circuits(t, l, "a"))
	}
	conn.Close()

	out, _ = byHand(t, l, "a", "proxy", "8080>rand>rand>rand>internet")
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, "8080") {
		t.Fatalf("%q, %v", line, err)
	}
	if body, err := curl(t, l, "a", "-x", "socks5h://127.0.0.1:8080", "http://web.example/"); err != nil || !strings.Contains(body, "Hello from the internet") {
		t.Errorf("through the proxy by hand came %q, %v", body, err)
	}

	// Errors name the hop.
	_, errs := byHand(t, l, "a", "tunnel", "1001>peer1>nobody>web.example:80")
	if line, err := errs.ReadString('\n'); err != nil || !strings.Contains(line, "hop 2") || !strings.Contains(line, "nobody") {
		t.Errorf("a name that nobody has: %q, %v", line, err)
	}
	must(t, l.Node("d").Kill())
	out, errs = byHand(t, l, "a", "tunnel", "1002>peer1>peer2>peer3>web.example:80")
	if line, err := out.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	conn = openTunnel(t, l, "1002")
	defer conn.Close()
	if line, err := errs.ReadString('\n'); err != nil || !strings.Contains(line, "hop 2") || !strings.Contains(line, id("d").Short()) {
		t.Errorf("a hop that is dead: %q, %v", line, err)
	}
	must(t, l.Node("d").Restart())
}

func openTunnel(t *testing.T, l *lab.Lab, port string) (conn net.Conn) {
	t.Helper()
	must(t, l.Node("a").Namespace().Do(func() (err error) {
		conn, err = net.Dial("tcp4", "127.0.0.1:"+port)
		return err
	}))
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	conn.Read(make([]byte, 1)) // it is there, or has ended
	return conn
}
