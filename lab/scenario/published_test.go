package scenario

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

// listed is what a router says that it publishes.
func listed(t *testing.T, l *lab.Lab, name string) (names []string) {
	t.Helper()
	var list []control.DHTPublished
	must(t, json.Unmarshal([]byte(command(t, l, name, "dht", "list", "--json")), &list))
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names
}

// r1 ~ r2 ~ r3: the whole neighbourhood loses power. What r1 published is there
// again without anybody doing anything, newer than before.
func TestValuesSurviveAPowerCut(t *testing.T) {
	l := start(t, "line 3")
	allReach(t, l)
	publish(t, l, "r1", "greeting", "hello")
	publish(t, l, "r1", "other", "more")
	reads(t, l, names(l), "r1", "greeting", "hello")
	before := record(t, l, "r3", "r1", "greeting").Seq
	for _, n := range names(l) {
		must(t, l.Node(n).Kill())
	}
	for _, n := range names(l) {
		must(t, l.Node(n).Restart())
	}
	allReach(t, l)
	reads(t, l, names(l), "r1", "greeting", "hello")
	reads(t, l, names(l), "r1", "other", "more")
	if after := record(t, l, "r3", "r1", "greeting").Seq; after <= before {
		t.Errorf("version %d after %d", after, before)
	}
	if got := listed(t, l, "r1"); !slices.Equal(got, []string{"greeting", "other"}) {
		t.Errorf("r1 says that it publishes %q", got)
	}
	if s := publish(t, l, "r1", "greeting", "hello again"); s.Stored != 3 {
		t.Errorf("stored on %d of %d", s.Stored, s.Of)
	}
	reads(t, l, names(l), "r1", "greeting", "hello again")
}

// r1 ~ r2 ~ r3 ~ r4: r4 is away while r1 withdraws, and comes back with the value;
// nobody is told the old one, and a restart of r1 changes nothing.
func TestWithdraw(t *testing.T) {
	l := start(t, "line 4")
	allReach(t, l)
	publish(t, l, "r1", "greeting", "hello")
	reads(t, l, names(l), "r1", "greeting", "hello")
	must(t, l.Node("r4").Suspend())
	eventually(t, "r3 notices that r4 is away", func() bool { return metric(t, l, "r3", "r4") == 0 })
	if out := command(t, l, "r1", "dht", "withdraw", "greeting"); !strings.HasPrefix(out, "withdrawn on ") {
		t.Errorf("dht withdraw prints %q", out)
	}
	if got := listed(t, l, "r1"); len(got) != 0 {
		t.Errorf("r1 says that it publishes %q", got)
	}
	gone := func(from ...string) {
		t.Helper()
		for _, f := range from {
			eventually(t, f+" sees that it is gone", func() bool {
				r := record(t, l, f, "r1", "greeting")
				return r.Withdrawn && !r.Found && len(r.Value) == 0
			})
		}
	}
	gone("r1", "r2", "r3")
	must(t, l.Node("r4").Resume())
	allReach(t, l)
	gone(names(l)...)
	must(t, l.Node("r1").Restart())
	allReach(t, l)
	gone(names(l)...)
	publish(t, l, "r1", "greeting", "back")
	reads(t, l, names(l), "r1", "greeting", "back")
}

// a ~ b ~ c: another program has the port of b. b routes all the same, says what is
// wrong, and takes part as soon as the port is free.
func TestTablePortIsTaken(t *testing.T) {
	labtest.Require(t)
	l := start(t, "line 3")
	allReach(t, l)
	b := l.Node("r2")
	must(t, b.Kill())
	var squatter net.PacketConn
	must(t, b.Namespace().Do(func() (err error) {
		squatter, err = net.ListenPacket("udp6", "[::]:18246")
		return err
	}))
	must(t, b.Restart())
	allReach(t, l) // through b
	eventually(t, "r2 says that its table does not run", func() bool {
		return strings.Contains(command(t, l, "r2", "dht", "status"), "does not run: UDP port 18246")
	})
	publish(t, l, "r1", "greeting", "hello")
	reads(t, l, []string{"r3"}, "r1", "greeting", "hello")
	squatter.Close()
	reads(t, l, []string{"r2"}, "r1", "greeting", "hello")
}
