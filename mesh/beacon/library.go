package beacon

import (
	"encoding/hex"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	answerRate  = 10 // questions a second and reader that reach the library
	answerBurst = 20
)

// openResponder starts the library's responder, which answers the questions that
// arrive on the two sockets (either may be nil). It takes the sockets over.
func openResponder(ifc *net.Interface, c4, c6 *net.UDPConn, a *announcement, g *gate) (*mdns.Conn, error) {
	var p4 *ipv4.PacketConn
	var p6 *ipv6.PacketConn
	if c4 != nil {
		p4 = ipv4.NewPacketConn(c4)
	}
	if c6 != nil {
		p6 = ipv6.NewPacketConn(c6)
	}
	options := []mdns.ServerOption{
		mdns.WithName(ifc.Name),
		mdns.WithInterfaces(*ifc),
		mdns.WithLocalNames(a.tag.String() + ".local"),
		mdns.WithService(mdns.ServiceInstance{
			Instance: a.tag.String(),
			Service:  serviceType,
			Port:     a.port,
			Text: []mdns.TXTEntry{
				mdns.NewTXTString("v", protocolVersion),
				mdns.NewTXTString("t", a.tag.String()),
				mdns.NewTXTString("n", hex.EncodeToString(a.proof[:])),
			},
		}),
		mdns.WithResponseTTL(recordTTL),
		mdns.WithCacheRefresh(false),
		mdns.WithLoggerFactory(g),
	}
	if len(a.addrs) == 1 { // else it looks for an address of the other family at each question
		options = append(options, mdns.WithLocalAddress(a.addrs[0].AsSlice()))
	}
	return mdns.NewServer(p4, p6, options...)
}

// A gate stands between the library and what strangers send it. The library
// tells its logger of each datagram on the goroutine that read it, before
// it looks at it; the gate makes that goroutine wait when questions come too
// fast, so that the kernel drops what is too much. And it ends the readers of
// the two sockets that the library opens for itself on all interfaces, at the
// first datagram: nothing of ours is sent from there, so nothing that comes is
// an answer. docs/decisions/0005-mdns.md has more.
type gate struct {
	once      sync.Once
	done      chan struct{} // closed when the beacon ends
	mu        sync.Mutex
	questions bucket
	counters  *counters
	warned    func(format string)
}

func newGate(c *counters, warned func(format string)) *gate {
	return &gate{done: make(chan struct{}), counters: c, warned: warned}
}

func (g *gate) close() { g.once.Do(func() { close(g.done) }) }

// NewLogger implements logging.LoggerFactory.
func (g *gate) NewLogger(string) logging.LeveledLogger { return g }

// Debugf is called for each datagram with the arguments name, reader, source.
func (g *gate) Debugf(_ string, args ...any) {
	if len(args) != 3 {
		return
	}
	switch reader, _ := args[1].(string); reader {
	case "uni4", "uni6":
		g.counters.strayed.Add(1)
		runtime.Goexit()
	case "multi4", "multi6":
		g.counters.questions.Add(1)
		g.throttle()
	}
}

func (g *gate) throttle() {
	for {
		g.mu.Lock()
		ok := g.questions.take(time.Now(), answerRate, answerBurst)
		g.mu.Unlock()
		if ok {
			return
		}
		g.counters.throttled.Add(1)
		select {
		case <-time.After(time.Second / answerRate):
		case <-g.done:
			return
		}
	}
}

func (g *gate) Warnf(format string, _ ...any)  { g.warned(format) }
func (g *gate) Warn(msg string)                { g.warned(msg) }
func (g *gate) Errorf(format string, _ ...any) { g.warned(format) }
func (g *gate) Error(msg string)               { g.warned(msg) }
func (g *gate) Trace(string)                   {}
func (g *gate) Tracef(string, ...any)          {}
func (g *gate) Debug(string)                   {}
func (g *gate) Info(string)                    {}
func (g *gate) Infof(string, ...any)           {}

// counters count what happened since Open.
type counters struct {
	announced, queried, sendErrors              atomic.Uint64
	received, own, goodbyes, sightings          atomic.Uint64
	tooFast, malformed, otherVersion, badSource atomic.Uint64
	questions, throttled, strayed, warnings     atomic.Uint64
}

func (c *counters) snapshot() map[string]uint64 {
	return map[string]uint64{
		"announcements_sent":  c.announced.Load(),
		"queries_sent":        c.queried.Load(),
		"send_errors":         c.sendErrors.Load(),
		"received":            c.received.Load(),
		"own":                 c.own.Load(),
		"goodbyes":            c.goodbyes.Load(),
		"sightings":           c.sightings.Load(),
		"refused_too_fast":    c.tooFast.Load(),
		"refused_malformed":   c.malformed.Load(),
		"refused_version":     c.otherVersion.Load(),
		"refused_source":      c.badSource.Load(),
		"questions":           c.questions.Load(),
		"questions_throttled": c.throttled.Load(),
		"strayed":             c.strayed.Load(),
		"library_warnings":    c.warnings.Load(),
	}
}
