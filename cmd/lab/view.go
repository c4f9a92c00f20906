package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"globalnet/lab"
)

// view is one picture of a lab.
type view struct {
	title string
	page  string // where the web page is; empty: nowhere
	time  time.Duration
	rows  []row
	pairs int           // that answered the last ping
	all   time.Duration // when all pairs first answered; 0: not yet
}

// row is one router.
type row struct {
	name, agent, address string
	answers              bool
	sees                 []string // neighbours: name, class, cost, round-trip time
	routes               int
	metrics              map[netip.Addr]uint16 // of selected routes

	reaches   int
	far       string // the router with the largest metric that answers
	farMetric uint16
	farRTT    time.Duration
}

func (r *row) fill(st lab.Status, names map[string]string) {
	r.answers = true
	slices.SortFunc(st.Neighbours, func(a, b lab.Neighbour) int {
		return cmp.Or(cmp.Compare(names[a.Node.String()], names[b.Node.String()]), cmp.Compare(a.Ifname, b.Ifname))
	})
	for _, n := range st.Neighbours {
		name := cmp.Or(names[n.Node.String()], n.Node.Short())
		switch {
		case n.State != "up":
			r.sees = append(r.sees, fmt.Sprintf("%s (%s)", name, n.State))
		case n.Cost == 0xffff:
			r.sees = append(r.sees, fmt.Sprintf("%s %s ∞", name, n.Class))
		default:
			r.sees = append(r.sees, fmt.Sprintf("%s %s %d%s", name, n.Class, n.Cost, ms(" ", n.RTT)))
		}
	}
	r.metrics = map[netip.Addr]uint16{}
	for _, x := range st.Routes {
		if x.Selected && x.Metric != 0xffff {
			r.routes++
			r.metrics[x.Destination.Addr()] = x.Metric
		}
	}
}

func ms(before string, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("%s%.1f ms", before, float64(d)/float64(time.Millisecond))
}

func (v *view) complete() bool { return v.pairs == len(v.rows)*(len(v.rows)-1) }

// line tells the state in one line, for logs.
func (v *view) line() string {
	links, routes := 0, 0
	for _, r := range v.rows {
		links += len(r.sees)
		routes += r.routes
	}
	return fmt.Sprintf("%d of %d pairs reach each other; %d neighbours, %d routes", v.pairs, len(v.rows)*(len(v.rows)-1), links, routes)
}

// clearLine erases the rest of a terminal's line.
const clearLine = "\x1b[K\r\n"

// draw makes the picture for a terminal of so many columns and lines.
func (v *view) draw(width, height int) string {
	lines := []string{
		fmt.Sprintf("GlobalNet lab %q: %d routers, up %s.   Ctrl-C ends it.", v.title, len(v.rows), v.time.Truncate(time.Second)),
	}
	if v.page != "" {
		lines = append(lines, "Open in a browser the "+v.page)
	}
	lines = append(lines, "")
	table := [][]string{{"router", "neighbours: link, cost, rtt", "routes", "reaches", "farthest: metric, ping"}}
	room := max(height-len(lines)-len(v.hints())-3, 3)
	for i, r := range v.rows {
		if i == room-1 && len(v.rows) > room {
			table = append(table, []string{fmt.Sprintf("… %d more", len(v.rows)-i)})
			break
		}
		table = append(table, r.cells(len(v.rows)-1))
	}
	lines = append(lines, align(table)...)
	lines = append(lines, "")
	lines = append(lines, v.hints()...)
	var b strings.Builder
	for i, l := range lines {
		if i >= height-1 {
			break
		}
		b.WriteString(truncate(l, width) + clearLine)
	}
	return b.String()
}

func (r *row) cells(others int) []string {
	sees, routes, far := strings.Join(r.sees, ", "), fmt.Sprint(r.routes), ""
	switch {
	case r.agent != "running":
		sees = "agent " + r.agent
	case !r.answers:
		sees, routes = "agent does not answer yet", "-"
	case len(r.sees) == 0:
		sees = "nobody yet"
	}
	if r.far != "" {
		far = fmt.Sprintf("%s %d%s", r.far, r.farMetric, ms(" ", r.farRTT))
	}
	return []string{r.name, sees, routes, fmt.Sprintf("%d of %d", r.reaches, others), far}
}

// hints says what to try next.
func (v *view) hints() []string {
	if len(v.rows) < 2 {
		return nil
	}
	first := fmt.Sprintf("%d of %d pairs reach each other.", v.pairs, len(v.rows)*(len(v.rows)-1))
	if v.all > 0 {
		first += fmt.Sprintf("   All did %.1f s after the start.", v.all.Seconds())
	}
	a, b, last := v.rows[0].name, v.rows[1].name, v.rows[len(v.rows)-1].name
	lines := []string{first, "Try in another terminal (lab is bin/lab):"}
	for _, l := range align([][]string{
		{"lab exec " + a + " -- bash", "a shell, or any program, inside a router"},
		{"lab ping " + a + " " + last, "from one end to the other"},
		{"lab net cut " + a + " " + b, "take a link away; lab net heal gives all back"},
		{"lab net loss " + a + " " + b + " 40%", "make a link bad"},
		{"lab net kill " + b, "end an agent; lab net restart " + b + " starts it again"},
	}) {
		lines = append(lines, "  "+l)
	}
	return lines
}

// align pads the columns of a table.
func align(table [][]string) []string {
	var widths []int
	for _, cells := range table {
		for i, c := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	var lines []string
	for _, cells := range table {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString(c + strings.Repeat(" ", widths[i]-len([]rune(c))+2))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

func truncate(s string, width int) string {
	if r := []rune(s); len(r) > width && width > 1 {
		return string(r[:width-1]) + "…"
	}
	return s
}
