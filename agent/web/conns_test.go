package web

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve serves p on a port of loopback.
func (p *page) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, l, Door{Hosts: []string{l.Addr().String()}, From: netip.Addr.IsLoopback}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func (p *page) openConns() int {
	p.conns.mu.Lock()
	defer p.conns.mu.Unlock()
	return len(p.conns.open)
}

// Whoever holds connections open, with half a request or with half a body, keeps nobody
// else out, and never has more than maxConns of them.
func TestManyConnections(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":        "",
		"half a header":  "GET /v1/session HTTP/1.1\r\nHost: ADDR\r\nX-a: b\r\n",
		"half a body":    "POST /v1/login HTTP/1.1\r\nHost: ADDR\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{",
		"a body of ones": "POST /v1/login HTTP/1.1\r\nHost: ADDR\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"no reading":     strings.Repeat("GET /static/style.css HTTP/1.1\r\nHost: ADDR\r\nAccept-Encoding: gzip\r\n\r\n", 8),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPage(t)
			addr := p.serve(t)
			for range 4 * maxConns {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				io.WriteString(c, strings.ReplaceAll(said, "ADDR", addr))
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
			for range 5 {
				r, err := client.Get("http://" + addr + "/v1/session")
				if err != nil {
					t.Fatal(err)
				}
				if r.Body.Close(); r.StatusCode != 200 {
					t.Errorf("answer %s", r.Status)
				}
			}
			if n := p.openConns(); n > maxConns {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

// A request that is being answered is not pushed out by connections that say nothing.
func TestAnswersAreFinished(t *testing.T) {
	var cs conns
	pipe := func() net.Conn {
		a, b := net.Pipe()
		t.Cleanup(func() { b.Close() })
		return a
	}
	now := time.Now()
	answering := cs.add(pipe(), now)
	answering.answering(true, now)
	idle := cs.add(pipe(), now.Add(time.Second))
	for i := range 2 * maxConns {
		cs.add(pipe(), now.Add(time.Duration(i+2)*time.Second))
	}
	if !cs.open[answering] || cs.open[idle] || len(cs.open) != maxConns {
		t.Errorf("answering %v, idle %v, %d open", cs.open[answering], cs.open[idle], len(cs.open))
	}
	for c := range cs.open {
		c.answering(true, now.Add(time.Hour))
	}
	answering.answering(true, now)
	cs.add(pipe(), now.Add(time.Hour))
	if cs.open[answering] || len(cs.open) != maxConns {
		t.Error("nothing gives way where all are being answered")
	}
	var closing sync.WaitGroup
	for c := range maps.Clone(cs.open) {
		closing.Go(func() { c.Close(); c.Close() })
	}
	closing.Wait()
	if len(cs.open) != 0 {
		t.Errorf("%d are left", len(cs.open))
	}
}

func TestLargeHeader(t *testing.T) {
	p := newPage(t)
	addr := p.serve(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nX-Long: %s\r\n\r\n", addr, strings.Repeat("x", 64<<10))
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 431") && len(b) > 0 {
		t.Errorf("%.60q", b)
	}
}
