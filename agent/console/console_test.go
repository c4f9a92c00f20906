package console

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

type fake struct {
	control.Agent
	err   error
	onion control.Onion
}

func (f fake) Status(context.Context) (mesh.Status, error) {
	id := identity.NodeID{1}
	return mesh.Status{
		Node: id, Address: id.Address(), Network: "n\x1b[2J", Uptime: time.Minute,
		Neighbours: []mesh.Neighbour{{Node: id, State: "up", Class: "radio", Via: "wlan0", Cost: 96}, {Node: id, State: "failed"}},
		Routes:     []mesh.RouteStatus{{Destination: netip.PrefixFrom(id.Address(), 128), Selected: true}, {}},
		Counters:   map[string]uint64{"links_lost": 3},
	}, f.err
}

func (f fake) Reload(context.Context) (config.Diff, error) { panic("the console changes something") }
func (f fake) Onion() control.Onion                        { return f.onion }
func (f fake) Services() control.Services                  { return nil }

type fakeOnion struct{ control.Onion }

func (fakeOnion) Circuits() []control.Circuit {
	return []control.Circuit{{ID: 7, Purpose: "general", Path: []identity.NodeID{{1}, {2}}, Streams: 2}}
}
func (fakeOnion) Relays() []control.Relay { return []control.Relay{{Exit: "TCP 80\r\x1b"}} }

func TestAnswer(t *testing.T) {
	a := fake{onion: fakeOnion{}}
	for command, want := range map[string]string{
		"status":          "neighbours 1 of 2",
		"list peers":      "2 peers",
		"peers":           "radio via wlan0 cost 96",
		"list  routes":    "1 route\n",
		"list circuits":   "7 general path " + identity.NodeID{1}.String()[:8] + ">" + identity.NodeID{2}.String()[:8],
		"list relays":     "1 relay\n",
		"list services":   "error: the onion is switched off",
		"stats":           "links_lost 3",
		"help":            "list circuits",
		"list everything": "no such command",
		"":                "",
	} {
		got := Answer(t.Context(), a, strings.Fields(command))
		if !strings.Contains(got, want) || strings.ContainsAny(got, "\x1b\r") {
			t.Errorf("%q: %q, want %q in it", command, got, want)
		}
	}
	if got := Answer(t.Context(), fake{err: errors.New("stopping")}, []string{"stats"}); got != "error: stopping\n" {
		t.Errorf("an agent that stops: %q", got)
	}
}

func serve(t *testing.T) (dial func() net.Conn, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, fake{}, slog.New(slog.DiscardHandler)) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}, stop
}

// until reads up to the next prompt.
func until(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString('>')
	if err != nil {
		t.Fatalf("%v after %q", err, text)
	}
	return text
}

func TestServe(t *testing.T) {
	dial, stop := serve(t)
	conn := dial()
	r := bufio.NewReader(conn)
	until(t, r)
	for command, want := range map[string]string{"list peers\r\n": "2 peers", "\n": "", "stats\n": "links_lost 3"} {
		io.WriteString(conn, command)
		if got := until(t, r); !strings.Contains(got, want) {
			t.Errorf("%q: %q", command, got)
		}
	}
	idle := dial()
	stop()
	if _, err := io.ReadAll(idle); err != nil {
		t.Errorf("a connection is not closed when the console ends: %v", err)
	}
}

func TestRefused(t *testing.T) {
	dial, _ := serve(t)
	for _, bad := range []string{"quit\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nstats\n", strings.Repeat("x", maxLine+1)} {
		conn := dial()
		io.WriteString(conn, bad)
		text, _ := io.ReadAll(conn)
		if strings.Contains(string(text), "links_lost") {
			t.Errorf("%.20q is answered", bad)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	dial, _ := serve(t)
	for range maxConnections {
		until(t, bufio.NewReader(dial()))
	}
	if text, _ := io.ReadAll(dial()); len(text) > 0 {
		t.Errorf("one too many reads %q", text)
	}
}
