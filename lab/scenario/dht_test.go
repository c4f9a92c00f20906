package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

// table is the client of a router's agent.
func dhtClient(l *lab.Lab, name string) *control.Client {
	return control.NewClient(l.Node(name).Socket())
}

func names(l *lab.Lab) (list []string) {
	for _, n := range l.Routers() {
		list = append(list, n.Name)
	}
	return list
}

// record is what one router finds of another; the zero record on any error.
func record(t *testing.T, l *lab.Lab, from, of, name string) control.DHTRecord {
	t.Helper()
	id, err := l.Node(of).ID()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	r, err := dhtClient(l, from).DHTGet(ctx, id, name, false)
	if err != nil {
		t.Logf("%s asks for %q of %s: %v", from, name, of, err)
	}
	return r
}

// reads waits until routers find a value that one of them has published.
func reads(t *testing.T, l *lab.Lab, from []string, of, name, value string) {
	t.Helper()
	for _, f := range from {
		eventually(t, fmt.Sprintf("%s reads %q of %s", f, value, of), func() bool {
			return string(record(t, l, f, of, name).Value) == value
		})
	}
}

// nodeRecords waits until the node records of all are found from all.
func nodeRecords(t *testing.T, l *lab.Lab, from, of []string) {
	t.Helper()
	for _, f := range from {
		for _, o := range of {
			addr, err := l.Node(o).Address()
			must(t, err)
			eventually(t, fmt.Sprintf("%s finds the node record of %s", f, o), func() bool {
				r := record(t, l, f, o, "").NodeRecord
				return r != nil && slices.Contains(r.Addresses, addr)
			})
		}
	}
}

func publish(t *testing.T, l *lab.Lab, from, name, value string) control.DHTStored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	s, err := dhtClient(l, from).DHTPut(ctx, name, []byte(value))
	must(t, err)
	return s
}

// a ~ b ~ c ~ d ~ e: all node records from everywhere, by the real commands; the
// newest value wins
func TestTableOnALine(t *testing.T) {
	l := start(t, "line 5")
	allReach(t, l)
	all := names(l)
	nodeRecords(t, l, all, all)
	if s := publish(t, l, "r1", "greeting", "hello"); s.Stored != 5 || s.Of != 5 {
		t.Errorf("stored on %d of %d, want all 5", s.Stored, s.Of)
	}
	reads(t, l, all, "r1", "greeting", "hello")
	publish(t, l, "r1", "greeting", "hello again")
	for _, name := range all {
		if r := record(t, l, name, "r1", "greeting"); string(r.Value) != "hello again" {
			t.Errorf("%s reads %q of version %d", name, r.Value, r.Seq)
		}
	}
	if r := record(t, l, "r2", "r1", "nothing"); r.Found {
		t.Errorf("found what nobody published: %+v", r)
	}
	id, err := l.Node("r1").ID()
	must(t, err)
	out := command(t, l, "r5", "dht", "get", id.String(), "greeting", "--path")
	if !strings.HasPrefix(out, "hello again\n\n") || !strings.Contains(out, "OUTCOME") {
		t.Errorf("dht get prints\n%s", out)
	}
	out = command(t, l, "r5", "dht", "lookup", id.String())
	if first, _, _ := strings.Cut(out, "\n"); first != id.Address().String() {
		t.Errorf("the closest to r1 should be r1 itself:\n%s", out)
	}
	var s control.DHTStatus
	must(t, json.Unmarshal([]byte(command(t, l, "r3", "dht", "status", "--json")), &s))
	if s.Mode != "full" || s.Nodes != 5 || s.Records == 0 || s.Counters["dht_packets_received"] == 0 {
		t.Errorf("status %+v", s)
	}
	if c := status(t, l, "r3").Counters; c["dht_packets_sent"] == 0 {
		t.Error("the status has no counters of the hash table")
	}
}

// command runs the tool of the router's binary against its agent.
func command(t *testing.T, l *lab.Lab, name string, args ...string) string {
	t.Helper()
	n := l.Node(name)
	cmd := exec.CommandContext(t.Context(), labtest.Agent(t)[0], append(args, "--socket", n.Socket())...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args, err, out)
	}
	return string(out)
}

// 9 routers in a grid, a third of them killed at once
func TestTableLosesAThird(t *testing.T) {
	l := start(t, "grid 3x3")
	allReach(t, l)
	all := names(l)
	nodeRecords(t, l, all, all)
	for _, name := range all {
		publish(t, l, name, "greeting", "from "+name)
	}
	// The middle row stays, so that the rest is one network.
	dead := []string{"r1", "r3", "r8"}
	for _, name := range dead {
		must(t, l.Node(name).Kill())
	}
	alive := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(dead, n) })
	for _, of := range all {
		reads(t, l, alive, of, "greeting", "from "+of)
	}
	// They return, with their stores empty and the same names.
	for _, name := range dead {
		must(t, l.Node(name).Restart())
	}
	allReach(t, l)
	nodeRecords(t, l, dead, all)
	for _, of := range all {
		reads(t, l, dead, of, "greeting", "from "+of)
	}
}

// r1 ~ r2 ~ r3 ~ r4, cut in the middle; r1 publishes anew meanwhile
func TestTableAfterAPartition(t *testing.T) {
	l := start(t, "line 4")
	allReach(t, l)
	publish(t, l, "r1", "greeting", "old")
	reads(t, l, names(l), "r1", "greeting", "old")
	left, right := []string{"r1", "r2"}, []string{"r3", "r4"}
	must(t, l.Partition(left, right))
	eventually(t, "the sides lose each other", func() bool {
		return metric(t, l, "r1", "r4") == 0 && metric(t, l, "r4", "r1") == 0 && metric(t, l, "r3", "r1") == 0
	})
	publish(t, l, "r1", "greeting", "new")
	reads(t, l, left, "r1", "greeting", "new")
	reads(t, l, right, "r1", "greeting", "old")
	must(t, l.HealAll())
	healed := time.Now()
	reads(t, l, right, "r1", "greeting", "new")
	t.Logf("fresh on the other side %v after the cut was healed", time.Since(healed).Round(100*time.Millisecond))
}

// a ~ b ~ c ~ d: b sleeps while a publishes anew, wakes, and does not spread what it
// remembers
func TestTableStaleReturner(t *testing.T) {
	l := start(t, "router a b c d\nradio a b c d\nradio a c\nradio b d")
	allReach(t, l)
	publish(t, l, "a", "greeting", "old")
	reads(t, l, names(l), "a", "greeting", "old")
	must(t, l.Node("b").Suspend())
	eventually(t, "a notices that b sleeps", func() bool { return metric(t, l, "a", "b") == 0 })
	publish(t, l, "a", "greeting", "new")
	reads(t, l, []string{"a", "c", "d"}, "a", "greeting", "new")
	must(t, l.Node("b").Resume())
	allReach(t, l)
	for range 5 {
		for _, name := range []string{"a", "c", "d"} {
			if r := record(t, l, name, "a", "greeting"); string(r.Value) != "new" {
				t.Fatalf("%s reads %q again", name, r.Value)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	reads(t, l, []string{"b"}, "a", "greeting", "new")
}

// a ~ b ~ c ~ d: d asks and publishes, but holds nothing; e has no table
func TestTableClient(t *testing.T) {
	l := start(t, "router a b c d e\nradio a b c d e\nset d dht client\nset e dht off")
	allReach(t, l)
	publish(t, l, "a", "greeting", "hello")
	reads(t, l, []string{"d"}, "a", "greeting", "hello")
	if s := publish(t, l, "d", "greeting", "from a client"); s.Stored == 0 {
		t.Error("nobody holds the record of the client")
	}
	reads(t, l, []string{"a", "b", "c"}, "d", "greeting", "from a client")
	nodeRecords(t, l, []string{"a", "b", "c", "d"}, []string{"a", "b", "c", "d"})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	s, err := dhtClient(l, "d").DHTStatus(ctx)
	must(t, err)
	if s.Mode != "client" || s.Counters["dht_stores_accepted"] != 0 {
		t.Errorf("the client stores for others: %+v", s)
	}
	if _, err := dhtClient(l, "e").DHTStatus(ctx); err == nil {
		t.Error("a table that is off has a status")
	}
	// The publisher goes for good, as a client does; its record stays.
	must(t, unix.Kill(l.Node("d").Pid(), unix.SIGKILL))
	reads(t, l, []string{"a", "b", "c"}, "d", "greeting", "from a client")
}
