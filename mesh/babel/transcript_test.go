package babel_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/lab/babelsim"
	"globalnet/mesh/babel/wire"
)

var rewrite = flag.Bool("update", false, "write the transcripts in testdata anew")

// TestTranscripts compares all that is sent in small scenes with testdata: a change
// of the protocol's behaviour shows up as a difference to be read.
func TestTranscripts(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		edges []babelsim.Edge
		play  func(w *babelsim.Network, say func(string))
	}{
		{"pair-start", 2, babelsim.Line(2), func(w *babelsim.Network, say func(string)) {
			w.Run(18 * time.Second)
		}},
		{"line-start", 3, babelsim.Line(3), func(w *babelsim.Network, say func(string)) {
			w.Run(500 * time.Millisecond)
		}},
		{"ring-cut", 5, babelsim.Ring(5), func(w *babelsim.Network, say func(string)) {
			w.Run(30 * time.Second)
			say("the link between 0 and 1 loses its carrier")
			w.LinkDown(w.Links[0])
			w.Run(500 * time.Millisecond)
			say("it comes back")
			w.Links[0].Down = false
			w.Probe(w.Links[0])
			w.Run(500 * time.Millisecond)
		}},
		{"silent-death", 2, babelsim.Line(2), func(w *babelsim.Network, say func(string)) {
			w.Run(10 * time.Second)
			say("the link dies under traffic")
			w.Links[0].Down = true
			w.Probe(w.Links[0])
			w.Run(2 * time.Second)
		}},
		{"restart", 2, babelsim.Line(2), func(w *babelsim.Network, say func(string)) {
			w.Run(10 * time.Second)
			say("node 1 restarts")
			w.Restart(1)
			w.Run(500 * time.Millisecond)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := babelsim.New(c.nodes, 1)
			for _, e := range c.edges {
				w.Connect(e[0], e[1])
			}
			var out strings.Builder
			names := make(map[netip.Prefix]string)
			lls := map[netip.Addr]string{wire.Group: "all"}
			for i, v := range w.Nodes {
				names[v.Prefix], lls[v.Address] = fmt.Sprintf("n%d", i), fmt.Sprint(i)
			}
			silent := c.name == "ring-cut" || c.name == "silent-death" || c.name == "restart"
			w.Observe = func(at time.Duration, from int, l *babelsim.Link, to netip.Addr, packet []byte) {
				if silent {
					return
				}
				p, err := wire.Parse(packet)
				if err != nil || p.Malformed+p.Unknown+p.Mandatory > 0 {
					t.Errorf("sent %x: %v", packet, err)
				}
				fmt.Fprintf(&out, "%9.3f  %d on %s to %-3s %4d B:", at.Seconds(), from, l.Name, lls[to], len(packet))
				for _, v := range p.TLVs {
					out.WriteString(describe(v, names, lls))
				}
				out.WriteByte('\n')
			}
			c.play(w, func(what string) {
				silent = false
				fmt.Fprintf(&out, "%9.3f  -- %s\n", w.Now().Seconds(), what)
			})
			compare(t, filepath.Join("testdata", c.name+".txt"), out.String())
		})
	}
}

func describe(v wire.TLV, names map[netip.Prefix]string, lls map[netip.Addr]string) string {
	name := func(p netip.Prefix) string {
		if !p.IsValid() {
			return "everything"
		}
		return names[p]
	}
	switch v := v.(type) {
	case wire.AckRequest:
		return fmt.Sprintf(" ack-request(%d)", v.Opaque)
	case wire.Ack:
		return fmt.Sprintf(" ack(%d)", v.Opaque)
	case wire.Hello:
		return fmt.Sprintf(" hello(seqno %d every %d)", v.Seqno, v.Interval)
	case wire.IHU:
		return fmt.Sprintf(" ihu(%s cost %d every %d)", lls[v.Address], v.RxCost, v.Interval)
	case wire.RouteRequest:
		return fmt.Sprintf(" route-request(%s)", name(v.Prefix))
	case wire.SeqnoRequest:
		return fmt.Sprintf(" seqno-request(%s %d hops %d)", name(v.Prefix), v.Seqno, v.HopCount)
	case wire.Update:
		if v.Metric == wire.Infinity {
			return fmt.Sprintf(" retraction(%s)", name(v.Prefix))
		}
		return fmt.Sprintf(" update(%s seqno %d metric %d every %d)", name(v.Prefix), v.Seqno, v.Metric, v.Interval)
	}
	return fmt.Sprintf(" %+v", v)
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for k := range min(len(g), len(w)) {
		if g[k] != w[k] {
			t.Fatalf("%s differs in line %d (go test ./mesh/babel -run Transcripts -update writes it anew):\ngot  %s\nwant %s", path, k+1, g[k], w[k])
		}
	}
	t.Fatalf("%s: got %d lines, want %d", path, len(g), len(w))
}
