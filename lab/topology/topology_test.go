package topology_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/lab/examples"
	"globalnet/lab/medium"
	"globalnet/lab/topology"
)

func TestExamplesParse(t *testing.T) {
	want := map[string]int{"two": 2, "five": 5, "line10": 10, "grid25": 25, "grid50": 50}
	for _, name := range examples.Names() {
		text, err := examples.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		top, err := topology.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := want[name]; n != 0 && len(top.Routers()) != n {
			t.Errorf("%s has %d routers, want %d", name, len(top.Routers()), n)
		}
	}
	if !slices.Contains(examples.Names(), examples.Default) {
		t.Error("the default is no example")
	}
}

func TestParse(t *testing.T) {
	top, err := topology.Parse(`
		# two villages
		router a b r1..r3
		host probe            # no agent
		radio a b loss=10% delay=5ms jitter=1ms rate=6mbit
		radio a b loss=0.5 one-way
		radio r1..r3 a channel=6
		wire a r1
		segment hall a b r2
		uplink a
		uplink b r1 nat=symmetric
		peer b a
		client phone on b
		place a 10 -2.5
		range 100 loss=1%
		set * hello_interval 2
		set a passphrase two words
		set a hidden_service:web.port 80 127.0.0.1:8080
		seed 7`)
	if err != nil {
		t.Fatal(err)
	}
	if got := top.Routers(); !slices.Equal(got, []string{"a", "b", "r1", "r2", "r3"}) {
		t.Errorf("routers %v", got)
	}
	edge := func(from, to string, channel int) topology.Edge {
		i := slices.IndexFunc(top.Edges, func(e topology.Edge) bool { return e.From == from && e.To == to && e.Channel == channel })
		if i < 0 {
			t.Fatalf("no edge %s %s on %d", from, to, channel)
		}
		return top.Edges[i]
	}
	if q := edge("a", "b", 1).Quality; q != (medium.Quality{Loss: 0.5}) {
		t.Errorf("a→b is %+v: the later line should hold", q)
	}
	if q := edge("b", "a", 1).Quality; q != (medium.Quality{Loss: 0.1, Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Rate: 6e6}) {
		t.Errorf("b→a is %+v", q)
	}
	edge("r3", "a", 6)
	if got := top.Channels("a"); !slices.Equal(got, []int{1, 6}) {
		t.Errorf("channels of a: %v", got)
	}
	wantUplinks := []topology.Uplink{{Nodes: []string{"a"}}, {Nodes: []string{"b", "r1"}, NAT: topology.NATSymmetric}}
	if !reflect.DeepEqual(top.Uplinks, wantUplinks) {
		t.Errorf("uplinks %+v", top.Uplinks)
	}
	if n, _ := top.Node("a"); !n.Placed || n.X != 10 || n.Y != -2.5 {
		t.Errorf("a is %+v", n)
	}
	if n, _ := top.Node("phone"); n.Kind != topology.Client || n.Router != "b" {
		t.Errorf("phone is %+v", n)
	}
	if o := top.Options[1]; o != (topology.Option{Node: "a", Name: "passphrase", Value: "two words"}) {
		t.Errorf("option %+v", o)
	}
	if o := top.Options[2]; o != (topology.Option{Node: "a", Name: "hidden_service:web.port", Value: "80 127.0.0.1:8080"}) {
		t.Errorf("option %+v", o)
	}
	if top.Seed != 7 || top.Reach != 100 || top.ReachQuality.Loss != 0.01 {
		t.Errorf("seed %d, range %v %+v", top.Seed, top.Reach, top.ReachQuality)
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		text         string
		nodes, edges int // directed
		wires        int
	}{
		{"line 10", 10, 18, 0},
		{"ring 6", 6, 12, 0},
		{"ring 6 wire", 6, 0, 6},
		{"grid 5x5", 25, 80, 0},
		{"grid 2x3 wire", 6, 0, 7},
		{"grid 1x2", 2, 2, 0},
		{"router x\nline 2\nradio x r2", 3, 4, 0},
	} {
		top, err := topology.Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if len(top.Nodes) != c.nodes || len(top.Edges) != c.edges || len(top.Wires) != c.wires {
			t.Errorf("%q: %d nodes, %d edges, %d wires", c.text, len(top.Nodes), len(top.Edges), len(top.Wires))
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		line   int
		reason string
		text   string
	}{
		{1, "no node", ""},
		{2, "no node", "# nothing\n\n"},
		{1, "unknown statement", "rooter a"},
		{1, "which?", "router"},
		{2, "already", "router a\nrouter b a"},
		{1, "is no name", "router Ärger"},
		{1, "is no name", "router averylongname"},
		{1, "already", "router internet"},
		{2, `no node "c"`, "router a b\nradio a c"},
		{2, "at least 2", "router a b\nradio a"},
		{2, "hear itself", "router a b\nradio a a"},
		{2, "loss is", "router a b\nradio a b loss=130%"},
		{2, "loss is", "router a b\nradio a b loss=NaN"},
		{2, "no time", "router a b\nradio a b delay=5"},
		{2, "no time", "router a b\nradio a b delay=-1s"},
		{2, "no rate", "router a b\nradio a b rate=fast"},
		{2, "unknown property", "router a b\nradio a b power=3"},
		{2, "channel", "router a b\nradio a b channel=0"},
		{3, "already", "router a b\nwire a b\nwire b a"},
		{2, "twice", "router a b\nsegment x a b a"},
		{2, "already", "router a b\nsegment b a b"},
		{3, "already", "router a b\nsegment x a b\nrouter x"},
		{2, "nat is", "router a\nuplink a nat=full"},
		{3, "uplink already", "router a\nuplink a\nuplink a nat=cone"},
		{2, "no public address", "router a b\npeer a b"},
		{1, "client phone laptop on a", "client phone"},
		{1, "range such as", "router r5..r1"},
		{1, "range such as", "router r1..r100000000"},
		{1, "how many", "ring 2"},
		{1, "how large", "grid 1000x1000"},
		{1, "how large", "grid 5"},
		{2, "quotes", "router a\nset a network it's"},
		{2, "e.g. set", "router a\nset a hidden_service:.port 80"},
		{3, "no router", "router a\nhost h\nset h network x"},
		{2, "no number", "router a\nplace a here there"},
		{2, "range", "router a\nrange 0"},
		{1, "no number", "seed -1"},
	} {
		_, err := topology.Parse(c.text)
		var e *topology.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, want an error with a line", c.text, err)
			continue
		}
		if e.Line != c.line || !strings.Contains(e.Reason, c.reason) {
			t.Errorf("%q: %v, want line %d and %q", c.text, err, c.line, c.reason)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range examples.Names() {
		text, err := examples.Read(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("router a b r1..r3\nhost h\nradio a b loss=1e-9 delay=1ns one-way channel=9\nsegment s a h\nset * x y  z\nuplink a r1 nat=cone")
	f.Add("router a\nplace a 1e9 -0\nrange 1e-300 rate=1gbit\nclient c on a\nuplink a\nseed 18446744073709551615")
	f.Fuzz(func(t *testing.T, text string) {
		top, err := topology.Parse(text)
		if err != nil {
			var e *topology.Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		if len(top.Nodes) > topology.MaxNodes || len(top.Edges) > topology.MaxEdges || len(top.Wires) > topology.MaxWires {
			t.Fatal("more than the bounds allow")
		}
		again, err := topology.Parse(top.String())
		if err != nil {
			t.Fatalf("own text is refused: %v\n%s", err, top)
		}
		if !reflect.DeepEqual(top, again) {
			t.Fatalf("own text reads differently:\n%s\n%s", top, again)
		}
	})
}
