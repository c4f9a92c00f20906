// Package scenario holds the tests of whole neighbourhoods: real agents, real
// sockets, real kernel routes, in namespaces. The topology is drawn above each test.
package scenario

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// patience is how long a neighbourhood may take for anything. It is no
// measurement: benchmarks measure.
const patience = 3 * time.Minute

// start runs a neighbourhood and ends it with the test. The logs of a test that
// failed are printed.
func start(t *testing.T, text string) *lab.Lab {
	t.Helper()
	labtest.Require(t)
	top, err := topology.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	l := lab.New(top, lab.Options{
		Agent: labtest.Agent(t),
		Dir:   t.TempDir(),
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			printLogs(t, l)
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	must(t, l.WaitAgents(ctx))
	return l
}

func printLogs(t *testing.T, l *lab.Lab) {
	const most = 4000
	for _, n := range l.Routers() {
		b, _ := os.ReadFile(n.LogPath())
		t.Logf("log of %s:\n%s", n.Name, b[max(0, len(b)-most):])
	}
}

// allReach waits until every router reaches every other.
func allReach(t *testing.T, l *lab.Lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.WaitAllPairs(ctx); err != nil {
		t.Fatal(err)
	}
}

// reach waits until the named routers reach each other.
func reach(t *testing.T, l *lab.Lab, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.WaitPairs(ctx, names); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error of a change to the lab.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// status asks a router's agent.
func status(t *testing.T, l *lab.Lab, name string) lab.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := l.Node(name).Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// neighbour is the link of one router to another, if there is one.
func neighbour(t *testing.T, l *lab.Lab, from, to string) (lab.Neighbour, bool) {
	t.Helper()
	id, err := l.Node(to).ID()
	must(t, err)
	for _, n := range status(t, l, from).Neighbours {
		if n.Node == id {
			return n, true
		}
	}
	return lab.Neighbour{}, false
}

// metric is that of the selected route of one router to another; 0 if there is none.
func metric(t *testing.T, l *lab.Lab, from, to string) uint16 {
	t.Helper()
	addr, err := l.Node(to).Address()
	must(t, err)
	for _, r := range status(t, l, from).Routes {
		if r.Selected && r.Destination.Addr() == addr {
			return r.Metric
		}
	}
	return 0
}

// traces lists what of ours is in the kernel of a node.
func traces(t *testing.T, l *lab.Lab, name string) []string {
	t.Helper()
	h, err := l.Node(name).Namespace().Netlink()
	must(t, err)
	defer h.Close()
	var found []string
	links, err := h.LinkList()
	must(t, err)
	for _, k := range links {
		if strings.HasPrefix(k.Attrs().Name, "gn-") {
			found = append(found, "interface "+k.Attrs().Name)
		}
		addrs, err := h.AddrList(k, 10)
		must(t, err)
		for _, a := range addrs {
			if strings.HasPrefix(a.IP.String(), "fd47:4e45:") {
				found = append(found, "address "+a.String())
			}
		}
	}
	rules, err := h.RuleList(10)
	must(t, err)
	for _, r := range rules {
		if r.Table == table {
			found = append(found, "rule "+r.String())
		}
	}
	routes, err := h.RouteListFiltered(10, ourTable, tableFilter)
	must(t, err)
	for _, r := range routes {
		found = append(found, "route "+r.String())
	}
	return found
}
