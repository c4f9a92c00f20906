package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/chromium"
	"globalnet/lab"
	"globalnet/lab/peers"
)

// lanPageStreet is four routers: the phone's, the service's, and two between.
const lanPageStreet = `router a b c d
segment cable a b c d
client phone on a
set a lan.interface lan
set a lan.dns 1
set * exit.serve_port 80
set * exit.connections 8000
`

const (
	pageObjects = 50
	objectSize  = 4 << 10
	idleConns   = 1000
)

// lanHood runs lanPageStreet until all is known that is to be known.
func lanHood(ctx context.Context, e Env) (*trial, error) {
	t, err := newTrial(ctx, e, lanPageStreet, peers.GlobalNet{})
	if err != nil {
		return nil, err
	}
	if _, err := t.start(ctx); err != nil {
		t.stop()
		return nil, err
	}
	client := control.NewClient(t.lab.Node("a").Socket())
	for {
		s, err := client.Onion(ctx)
		if err == nil && s.Relays >= 3 {
			return t, nil
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			t.stop()
			return nil, err
		}
	}
}

// lanPage has a browser on the phone load a page of a hidden service. Each time the phone
// has another address: nothing is remembered of it, neither here nor there.
func lanPage(ctx context.Context, e Env) ([]Result, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	t, err := lanHood(ctx, e)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	folder, err := os.MkdirTemp("", "lanpage")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := writePage(folder); err != nil {
		return nil, err
	}
	host := control.NewClient(t.lab.Node("d").Socket())
	added, err := host.AddService(ctx, control.ServiceRequest{Name: "page", Ports: []control.ServicePort{{Port: 80, Target: folder}}})
	if err != nil {
		return nil, fmt.Errorf("adding the service: %w", err)
	}
	phone := t.lab.Node("phone")
	var loads []float64
	for i := range e.Times(10) + 1 {
		address := fmt.Sprintf("10.77.0.%d/24", 100+i)
		if _, err := phone.Exec(ctx, "sh", "-c", "ip -4 addr flush dev eth0; ip addr add "+address+" dev eth0; ip route replace default via 10.77.0.1"); err != nil {
			return nil, err
		}
		if err := wait(ctx, 3*time.Second); err != nil {
			return nil, err
		}
		took, err := browse(ctx, phone, program, "http://"+added.Address+"/", filepath.Join(folder, fmt.Sprintf(".profile%d", i)))
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", i, err)
		}
		if i == 0 {
			continue // the service has only just been published
		}
		e.Logf("  page %d: %.3f s (load average %s)", i, took, load())
		loads = append(loads, took)
	}
	return []Result{
		Less("lan, page of 50 objects of a hidden service in Chromium, cold, p50", quantile(loads, 0.5), "s", 1.5),
		Info("lan, page of 50 objects of a hidden service in Chromium, cold, slowest", quantile(loads, 1), "s", "less"),
	}, nil
}

// writePage writes a page whose title becomes the milliseconds from the navigation's
// start until everything on it had arrived.
func writePage(folder string) error {
	var page strings.Builder
	page.WriteString("<!doctype html><title>?</title><body onload=\"document.title = [...document.images].every(i => i.width == 7) ? performance.now() : 'broken'\">\n")
	filler := strings.Repeat("<!-- nothing -->", objectSize/16)
	for i := range pageObjects {
		name := fmt.Sprintf("%d.svg", i)
		fmt.Fprintf(&page, "<img src=%s>\n", name)
		text := "<svg xmlns='http://www.w3.org/2000/svg' width='7' height='7'><rect width='7' height='7'/>" + filler + "</svg>"
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "index.html"), []byte(page.String()), 0o644)
}

var pageTitle = regexp.MustCompile(`<title>([0-9.]+)</title>`)

// browse returns how long a page took a browser that has just been started, in seconds.
func browse(ctx context.Context, n *lab.Node, program, url, profile string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := os.Mkdir(profile, 0o755); err != nil {
		return 0, err
	}
	out, err := n.Exec(ctx, "env", append(chromium.Environment(profile), program, "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--user-data-dir="+profile, "--timeout=40000", "--dump-dom", url)...)
	if err != nil {
		return 0, err
	}
	m := pageTitle.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the browser shows something else: %.300s", out)
	}
	ms, err := strconv.ParseFloat(string(m[1]), 64)
	return ms / 1000, err
}

// lanMemory measures what connections cost on which nothing is said any more, each after
// one request and its answer.
func lanMemory(ctx context.Context, e Env) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var added []float64
	for range e.Times(3) {
		mib, err := lanMemoryOnce(ctx, e)
		if err != nil {
			return nil, err
		}
		e.Logf("  %.1f MiB (load average %s)", mib, load())
		added = append(added, mib)
	}
	return []Result{Less("lan, RSS added by 1000 idle proxied connections, median", quantile(added, 0.5), "MiB", 12)}, nil
}

func lanMemoryOnce(ctx context.Context, e Env) (float64, error) {
	t, err := lanHood(ctx, e)
	if err != nil {
		return 0, err
	}
	defer t.stop()
	// Of three sites: one has no room for so many.
	var names []string
	for _, router := range []string{"b", "c", "d"} {
		n := t.lab.Node(router)
		id, err := n.ID()
		if err != nil {
			return 0, err
		}
		names = append(names, id.String()+".gnet.alt")
		var l net.Listener
		err = n.Namespace().Do(func() (err error) {
			l, err = new(net.ListenConfig).Listen(ctx, "tcp6", netip.AddrPortFrom(id.Address(), 80).String())
			return err
		})
		if err != nil {
			return 0, err
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })}
		go s.Serve(l)
		defer s.Close()
	}
	h := &idlers{phone: t.lab.Node("phone"), names: names}
	defer h.close()
	if err := h.open(ctx, 100); err != nil {
		return 0, err
	}
	before, err := memoryOf(t.meshes[0].Pid("a"))
	if err != nil {
		return 0, err
	}
	if err := h.open(ctx, idleConns); err != nil {
		return 0, err
	}
	after, err := memoryOf(t.meshes[0].Pid("a"))
	return after.rss - before.rss, err
}

// idlers are connections from the phone to sites inside.
type idlers struct {
	phone *lab.Node
	names []string

	mu    sync.Mutex
	conns []net.Conn
}

func (h *idlers) close() {
	for _, c := range h.conns {
		c.Close()
	}
}

// open opens n more and asks for something on each.
func (h *idlers) open(ctx context.Context, n int) error {
	slots, failed := make(chan struct{}, 50), make(chan error, n)
	for i := range n {
		slots <- struct{}{}
		go func() {
			failed <- h.one(ctx, h.names[i%len(h.names)])
			<-slots
		}()
	}
	var errs []error
	for range n {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func (h *idlers) one(ctx context.Context, name string) error {
	var c net.Conn
	err := h.phone.Namespace().Do(func() error {
		var d net.Dialer
		// The resolver of this process asks the machine's servers, not the phone's.
		d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
			err = h.phone.Namespace().Do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, "10.77.0.1:53")
				return err
			})
			return c, err
		}}
		addrs, err := d.Resolver.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return err
		}
		c, err = d.DialContext(ctx, "tcp4", netip.AddrPortFrom(addrs[0], 80).String())
		return err
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: site\r\n\r\n"); err != nil {
		return err
	}
	b := make([]byte, 4096)
	for total := 0; total < 1000; {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if total == 0 && !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200") {
			return fmt.Errorf("the site answers %.80q", b[:n])
		}
		total += n
	}
	return nil
}
