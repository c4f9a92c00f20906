package topology

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Error says which line of a description cannot be understood, and why.
type Error struct {
	Line   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,9}$`)

// maxLine bounds a line; a description is written by hand.
const maxLine = 4096

type parser struct {
	t     *Topology
	index map[string]int // of nodes
	edges map[Edge]int   // index of an edge, by the edge without its quality
}

// statements maps the first word of a line to what reads the rest.
var statements map[string]func(*parser, []string) error

func init() {
	statements = map[string]func(*parser, []string) error{
		"router":  func(p *parser, w []string) error { return p.nodes(Router, w) },
		"host":    func(p *parser, w []string) error { return p.nodes(Host, w) },
		"client":  (*parser).client,
		"place":   (*parser).place,
		"radio":   (*parser).radio,
		"range":   (*parser).reach,
		"wire":    (*parser).wire,
		"segment": (*parser).segment,
		"line":    func(p *parser, w []string) error { return p.row(w, false) },
		"ring":    func(p *parser, w []string) error { return p.row(w, true) },
		"grid":    (*parser).grid,
		"uplink":  (*parser).uplink,
		"peer":    (*parser).peer,
		"set":     (*parser).set,
		"seed":    (*parser).seed,
	}
}

// Parse reads a description. An error is an *Error.
func Parse(text string) (*Topology, error) {
	p := &parser{t: &Topology{Seed: 1}, index: map[string]int{}, edges: map[Edge]int{}}
	line := 0
	for l := range strings.Lines(text) {
		line++
		if len(l) > maxLine {
			return nil, &Error{line, fmt.Sprintf("longer than %d bytes", maxLine)}
		}
		l, _, _ = strings.Cut(l, "#")
		words := strings.Fields(l)
		if len(words) == 0 {
			continue
		}
		statement, ok := statements[words[0]]
		if !ok {
			return nil, &Error{line, fmt.Sprintf("unknown statement %q", words[0])}
		}
		if err := statement(p, words[1:]); err != nil {
			return nil, &Error{line, fmt.Sprintf("%s: %v", words[0], err)}
		}
	}
	if len(p.t.Nodes) == 0 {
		return nil, &Error{max(line, 1), "no node in the whole description"}
	}
	return p.t, nil
}

func (p *parser) add(n Node) error {
	if !validName.MatchString(n.Name) {
		return fmt.Errorf("%q is no name: a letter, then at most 9 letters, digits or hyphens", n.Name)
	}
	if _, taken := p.index[n.Name]; taken || n.Name == Internet {
		return fmt.Errorf("there is a node %q already", n.Name)
	}
	if slices.ContainsFunc(p.t.Wires, func(w Wire) bool { return w.Name == n.Name }) {
		return fmt.Errorf("there is a segment %q already", n.Name)
	}
	if len(p.t.Nodes) >= MaxNodes {
		return fmt.Errorf("more than %d nodes", MaxNodes)
	}
	p.index[n.Name] = len(p.t.Nodes)
	p.t.Nodes = append(p.t.Nodes, n)
	return nil
}

func (p *parser) nodes(kind Kind, words []string) error {
	names, err := expand(words)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("which? e.g. %s a b c", kind)
	}
	for _, name := range names {
		if err := p.add(Node{Name: name, Kind: kind}); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) known(names []string, atLeast int) ([]string, error) {
	names, err := expand(names)
	if err != nil {
		return nil, err
	}
	if len(names) < atLeast {
		return nil, fmt.Errorf("at least %d nodes are needed", atLeast)
	}
	for _, name := range names {
		if _, ok := p.index[name]; !ok {
			return nil, fmt.Errorf("no node %q; a line \"router %s\" must come before", name, name)
		}
	}
	return names, nil
}

func (p *parser) client(words []string) error {
	if len(words) < 3 || words[len(words)-2] != "on" {
		return fmt.Errorf("e.g. client phone laptop on a")
	}
	router, err := p.known(words[len(words)-1:], 1)
	if err != nil {
		return err
	}
	if p.t.Nodes[p.index[router[0]]].Kind == Client {
		return fmt.Errorf("%q is itself a client", router[0])
	}
	names, err := expand(words[:len(words)-2])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.add(Node{Name: name, Kind: Client, Router: router[0]}); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) place(words []string) error {
	if len(words) != 3 {
		return fmt.Errorf("e.g. place a 0 50")
	}
	if _, err := p.known(words[:1], 1); err != nil {
		return err
	}
	x, err := number(words[1])
	if err != nil {
		return err
	}
	y, err := number(words[2])
	if err != nil {
		return err
	}
	i, ok := p.index[words[0]]
	if !ok {
		return fmt.Errorf("one node at a time")
	}
	n := &p.t.Nodes[i]
	n.Placed, n.X, n.Y = true, x, y
	return nil
}

func (p *parser) radio(words []string) error {
	names, q, err := quality(words)
	if err != nil {
		return err
	}
	if names, err = p.known(names, 2); err != nil {
		return err
	}
	return p.path(names, q)
}

func (p *parser) path(names []string, q link) error {
	for i := range len(names) - 1 {
		if names[i] == names[i+1] {
			return fmt.Errorf("%q does not hear itself", names[i])
		}
		if err := p.edge(Edge{names[i], names[i+1], q.channel, q.Quality}); err != nil {
			return err
		}
		if q.oneWay {
			continue
		}
		if err := p.edge(Edge{names[i+1], names[i], q.channel, q.Quality}); err != nil {
			return err
		}
	}
	return nil
}

// edge adds an edge, or changes the quality of one that is there.
func (p *parser) edge(e Edge) error {
	key := Edge{From: e.From, To: e.To, Channel: e.Channel}
	if i, ok := p.edges[key]; ok {
		p.t.Edges[i] = e
		return nil
	}
	if len(p.t.Edges) >= MaxEdges {
		return fmt.Errorf("more than %d edges", MaxEdges)
	}
	p.edges[key] = len(p.t.Edges)
	p.t.Edges = append(p.t.Edges, e)
	return nil
}

func (p *parser) reach(words []string) error {
	rest, q, err := quality(words)
	if err != nil {
		return err
	}
	if len(rest) != 1 || q.oneWay {
		return fmt.Errorf("e.g. range 100 loss=5%%")
	}
	p.t.Reach, err = number(rest[0])
	if err != nil {
		return err
	}
	if p.t.Reach <= 0 {
		return fmt.Errorf("a range is more than nothing")
	}
	p.t.ReachChannel, p.t.ReachQuality = q.channel, q.Quality
	return nil
}

func (p *parser) wire(words []string) error {
	names, err := p.known(words, 2)
	if err != nil {
		return err
	}
	for i := range len(names) - 1 {
		if err := p.cable(Wire{Nodes: []string{names[i], names[i+1]}}); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) segment(words []string) error {
	if len(words) == 0 || !validName.MatchString(words[0]) {
		return fmt.Errorf("a name comes first, e.g. segment hall a b c")
	}
	if _, taken := p.index[words[0]]; taken || words[0] == Internet ||
		slices.ContainsFunc(p.t.Wires, func(w Wire) bool { return w.Name == words[0] }) {
		return fmt.Errorf("there is a %q already", words[0])
	}
	names, err := p.known(words[1:], 2)
	if err != nil {
		return err
	}
	return p.cable(Wire{Name: words[0], Nodes: names})
}

func (p *parser) cable(w Wire) error {
	sorted := slices.Sorted(slices.Values(w.Nodes))
	if len(slices.Compact(sorted)) != len(w.Nodes) {
		return fmt.Errorf("a node is on it twice")
	}
	for _, have := range p.t.Wires {
		if w.Name == "" && have.Name == "" && slices.Contains(have.Nodes, w.Nodes[0]) && slices.Contains(have.Nodes, w.Nodes[1]) {
			return fmt.Errorf("there is a wire %s %s already", w.Nodes[0], w.Nodes[1])
		}
	}
	if len(p.t.Wires) >= MaxWires {
		return fmt.Errorf("more than %d wires", MaxWires)
	}
	p.t.Wires = append(p.t.Wires, w)
	return nil
}

// row reads "line 10 wire" or "ring 6 loss=5%".
func (p *parser) row(words []string, closed bool) error {
	words, wired := takeWord(words, "wire")
	rest, q, err := quality(words)
	if err != nil {
		return err
	}
	n := 0
	if len(rest) == 1 {
		n, err = strconv.Atoi(rest[0])
	}
	if err != nil || n < 2 || n > MaxNodes || closed && n < 3 {
		return fmt.Errorf("how many routers? e.g. line 10, ring 6 loss=5%%, line 4 wire")
	}
	first := len(p.t.Nodes) + 1
	names := make([]string, n)
	for i := range names {
		names[i] = "r" + strconv.Itoa(first+i)
		if err := p.add(Node{Name: names[i], Kind: Router}); err != nil {
			return err
		}
	}
	if closed {
		names = append(names, names[0])
	}
	if wired {
		return p.wire(names)
	}
	return p.path(names, q)
}

// grid reads "grid 5x5 loss=5%". Routers are r1, r2, … along the rows.
func (p *parser) grid(words []string) error {
	words, wired := takeWord(words, "wire")
	rest, q, err := quality(words)
	if err != nil {
		return err
	}
	var w, h int
	if len(rest) == 1 {
		a, b, _ := strings.Cut(rest[0], "x")
		w, _ = strconv.Atoi(a)
		h, _ = strconv.Atoi(b)
	}
	if w < 1 || h < 1 || w > MaxNodes || h > MaxNodes || w*h < 2 || w*h > MaxNodes {
		return fmt.Errorf("how large? e.g. grid 5x5 loss=5%%")
	}
	first := len(p.t.Nodes) + 1
	name := func(x, y int) string { return "r" + strconv.Itoa(first+y*w+x) }
	for y := range h {
		for x := range w {
			if err := p.add(Node{Name: name(x, y), Kind: Router}); err != nil {
				return err
			}
		}
	}
	join := func(a, b string) error {
		if wired {
			return p.wire([]string{a, b})
		}
		return p.path([]string{a, b}, q)
	}
	for y := range h {
		for x := range w {
			if x+1 < w {
				if err := join(name(x, y), name(x+1, y)); err != nil {
					return err
				}
			}
			if y+1 < h {
				if err := join(name(x, y), name(x, y+1)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *parser) uplink(words []string) error {
	u := Uplink{}
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "nat=") }); i >= 0 {
		u.NAT = NAT(strings.TrimPrefix(words[i], "nat="))
		words = slices.Delete(slices.Clone(words), i, i+1)
		if u.NAT != NATCone && u.NAT != NATSymmetric {
			return fmt.Errorf("nat is cone or symmetric, not %q", u.NAT)
		}
	}
	names, err := p.known(words, 1)
	if err != nil {
		return err
	}
	for _, have := range p.t.Uplinks {
		for _, name := range names {
			if slices.Contains(have.Nodes, name) {
				return fmt.Errorf("%q has an uplink already", name)
			}
		}
	}
	add := func(u Uplink) error {
		if len(p.t.Uplinks) >= MaxUplinks {
			return fmt.Errorf("more than %d uplinks", MaxUplinks)
		}
		if len(u.Nodes) > 200 || len(slices.Compact(slices.Sorted(slices.Values(u.Nodes)))) != len(u.Nodes) {
			return fmt.Errorf("a node is named twice, or there are more than 200")
		}
		p.t.Uplinks = append(p.t.Uplinks, u)
		return nil
	}
	if u.NAT != NATNone {
		u.Nodes = names
		return add(u)
	}
	for _, name := range names {
		if err := add(Uplink{Nodes: []string{name}}); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) peer(words []string) error {
	names, err := p.known(words, 2)
	if err != nil {
		return err
	}
	if len(names) != 2 || names[0] == names[1] {
		return fmt.Errorf("e.g. peer a b: b is an internet peer of a")
	}
	public := slices.ContainsFunc(p.t.Uplinks, func(u Uplink) bool {
		return u.NAT == NATNone && slices.Contains(u.Nodes, names[1])
	})
	if !public {
		return fmt.Errorf("%q has no public address; a line \"uplink %s\" must come before", names[1], names[1])
	}
	if len(p.t.Peers) >= MaxOptions {
		return fmt.Errorf("more than %d peers", MaxOptions)
	}
	p.t.Peers = append(p.t.Peers, Peer{names[0], names[1]})
	return nil
}

func (p *parser) set(words []string) error {
	if len(words) < 3 || !regexp.MustCompile(`^([a-z][a-z0-9_]{0,31}(:[a-z][a-z0-9_]{0,31})?\.)?[a-z][a-z0-9_]{0,31}$`).MatchString(words[1]) {
		return fmt.Errorf("e.g. set a passphrase secret, or set * hello_interval 2")
	}
	if words[0] != "*" {
		i, ok := p.index[words[0]]
		if !ok || p.t.Nodes[i].Kind != Router {
			return fmt.Errorf("no router %q", words[0])
		}
	}
	value := strings.Join(words[2:], " ")
	if strings.ContainsAny(value, "'\\") {
		return fmt.Errorf("a value may not contain quotes or backslashes")
	}
	if len(p.t.Options) >= MaxOptions {
		return fmt.Errorf("more than %d options", MaxOptions)
	}
	p.t.Options = append(p.t.Options, Option{words[0], words[1], value})
	return nil
}

func (p *parser) seed(words []string) error {
	if len(words) != 1 {
		return fmt.Errorf("e.g. seed 7")
	}
	n, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number", words[0])
	}
	p.t.Seed = n
	return nil
}

func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.Abs(v) > 1e9 {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}

func takeWord(words []string, word string) ([]string, bool) {
	i := slices.Index(words, word)
	if i < 0 {
		return words, false
	}
	return slices.Delete(slices.Clone(words), i, i+1), true
}

// expand replaces r3..r6 by r3 r4 r5 r6.
func expand(words []string) ([]string, error) {
	var names []string
	for _, w := range words {
		a, b, ok := strings.Cut(w, "..")
		if !ok {
			names = append(names, w)
			continue
		}
		prefix := strings.TrimRight(a, "0123456789")
		from, err1 := strconv.Atoi(a[len(prefix):])
		to, err2 := strconv.Atoi(strings.TrimPrefix(b, prefix))
		if err1 != nil || err2 != nil || !strings.HasPrefix(b, prefix) || to < from || to-from >= MaxNodes || from < 0 {
			return nil, fmt.Errorf("%q is no range such as r1..r9", w)
		}
		for i := from; i <= to; i++ {
			names = append(names, prefix+strconv.Itoa(i))
		}
	}
	if len(names) > 4*MaxNodes {
		return nil, fmt.Errorf("too many names")
	}
	return names, nil
}
