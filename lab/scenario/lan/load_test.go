package lan

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/lab/labtest"
)

// rss is what the agent of a router holds in memory, in KiB.
func rss(t *testing.T, n *lab.Node) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// Two thousand connections of one client at a time, all of which get their page.
func TestManyConnections(t *testing.T) {
	l := start(t, street+"set a lan.dns 1\nset b exit.serve_port 80\nset d exit.serve_port 80\nset * exit.connections 8000\n", false)
	phone, a := l.Node("phone"), l.Node("a")
	var addresses []string // of three sites: one has no room for so many
	for _, n := range []string{"b", "c", "d"} {
		name := site(t, l.Node(n))
		await(t, "the site", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
		addresses = append(addresses, run(t, phone, labtest.RequireProgram(t, "dig"), "+short", name))
	}

	var mu sync.Mutex
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	more := func(n int) {
		t.Helper()
		slots, failed := make(chan struct{}, 50), make(chan error, n)
		var running sync.WaitGroup
		for i := range n {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				var c net.Conn
				err := phone.Namespace().Do(func() (err error) {
					c, err = net.DialTimeout("tcp", addresses[i%3]+":80", patience)
					return err
				})
				if err == nil {
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
					c.SetDeadline(time.Now().Add(patience))
					fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: site\r\n\r\n")
					var r *http.Response
					if r, err = http.ReadResponse(bufio.NewReader(c), nil); err == nil && r.StatusCode != http.StatusOK {
						err = fmt.Errorf("status %s", r.Status)
					}
				}
				failed <- err
			})
		}
		running.Wait()
		for range n {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
	}
	more(100)
	before := rss(t, a)
	more(1000)
	added := rss(t, a) - before
	t.Logf("1000 idle connections add %.1f MiB to the agent's memory", float64(added)/1024)
	if added > 40<<10 {
		t.Errorf("%d KiB for 1000 idle connections", added)
	}
	more(900)
	s := status(t, a)
	if s.Streams != 2000 || len(s.Clients) != 1 || s.Clients[0].Streams != 2000 {
		t.Errorf("%d streams of %+v", s.Streams, s.Clients)
	}
}

// Clients that ask for much and read nothing hold nobody else up.
func TestSlowClients(t *testing.T) {
	l := start(t, street+"set a lan.dns 1\n", false)
	phone := l.Node("phone")
	name := site(t, l.Node("c"))
	await(t, "the site", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
	address := run(t, phone, labtest.RequireProgram(t, "dig"), "+short", name)
	before := rss(t, l.Node("a"))
	for range 40 {
		var c net.Conn
		must(t, phone.Namespace().Do(func() (err error) {
			c, err = net.DialTimeout("tcp", address+":80", patience)
			return err
		}))
		defer c.Close()
		must(t, c.(*net.TCPConn).SetReadBuffer(4096))
		fmt.Fprintf(c, "GET /50000000 HTTP/1.1\r\nHost: site\r\n\r\n")
	}
	for range 10 {
		if got := curl(t, phone, "http://"+name+"/"); !strings.Contains(got, "Fresh cheese") {
			t.Error("beside slow clients: " + got)
		}
	}
	// 2 GB were asked for.
	if added := rss(t, l.Node("a")) - before; added > 96<<10 {
		t.Errorf("slow clients took %d KiB of the router", added)
	}
	if open := status(t, l.Node("a")).Streams; open < 40 {
		t.Errorf("%d streams", open)
	}
}
