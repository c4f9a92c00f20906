package exit

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound what an exit does for others. A zero of the first six means the
// default, a negative number no limit.
type Limits struct {
	Connections      int // open at once
	Rate, Burst      int // new ones a second, and at once
	PerDestination   int // open at once to one address
	DestinationRate  int // new ones a second to one address
	DestinationBurst int

	BytesPerSecond int64 // each way; 0: no limit
	BytesBurst     int64 // each way; 0: what a second allows
	BytesPerMonth  int64 // both ways together; 0: no limit
}

// DefaultLimits are far from what a household does, and keep one client from
// using an exit for a flood.
var DefaultLimits = Limits{
	Connections: 2048, Rate: 1000, Burst: 10000,
	PerDestination: 1024, DestinationRate: 300, DestinationBurst: 6000,
}

// maxDestinations bounds the addresses that are remembered.
const maxDestinations = 8192

// orDefaults replaces zeros.
func (l Limits) orDefaults() Limits {
	d := DefaultLimits
	for _, f := range []struct{ have, standard *int }{
		{&l.Connections, &d.Connections},
		{&l.Rate, &d.Rate},
		{&l.Burst, &d.Burst},
		{&l.PerDestination, &d.PerDestination},
		{&l.DestinationRate, &d.DestinationRate},
		{&l.DestinationBurst, &d.DestinationBurst},
	} {
		if *f.have == 0 {
			*f.have = *f.standard
		}
	}
	return l
}

// gate counts connections.
type gate struct {
	base time.Time

	mu           sync.Mutex
	limits       Limits
	open         int
	due          int64 // as of a destination
	destinations map[netip.Addr]*destination
	swept        int64
}

// destination is an address that connections go to or went to lately.
type destination struct {
	open int
	due  int64 // when its bucket is full again, ns since the gate's base
}

func newGate(l Limits) *gate {
	return &gate{base: time.Now(), limits: l.orDefaults(), destinations: make(map[netip.Addr]*destination)}
}

func (g *gate) set(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l.orDefaults()
	g.due = 0
}

// enter makes room for a connection, which leave gives back.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.limits.Connections; l >= 0 && g.open >= l || !g.spend(&g.due, g.limits.Rate, g.limits.Burst) {
		return false
	}
	g.open++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
}

// opened returns how many connections there are.
func (g *gate) opened() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// enterTo makes room for a connection to an address, which leaveTo gives back.
func (g *gate) enterTo(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.destinations[a]
	if d == nil {
		if len(g.destinations) >= maxDestinations && !g.sweep() {
			return false
		}
		d = new(destination)
		g.destinations[a] = d
	}
	if l := g.limits.PerDestination; l >= 0 && d.open >= l || !g.spend(&d.due, g.limits.DestinationRate, g.limits.DestinationBurst) {
		return false
	}
	d.open++
	return true
}

func (g *gate) leaveTo(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.destinations[a]
	if d.open--; d.open == 0 && d.due <= g.now() {
		delete(g.destinations, a)
	}
}

func (g *gate) now() int64 { return int64(time.Since(g.base)) }

// spend takes a token of the bucket that is full at *due, if it has one.
func (g *gate) spend(due *int64, rate, burst int) bool {
	if rate < 0 || burst < 0 {
		return true
	}
	now := g.now()
	next := max(*due, now) + cost(1, int64(rate))
	if next-now > cost(int64(burst), int64(rate)) {
		return false
	}
	*due = next
	return true
}

// sweep forgets addresses that are as if they had never been seen. It reports whether
// there is room, and looks once a second.
func (g *gate) sweep() bool {
	now := g.now()
	if g.swept != 0 && now-g.swept < int64(time.Second) {
		return false
	}
	g.swept = now
	for a, d := range g.destinations {
		if d.open == 0 && d.due <= now {
			delete(g.destinations, a)
		}
	}
	return len(g.destinations) < maxDestinations
}
