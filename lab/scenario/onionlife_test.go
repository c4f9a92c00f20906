package scenario

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/lab/onionlab"
)

// An exit's rules change while it runs, and all hear of it.
func onionReload(t *testing.T, l *lab.Lab) {
	const closed = "\tlist rule 'reject 203.0.113.80:8080'\n"
	for _, name := range []string{"e", "f"} {
		edit(t, l, name, func(text string) string {
			return strings.Replace(text, "config exit 'exit'\n", "config exit 'exit'\n"+closed, 1)
		})
	}
	eventually(t, "the port is closed", func() bool {
		code, err := reply(l, "a", fileServer.String())
		return err == nil && code == 2
	})
	for _, name := range []string{"e", "f"} {
		edit(t, l, name, func(text string) string { return strings.Replace(text, closed, "", 1) })
	}
	eventually(t, "the port is open again", func() bool {
		code, err := reply(l, "a", fileServer.String())
		return err == nil && code == 0
	})
}

// A node that no longer relays is on no path, and still uses the onion.
func onionRelayOff(t *testing.T, l *lab.Lab) {
	edit(t, l, "c", func(text string) string { return text + "\nconfig onion 'onion'\n\toption relay '0'\n" })
	defer func() {
		edit(t, l, "c", func(text string) string { return strings.Replace(text, "option relay '0'", "option relay '1'", 1) })
		knows(t, l, "a", 5, 2)
	}()
	id, err := l.Node("c").ID()
	must(t, err)
	knows(t, l, "a", 4, 2)
	if s := onionStatus(t, l, "c"); s.Relay {
		t.Errorf("it says %+v", s)
	}
	command(t, l, "a", "newnym")
	for i := range 5 {
		defer echoes(t, l, "a", fmt.Sprintf("off%d", i)).Close()
	}
	for _, c := range inUse(t, l, "a") {
		if slices.Contains(c.Path, id) {
			t.Errorf("it is on the path of %+v", c)
		}
	}
	echoes(t, l, "c", "own").Close()
}

// A relay that starts again has other onion keys; who knew it learns them within
// seconds. The client's guards stay over its own restarts.
func onionRestart(t *testing.T, l *lab.Lab) {
	sequence := func(of identity.NodeID) uint64 {
		list, err := dhtClient(l, "a").Relays(t.Context())
		must(t, err)
		for _, r := range list {
			if r.Node == of {
				return r.Sequence
			}
		}
		return 0
	}
	used := func() (list []identity.NodeID) {
		for _, g := range onionStatus(t, l, "a").Guards {
			if g.Used {
				list = append(list, g.Node)
			}
		}
		return list
	}
	id, err := l.Node("b").ID()
	must(t, err)
	before := sequence(id)
	must(t, l.Node("b").Kill())
	must(t, l.Node("b").Restart())
	eventually(t, "the new descriptor is known", func() bool { return sequence(id) > before })
	_, errs := byHand(t, l, "a", "tunnel", "1003>"+id.String()+">rand>web.example:80")
	go io.Copy(io.Discard, errs)
	eventually(t, "a circuit through it is made with its new key", func() bool {
		body, err := curl(t, l, "a", "http://127.0.0.1:1003/")
		return err == nil && strings.Contains(body, "Hello")
	})

	guards := used()
	if len(guards) == 0 {
		t.Fatal("no guard has been used")
	}
	for range 2 {
		must(t, l.Node("a").Terminate(10*time.Second))
		must(t, l.Node("a").Restart())
		eventually(t, "the agent answers", func() bool {
			_, err := dhtClient(l, "a").Onion(t.Context())
			return err == nil
		})
		knows(t, l, "a", 5, 2)
		eventually(t, "the onion is there again", func() bool {
			code, err := reply(l, "a", fileServer.String())
			return err == nil && code == 0
		})
		if now := used(); !slices.Equal(now, guards) {
			t.Errorf("guards %v became %v", guards, now)
		}
	}
}

// transfer downloads from the file server without an end, until the stream ends. It
// tells when the first megabyte has come, and how the stream ended. Beside it another
// stream of the circuit speaks now and then: where nothing is under way to a relay that
// is gone, only the keep-alive of the channel notices, after up to half a minute.
func transfer(t *testing.T, l *lab.Lab, from string) (flows, ended chan error) {
	t.Helper()
	conn, err := through(l, from, fileServer, "transfer")
	must(t, err)
	conn.SetDeadline(time.Now().Add(patience))
	must(t, onionlab.Ask(conn, "GET", "/1000000000000"))
	flows, ended = make(chan error, 1), make(chan error, 1)
	beside := echoes(t, l, from, "transfer")
	go func() {
		defer beside.Close()
		for {
			if _, err := beside.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	go func() {
		defer conn.Close()
		_, err := io.CopyN(io.Discard, conn, 1<<20)
		flows <- err
		_, err = io.Copy(io.Discard, conn)
		ended <- err
	}()
	return flows, ended
}

// most is how long a stream may live on after a relay of it has gone.
const most = 10 * time.Second

// The middle relay of a transfer goes: the stream ends with an error within ten
// seconds, and the next one works.
func TestOnionRelayGoes(t *testing.T) {
	for _, x := range []struct {
		name string
		goes func(t *testing.T, l *lab.Lab, relay string)
	}{
		{"killed", func(t *testing.T, l *lab.Lab, relay string) { must(t, l.Node(relay).Kill()) }},
		// All frames vanish, nobody is told.
		{"silent", func(t *testing.T, l *lab.Lab, relay string) { must(t, l.Silent(relay, "hall")) }},
		// Its kernel still answers, so only the onion can notice.
		{"stopped", func(t *testing.T, l *lab.Lab, relay string) { must(t, l.Node(relay).Suspend()) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel() // they wait more than they do
			l := startOnion(t, hall, 2)
			flows, ended := transfer(t, l, "a")
			must(t, <-flows)
			var middle identity.NodeID
			for _, c := range inUse(t, l, "a") {
				if c.Streams > 0 && len(c.Path) == 3 {
					middle = c.Path[1]
				}
			}
			gone := ""
			for _, n := range l.Routers() {
				if id, err := n.ID(); err == nil && id == middle {
					gone = n.Name
				}
			}
			if gone == "" {
				t.Fatalf("no circuit of three hops in %+v", inUse(t, l, "a"))
			}
			began := time.Now()
			x.goes(t, l, gone)
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the stream ended as if all had come")
				}
				t.Logf("%s went; the stream ended after %v: %v", gone, time.Since(began), err)
			case <-time.After(most):
				t.Errorf("%s went, and the stream lives on after %v", gone, most)
			}
			began = time.Now()
			echoes(t, l, "a", "next").Close()
			t.Logf("the next stream worked %v later", time.Since(began))
			if x.name == "stopped" {
				must(t, l.Node(gone).Resume())
			}
		})
	}
}
