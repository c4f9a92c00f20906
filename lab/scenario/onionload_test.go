package scenario

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/lab/onionlab"
	"globalnet/onion"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
)

// mostRSS is what a relay may take of a router's memory, however many use it, in MiB.
const mostRSS = 64

// Many streams, many circuits, and neighbours that mean ill; relays have small memory.
func TestOnionLoad(t *testing.T) {
	text := hall
	for _, name := range []string{"b", "c", "d", "e", "f"} {
		text += "set " + name + " memory small\n"
	}
	for _, exit := range []string{"e", "f"} { // unless it is another number than the default, little memory makes 512 of it
		text += "set " + exit + " exit.connections 2000\n"
	}
	l := startOnion(t, text, 2)
	for _, x := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"1000 streams of a circuit", func(t *testing.T) {
			streams := open(t, l, 1000, func(int) string { return "one" })
			if list := inUse(t, l, "a"); len(list) != 1 || list[0].Streams < 1000 {
				t.Errorf("circuits %+v", list)
			}
			for _, s := range streams {
				s.Close()
			}
			// The proxy has a bound on what one program has open, and both would be beyond it.
			eventually(t, "the streams have ended", func() bool {
				return !slices.ContainsFunc(circuits(t, l, "a"), func(c control.Circuit) bool { return c.Streams > 0 })
			})
		}},
		{"500 circuits", func(t *testing.T) {
			command(t, l, "a", "newnym")
			streams := open(t, l, 500, func(i int) string { return fmt.Sprint("many", i) })
			if n := len(inUse(t, l, "a")); n < 495 {
				t.Errorf("%d circuits", n)
			}
			for _, s := range streams {
				s.Close()
			}
		}},
		{"floods", func(t *testing.T) { floods(t, l) }},
	} {
		t.Run(x.name, x.run)
		for _, n := range l.Routers() {
			s := onionStatus(t, l, n.Name)
			if s.Memory.CellsKilled+s.Memory.BytesKilled > 0 {
				t.Errorf("after %s: %s killed circuits for want of memory: %+v", x.name, n.Name, s.Memory)
			}
			if rss := residentMiB(t, n.Pid()); n.Name != "a" && rss > mostRSS {
				t.Errorf("after %s: %s takes %d MiB", x.name, n.Name, rss)
			} else {
				t.Logf("after %s: %s takes %d MiB", x.name, n.Name, rss)
			}
		}
	}
}

// open opens n streams through a's proxy, 32 at a time, and uses each. 99 of 100 must work.
func open(t *testing.T, l *lab.Lab, n int, who func(int) string) (streams []net.Conn) {
	t.Helper()
	var mu sync.Mutex
	var failed error
	var next atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				conn, err := echo(l, "a", who(i))
				if err == nil {
					err = says(conn)
				}
				mu.Lock()
				if err == nil {
					streams = append(streams, conn)
				} else {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(streams)*100 < n*99 {
		t.Fatalf("%d of %d streams work: %v", len(streams), n, failed)
	}
	for _, s := range streams { // all are there at once
		if err := says(s); err != nil {
			t.Fatal(err)
		}
	}
	return streams
}

// residentMiB is a process's VmRSS (proc(5)).
func residentMiB(t *testing.T, pid int) (mib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	fmt.Sscan(after, &mib)
	return mib / 1024
}

// A neighbour asks the guard of a for circuits without end, with keys that fit nobody,
// and holds connections to it that say nothing; a program begins streams to where
// nobody listens. What others ask works.
func floods(t *testing.T, l *lab.Lab) {
	command(t, l, "a", "newnym")
	echoes(t, l, "a", "before").Close()
	guard := inUse(t, l, "a")[0].Path[0]
	from := "c"
	if id, err := l.Node(from).ID(); err == nil && id == guard {
		from = "d"
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	refused := createFlood(t, ctx, &running, l, from, guard)
	for range 200 {
		conn, err := dialFrom(ctx, l, from, guard)
		must(t, err)
		defer conn.Close()
	}
	began := beginFlood(ctx, &running, l, from)
	eventually(t, "the floods have begun", func() bool { return refused.Load() > 1000 && began.Load() > 500 })
	const n = 200
	failed := 0
	var last error
	for i := range n {
		conn, err := echo(l, "a", fmt.Sprint("flooded", i%20)) // some streams take a circuit that is there
		if err == nil {
			err = says(conn)
			conn.Close()
		}
		if err != nil {
			failed, last = failed+1, err
		}
	}
	t.Logf("%d of %d fail under %d requests for circuits and %d for streams: %v", failed, n, refused.Load(), began.Load(), last)
	if failed*100 > n {
		t.Errorf("%d of %d fail: %v", failed, n, last)
	}
}

// dialFrom connects a router to a relay's port of channels, as any program there can.
func dialFrom(ctx context.Context, l *lab.Lab, from string, to identity.NodeID) (conn net.Conn, err error) {
	err = l.Node(from).Namespace().Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp6", netip.AddrPortFrom(to.Address(), onion.ChannelPort).String())
		return err
	})
	return conn, err
}

// stranger is a channel of an identity that no mesh knows.
type stranger struct {
	lab  *lab.Lab
	from string
}

// DialNode implements channel.Underlay.
func (s stranger) DialNode(ctx context.Context, to identity.NodeID) (net.Conn, error) {
	return dialFrom(ctx, s.lab, s.from, to)
}

// asked is a circuit that was asked for.
type asked chan struct{}

func (a asked) HandleCreated([]byte)          { close(a) }
func (a asked) HandleDestroy(cell.Reason)     { close(a) }
func (a asked) HandleCell(cell.Flags, []byte) {}
func (a asked) HandleIdle()                   {}

// createFlood returns how many were answered, with a refusal.
func createFlood(t *testing.T, ctx context.Context, running *sync.WaitGroup, l *lab.Lab, from string, to identity.NodeID) *atomic.Int64 {
	t.Helper()
	id, err := identity.Generate()
	must(t, err)
	m := channel.NewManager(channel.Config{Identity: id}, stranger{l, from}, nil)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { // no loopback in the sandbox itself
		nobody, err = net.Listen("unix", t.TempDir()+"/x")
	}
	must(t, err)
	running.Go(func() { m.Run(ctx, nobody) })
	var answered atomic.Int64
	junk := make([]byte, 1200)
	junk[0] = cell.HandshakeHybrid
	for range 8 {
		running.Go(func() {
			for ctx.Err() == nil {
				ch, err := m.Channel(ctx, to)
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				a := make(asked)
				leg, err := ch.Open(a)
				if err != nil || leg.SendCreate(junk) != nil {
					continue
				}
				select {
				case <-a:
					answered.Add(1)
				case <-ch.Done():
				case <-ctx.Done():
				}
			}
		})
	}
	return &answered
}

// beginFlood returns how many streams were begun.
func beginFlood(ctx context.Context, running *sync.WaitGroup, l *lab.Lab, from string) *atomic.Int64 {
	var began atomic.Int64
	closed := netip.AddrPortFrom(lab.WebServer, 8081)
	for range 16 {
		running.Go(func() {
			l.Node(from).Namespace().Do(func() error {
				for ctx.Err() == nil {
					conn, err := onionlab.Dial(socksPort, closed, "flood")
					if err != nil {
						time.Sleep(time.Millisecond)
						continue
					}
					began.Add(1)
					io.Copy(io.Discard, conn)
					conn.Close()
				}
				return nil
			})
		})
	}
	return &began
}
