package path

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
)

var peerBook = map[string]identity.NodeID{"peer1": id(1), "peer2": id(2), "Anna's": id(3), "home": id(4), "again": id(1)}

func lookup(name string) (identity.NodeID, bool) {
	n, ok := peerBook[name]
	return n, ok
}

func TestParse(t *testing.T) {
	node := id(7).String()
	for text, want := range map[string]Spec{
		"localhost:1000>peer1>peer2:4748>google.com:80": {"localhost:1000",
			[]Hop{{Name: "peer1"}, {Name: "peer2", Port: 4748}}, Host{Name: "google.com", Port: 80}},
		"8080>rand>rand>rand>internet":          {"127.0.0.1:8080", []Hop{{}, {}, {}}, Host{}},
		" 8080 > RAND >\tpeer1 > Internet ":     {"127.0.0.1:8080", []Hop{{}, {Name: "peer1"}}, Host{}},
		"2222>[" + node + "]>192.168.0.2:22":    {"127.0.0.1:2222", []Hop{{Node: id(7)}}, Host{Addr: netip.MustParseAddr("192.168.0.2"), Port: 22}},
		"2222>[" + node + "]:9000>localhost:22": {"127.0.0.1:2222", []Hop{{Node: id(7), Port: 9000}}, Host{Name: "localhost", Port: 22}},
		"[::1]:53>" + strings.ToUpper(node) + ":1>[2001:db8::1]:443": {"[::1]:53",
			[]Hop{{Node: id(7), Port: 1}}, Host{Addr: netip.MustParseAddr("2001:db8::1"), Port: 443}},
		"0.0.0.0:1>rand>" + node + ":22":          {"0.0.0.0:1", []Hop{{}}, Host{Node: id(7), Port: 22}},
		"1>rand>[" + node + "]:22":                {"127.0.0.1:1", []Hop{{}}, Host{Node: id(7), Port: 22}},
		"1>a>peer2:80":                            {"127.0.0.1:1", []Hop{{Name: "a"}}, Host{Name: "peer2", Port: 80}},
		"1" + strings.Repeat(">rand", 8) + ">a:1": {"127.0.0.1:1", make([]Hop, 8), Host{Name: "a", Port: 1}},
	} {
		got, err := Parse(text)
		if err != nil || got.String() != want.String() || !slices.Equal(got.Hops, want.Hops) || got.Target != want.Target {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	node := id(7).String()
	for text, want := range map[string][2]string{ // part, and a piece of what to write
		"":                                          {"", "8080>rand"},
		"8080":                                      {"", "8080>rand"},
		"8080>google.com:80":                        {"", "8080>rand>rand>rand>google.com:80"},
		"8080>internet":                             {"", "8080>rand>rand>rand>internet"},
		">rand>internet":                            {"listener", "1 to 65535"},
		"0>rand>internet":                           {"listener", "1 to 65535"},
		"65536>rand>internet":                       {"listener", "1 to 65535"},
		":80>rand>internet":                         {"listener", "localhost:8080"},
		"::1:80>rand>internet":                      {"listener", "[::1]:8080"},
		"a b:80>rand>internet":                      {"listener", "localhost"},
		"80>>internet":                              {"hop 1", "rand"},
		"80>rand>>internet":                         {"hop 2", "rand"},
		"80>rand>internet>a:80":                     {"hop 2", "last"},
		"80>rand:90>a:80":                           {"hop 1", "write rand"},
		"80>rand>[peer1]>a:80":                      {"hop 2", "globalnet relays"},
		"80>[" + node + ">a:80":                     {"hop 1", "bracket"},
		"80>[" + node + "]x>a:80":                   {"hop 1", ":port"},
		"80>" + node[1:] + "x>a:80":                 {"hop 1", "globalnet relays"},
		"80>192.0.2.1:9001>a:80":                    {"hop 1", "petname"},
		"80>peer1:0>a:80":                           {"hop 1", "1 to 65535"},
		"80>peer 1>a:80":                            {"hop 1", "petname"},
		"80>rand>":                                  {"target", "internet"},
		"80>rand>peer2":                             {"target", "NODE:port"},
		"80>rand>" + node:                           {"target", "NODE:port"},
		"80>rand>rand":                              {"target", "internet"},
		"80>rand>google.com:http":                   {"target", "1 to 65535"},
		"80>rand>2001:db8::1:80":                    {"target", "[2001:db8::1]:443"},
		"80>rand>[fe80::1%eth0]:80":                 {"target", "NODE:port"},
		"80>rand>[google.com]:80":                   {"target", "NODE:port"},
		"80>rand>[2001:db8::1]:80:1":                {"target", "1 to 65535"},
		"80" + strings.Repeat(">rand", 9) + ">a:80": {"", "at most 8"},
		"80" + strings.Repeat(">rand", 8) + ">internet": {"", "at most 7"},
		strings.Repeat("8", maxSpec+1):                  {"", "at most"},
	} {
		_, err := Parse(text)
		var part *PartError
		switch {
		case err == nil:
			t.Errorf("%q was accepted", text)
		case !strings.Contains(err.Error(), want[1]):
			t.Errorf("%q: %q does not say %q", text, err, want[1])
		case errors.As(err, &part) != (want[0] != "") || part != nil && part.Part != want[0]:
			t.Errorf("%q: %q does not blame %q", text, err, want[0])
		}
	}
}

func TestResolve(t *testing.T) {
	for text, want := range map[string]struct {
		hops   []identity.NodeID
		target *cell.Target
		err    string
	}{
		"1>peer1>rand>internet":                  {hops: []identity.NodeID{id(1), {}}},
		"1>peer1>google.com:80":                  {hops: []identity.NodeID{id(1)}, target: &cell.Target{Name: "google.com", Port: 80}},
		"1>rand>home:22":                         {hops: []identity.NodeID{{}}, target: &cell.Target{Node: id(4), Port: 22}},
		"1>home>localhost:22":                    {hops: []identity.NodeID{id(4)}, target: &cell.Target{Name: "localhost", Port: 22}},
		"1>rand>[::1]:22":                        {hops: []identity.NodeID{{}}, target: &cell.Target{Addr: netip.IPv6Loopback(), Port: 22}},
		"1>rand>unknown>internet":                {err: `hop 2: no node is called "unknown"`},
		"1>peer1>rand>again>a:80":                {err: "hop 3: again is hop 1 already"},
		"1>peer1>" + id(1).String() + ">a:80":    {err: "is hop 1 already"},
		"1>rand>rand>[" + id(8).String() + "]:1": {hops: make([]identity.NodeID, 2), target: &cell.Target{Node: id(8), Port: 1}},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Resolve(lookup)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%q: %v, want %q", text, err, want.err)
			}
			continue
		}
		same := r.Target == want.target || r.Target != nil && want.target != nil && *r.Target == *want.target
		if err != nil || !slices.Equal(r.Hops, want.hops) || !same {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestFill(t *testing.T) {
	w := newWorld(relays(1, 12), relays(13, 15, exits))
	guard := w.build(t)[0]
	from := func(text string) Route {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Resolve(lookup)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	exit := []identity.NodeID{id(13), id(14), id(15)}
	for text, tt := range map[string]struct {
		hops  int
		check func(p []identity.NodeID) bool
	}{
		"1>rand>rand>rand>internet":   {4, func(p []identity.NodeID) bool { return slices.Contains(exit, p[3]) }},
		"1>rand>internet":             {2, func(p []identity.NodeID) bool { return slices.Contains(exit, p[1]) }},
		"1>peer1>peer2>internet":      {3, func(p []identity.NodeID) bool { return p[0] == id(1) && p[1] == id(2) && slices.Contains(exit, p[2]) }},
		"1>rand>example.org:80":       {1, func(p []identity.NodeID) bool { return slices.Contains(exit, p[0]) }},
		"1>rand>peer1>rand>a.org:443": {3, func(p []identity.NodeID) bool { return p[1] == id(1) && slices.Contains(exit, p[2]) }},
		// A relay that is named is asked whatever its policy says.
		"1>peer1>192.168.0.2:22":                          {1, func(p []identity.NodeID) bool { return p[0] == id(1) }},
		"1>rand>home:22":                                  {1, func(p []identity.NodeID) bool { return true }},
		"1>rand>rand>home:22":                             {2, func(p []identity.NodeID) bool { return p[0] != id(4) }},
		"1>peer2>rand>rand>rand>rand>rand>rand>peer1>a:1": {8, func(p []identity.NodeID) bool { return p[0] == id(2) && p[7] == id(1) }},
	} {
		for range 30 {
			c, err := w.Fill(w.now, from(text), site)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			p := nodes(c.Relays)
			if err := distinct(c.Relays, tt.hops); err != nil || !tt.check(p) {
				t.Fatalf("%q: %v is %v", text, p, err)
			}
			if strings.HasPrefix(text, "1>rand>rand") && p[0] != guard {
				t.Fatalf("%q does not begin with the guard", text)
			}
		}
	}
	for text, want := range map[string]string{
		"1>rand>" + id(77).String() + ">a:80": "hop 2: no usable descriptor of " + id(77).String(),
		"1>" + id(0).String() + ">rand>a:80":  "hop 1: " + id(0).String() + " is this node itself",
		"1>rand>rand>smtp.example:25":         ErrNoExit.Error(),
	} {
		if c, err := w.Fill(w.now, from(text), site); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, c, err, want)
		}
	}
	if _, err := w.Fill(w.now, from("1>rand>internet"), nil); err == nil {
		t.Error("internet without a target")
	}
	if _, err := w.Fill(w.now, Route{}, nil); err == nil {
		t.Error("an empty route")
	}
	if _, err := newWorld(relays(1, 2, exits)).Fill(start, from("1>rand>rand>internet"), site); err == nil {
		t.Error("three hops of two relays")
	}
}

func FuzzParse(f *testing.F) {
	node := id(7).String()
	for _, text := range []string{
		"localhost:1000>peer1>peer2:4748>google.com:80", "8080>rand>rand>rand>internet",
		"2222>[" + node + "]:9000>192.168.0.2:22", "[::1]:53> " + node + ":1 >[2001:db8::1]:443", "0.0.0.0:1>rand>[" + node + "]:22",
		"[fe80::1%x y]:1>rand>a:1", "1>rand>[::ffff:1.2.3.4]:80", ">>>", "1>[]>[]:1", "1>a>:80",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again.Listen != s.Listen || again.Target != s.Target || !slices.Equal(again.Hops, s.Hops) {
			t.Fatalf("%q is %+v; its text %q is %+v, %v", text, s, s, again, err)
		}
		r, err := s.Resolve(lookup)
		if err == nil && (len(r.Hops) != len(s.Hops) || len(r.Hops) > cell.MaxHops || (r.Target == nil) != s.Internet()) {
			t.Fatalf("%q resolves to %+v", text, r)
		}
	})
}
