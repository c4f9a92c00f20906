package onion

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/client"
	"globalnet/onion/service"
)

// node returns the node of a network with that NodeID.
func (w *network) node(id identity.NodeID) *testNode {
	for _, n := range w.nodes {
		if n.id.NodeID() == id {
			return n
		}
	}
	w.t.Fatalf("no node %s", id.Short())
	return nil
}

// again greets a service until it answers, which must not take long.
func again(t *testing.T, visitor *testNode, id identity.NodeID, after string) {
	t.Helper()
	start := time.Now()
	var err error
	for time.Since(start) < 5*time.Second {
		if err = greet(visitor, id); err == nil {
			t.Logf("after %s a stream works within %v", after, time.Since(start).Round(time.Millisecond))
			return
		}
	}
	t.Fatalf("after %s no stream works: %v", after, err)
}

// Whatever dies, new streams work soon.
func TestServiceSurvives(t *testing.T) {
	w, _ := serviceNetwork(t, 12, nil)
	id := mustIdentity(t)
	host, visitor := w.nodes[0], w.nodes[1]
	c := w.echoService(id)
	c.Ports = append(c.Ports, port(1, w.source(1<<30)))
	host.SetServices([]service.Config{c})
	w.published(host)
	again(t, visitor, id.NodeID(), "publication")
	spare := func(n *testNode) bool { return n == host || n == visitor }

	// An introduction point.
	victim := w.node(host.Services()[0].Points[0])
	if spare(victim) {
		victim = w.node(host.Services()[0].Points[1])
	}
	victim.kill()
	visitor.Client().NewIdentity()
	again(t, visitor, id.NodeID(), "the end of an introduction point")
	w.wait("another introduction point", func() bool {
		points := host.Services()[0].Points
		return len(points) == 3 && !slices.Contains(points, victim.id.NodeID())
	})

	// The rendezvous point, and a relay of the service, in a transfer.
	for _, which := range []string{"the rendezvous point", "a relay of the service"} {
		s, err := visitor.visit(t, id.NodeID(), 1)
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte{1})
		if _, err := io.ReadFull(s, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		var path []identity.NodeID
		for _, c := range visitor.Client().Circuits() {
			if c.Purpose == client.Service && c.Streams > 0 {
				path = c.Path
			}
		}
		victim := w.node(path[len(path)-1])
		if which != "the rendezvous point" {
			for _, p := range circuitsFor(host) {
				if p[len(p)-1] == victim.id.NodeID() && len(p) == 4 {
					victim = w.node(p[1])
				}
			}
		}
		if spare(victim) {
			s.Close()
			continue // luck: another run has another one
		}
		victim.kill()
		s.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, s); err == nil {
			t.Errorf("after %s died the stream ended as if it were complete", which)
		}
		again(t, visitor, id.NodeID(), "the end of "+which)
		again(t, visitor, id.NodeID(), "the end of "+which)
	}
}

// A service that starts again with the same key is found again, by those too who know
// its old introduction points.
func TestServiceRestarts(t *testing.T) {
	w, _ := serviceNetwork(t, 10, nil)
	host, visitor := w.nodes[9], w.nodes[1]
	id := mustIdentity(t)
	c := w.echoService(id)
	host.SetServices([]service.Config{c})
	w.published(host)
	again(t, visitor, id.NodeID(), "publication")
	seconds := func() map[identity.NodeID]bool {
		set := make(map[identity.NodeID]bool)
		for _, path := range circuitsFor(host) {
			set[path[1]] = true
		}
		return set
	}
	before, state := seconds(), host.Save(time.Now())
	host.kill()
	w.nodes = w.nodes[:len(w.nodes)-1]
	host = w.start(host.id, relays(), func(c *Config) {
		c.Table, c.ServiceTable, c.State = visitor.cfg.Table, visitor.cfg.ServiceTable, state
	})
	w.meet()
	host.SetServices([]service.Config{c})
	w.published(host)
	again(t, visitor, id.NodeID(), "a restart")
	for node := range seconds() {
		before[node] = true
	}
	if len(before) > 4 {
		t.Errorf("%d second hops in two runs", len(before))
	}
}

// Two machines have one address; each of them is enough.
func TestServiceOnTwoMachines(t *testing.T) {
	w, _ := serviceNetwork(t, 8, nil)
	id := mustIdentity(t)
	heard := make(chan int, 100)
	for i, host := range w.nodes[:2] {
		l := w.listen()
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				heard <- i
				go func(conn net.Conn) {
					io.Copy(conn, conn)
					conn.Close()
				}(conn)
			}
		}()
		host.SetServices([]service.Config{{Name: "twice", Key: id, Ports: []service.Port{port(7, l)}}})
		w.published(host)
	}
	visitor := w.nodes[2]
	again(t, visitor, id.NodeID(), "publication")
	first := <-heard
	w.nodes[first].kill()
	visitor.Client().NewIdentity()
	again(t, visitor, id.NodeID(), "the end of one machine")
	if second := <-heard; second == first {
		t.Errorf("machine %d answers after its end", first)
	}
}

// A payload arrives whole, both ways at once.
func TestServiceCarries(t *testing.T) {
	w, _ := serviceNetwork(t, 6, nil)
	id := mustIdentity(t)
	w.nodes[0].SetServices([]service.Config{w.echoService(id)})
	w.published(w.nodes[0])
	s, err := w.nodes[1].visit(t, id.NodeID(), 7)
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 7)
	}
	go func() {
		s.Write(sent)
		s.CloseWrite()
	}()
	s.SetReadDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes: %v", len(got), len(sent), err)
	}
}
