package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"globalnet/lab"
)

// watchLab shows a lab until ctx ends: on a terminal a table drawn anew each
// second, elsewhere a line whenever something changed.
func watchLab(ctx context.Context, l *lab.Lab, title, page string, w io.Writer) {
	o := newObserver(l, title)
	o.page = page
	defer o.close()
	file, _ := w.(*os.File)
	terminal := file != nil && term.IsTerminal(int(file.Fd()))
	if !terminal {
		fmt.Fprintf(w, "Lab %q: %d routers. SIGINT or SIGTERM ends it.\n", title, len(o.routers))
		if page != "" {
			fmt.Fprintf(w, "The web %s\n", page)
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		v := o.look(ctx)
		if terminal {
			width, height, err := term.GetSize(int(file.Fd()))
			if err != nil {
				width, height = 80, 24
			}
			// Home, and clear each line's rest: no flicker.
			io.WriteString(w, "\x1b[H"+v.draw(width, height)+"\x1b[J")
		} else if line := v.line(); line != last {
			fmt.Fprintln(w, line)
			last = line
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// observer collects what the view shows.
type observer struct {
	lab     *lab.Lab
	title   string
	page    string // where the web page is; empty: nowhere
	began   time.Time
	routers []*lab.Node
	names   map[string]string // NodeID text to name
	addrs   []netip.Addr
	pingers []*lab.Pinger
	next    int // where the next round of pings goes on

	mu   sync.Mutex
	rtts map[lab.Pair]time.Duration // last answers; absent: none
	all  time.Duration              // since the start, when all pairs first answered
}

// pingsEach is how many others a router pings in one round.
const pingsEach = 8

func newObserver(l *lab.Lab, title string) *observer {
	o := &observer{lab: l, title: title, began: time.Now(), names: map[string]string{}, rtts: map[lab.Pair]time.Duration{}}
	for _, n := range l.Routers() {
		id, err := n.ID()
		if err != nil {
			continue
		}
		p, err := lab.NewPinger(n.Namespace())
		if err != nil {
			continue
		}
		o.routers = append(o.routers, n)
		o.names[id.String()] = n.Name
		o.addrs = append(o.addrs, id.Address())
		o.pingers = append(o.pingers, p)
	}
	return o
}

func (o *observer) close() {
	for _, p := range o.pingers {
		p.Close()
	}
}

// look asks all agents and sends a round of pings.
func (o *observer) look(ctx context.Context) view {
	ctx, cancel := context.WithTimeout(ctx, 800*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	rows := make([]row, len(o.routers))
	for i, n := range o.routers {
		all.Go(func() {
			rows[i] = row{name: n.Name, agent: n.AgentState(), address: o.addrs[i].String()}
			if st, err := n.Status(ctx); err == nil {
				rows[i].fill(st, o.names)
			}
		})
		for k := range min(pingsEach, len(o.routers)-1) {
			to := (i + 1 + (o.next+k)%(len(o.routers)-1)) % len(o.routers)
			all.Go(func() { o.ping(ctx, i, to) })
		}
	}
	all.Wait()
	o.next += pingsEach

	v := view{title: o.title, page: o.page, time: time.Since(o.began), rows: rows}
	for i := range rows {
		for j := range rows {
			if rtt, ok := o.rtts[lab.Pair{From: rows[i].name, To: rows[j].name}]; ok {
				v.rows[i].reaches++
				v.pairs++
				if m := rows[i].metrics[o.addrs[j]]; m >= rows[i].farMetric {
					v.rows[i].farMetric, v.rows[i].far, v.rows[i].farRTT = m, rows[j].name, rtt
				}
			}
		}
	}
	if v.complete() && o.all == 0 {
		o.all = v.time
	}
	v.all = o.all
	return v
}

func (o *observer) ping(ctx context.Context, from, to int) {
	pair := lab.Pair{From: o.routers[from].Name, To: o.routers[to].Name}
	rtt, err := o.pingers[from].Until(ctx, o.addrs[to], 250*time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		delete(o.rtts, pair)
		return
	}
	o.rtts[pair] = rtt
}
