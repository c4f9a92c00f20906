package agent

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/internal/clock"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/proxy"
)

// hashTable runs our node of the hash table, and keeps published there what this
// node says of itself. It stores no contacts for the next start: Babel's routes
// name all nodes that can be reached, which an old list cannot know better.
type hashTable struct {
	id   *identity.Identity
	mode config.DHT
	log  *slog.Logger
	node *dht.Node

	superseded chan dht.Key // of publications of ours

	// askTable asks the table through circuits; nil: there is no onion.
	askTable func(ctx context.Context, f func(ctx context.Context, conn net.Conn) (done bool, err error)) error

	// meshTime is what our clock is judged by; nil: by what can be.
	meshTime func() time.Time

	shelf  *shelf
	listen func() (dht.PacketConn, func() error, error) // and what closes it

	tried chan struct{} // closed when our port was opened, or could not be

	mu      sync.Mutex
	problem string // why the table does not run; "" if it does
}

const (
	tendInterval = time.Minute // how often the clock is judged; least time between two republications

	firstBind = time.Second // back-off of attempts to open our port
	lastBind  = time.Minute
)

// newHashTable returns nil if the table is switched off. What is published is kept in
// the file at path, if there is one.
func newHashTable(id *identity.Identity, mode config.DHT, small bool, path string, log *slog.Logger) *hashTable {
	if mode == config.DHTOff {
		return nil
	}
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	cfg := dht.Config{
		Self:         id.NodeID().Address(),
		Rand:         rand.New(rand.NewChaCha8(seed)),
		Client:       mode == config.DHTClient,
		Membership:   true,
		ClockTrusted: clock.Plausible(time.Now()),
		Small:        small,
	}
	h := &hashTable{
		id: id, mode: mode, log: log, node: dht.NewNode(cfg, log),
		superseded: make(chan dht.Key, 2*maxPublished), shelf: newShelf(id, path, log), tried: make(chan struct{}),
	}
	h.listen = h.listenUDP
	h.shelf.load()
	h.node.Superseded = func(s dht.Superseded) {
		select {
		case h.superseded <- s.Key:
		default: // so many at once are not ours to win
		}
	}
	return h
}

// farOff is how far our clock may be from mesh time: half of what the table's nodes put
// up with.
const farOff = 12 * time.Hour

// trusted tells whether our clock may judge records: one that is months behind would
// refuse all that is written today.
func (h *hashTable) trusted() bool {
	now := time.Now()
	return clock.Plausible(now) && (h.meshTime == nil || h.meshTime().Sub(now).Abs() <= farOff)
}

// run takes part in the table from when our mesh address is there until ctx ends;
// then what we hold for others is handed on, which needs the mesh for some seconds more.
func (h *hashTable) run(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	conn, closeConn := h.bind(ctx)
	if conn == nil {
		return nil
	}
	defer closeConn()
	tendCtx, stop := context.WithCancel(ctx)
	var tender sync.WaitGroup
	tender.Go(func() { h.tend(tendCtx) })
	tender.Go(func() { h.publishAll(tendCtx) })
	tender.Go(func() { h.shelf.run(tendCtx, h.node) })
	defer tender.Wait()
	defer stop()
	return h.node.Run(ctx, conn)
}

// asked is what is asked on behalf of others; nil: we have no table.
func (h *hashTable) asked() proxy.Table {
	if h == nil {
		return nil
	}
	return h.node
}

func (h *hashTable) listenUDP() (dht.PacketConn, func() error, error) {
	conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: h.id.NodeID().Address().AsSlice(), Port: dht.Port})
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

// bind opens our port. While it cannot, it says why, and tries ever more rarely: the
// mesh works without the table. It returns nil if ctx ends.
func (h *hashTable) bind(ctx context.Context) (dht.PacketConn, func() error) {
	tried := sync.OnceFunc(func() { close(h.tried) })
	for wait := firstBind; ; wait = min(2*wait, lastBind) {
		conn, closeConn, err := h.listen()
		if err == nil {
			if h.setProblem("") != "" {
				h.log.Info("the hash table runs now")
			}
			tried()
			return conn, closeConn
		}
		problem := fmt.Sprintf("UDP port %d of our mesh address cannot be opened: %v", dht.Port, err)
		if h.setProblem(problem) != problem {
			h.log.Warn("the hash table does not run, the agent goes on trying: end the program that has its port",
				"port", dht.Port, "err", err)
		}
		tried()
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(wait):
		}
	}
}

// setProblem returns what was there before.
func (h *hashTable) setProblem(problem string) (before string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, h.problem = h.problem, problem
	return before
}

// begun tells whether the table runs; if it does not yet, that is no problem.
func (h *hashTable) begun() bool {
	select {
	case <-h.tried:
		return h.stopped() == ""
	default:
		return false
	}
}

// stopped says why the table does not run; "" if it does, or will soon.
func (h *hashTable) stopped() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.problem
}

// publishAll publishes our node record, and what an earlier run left to us.
func (h *hashTable) publishAll(ctx context.Context) {
	p := h.nodePublication()
	h.shelf.put(&published{Publication: p})
	h.publishAgain(ctx, keyOf(p))
	for _, p := range h.shelf.all() {
		if p.name != "" {
			h.publishAgain(ctx, keyOf(p.Publication))
		}
	}
}

// tend judges the clock, and publishes again what gave way. Only this node has its key: a newer record is our own of an earlier life, or
// of a time when our clock was ahead, and what we say now is what holds.
func (h *hashTable) tend(ctx context.Context) {
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	trusted := clock.Plausible(time.Now())
	last := make(map[dht.Key]time.Time)
	waiting := make(map[dht.Key]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-h.superseded:
			if waiting[key] = time.Since(last[key]) < tendInterval; waiting[key] {
				continue // two nodes with one key, by mistake, must not fight
			}
			last[key] = time.Now()
			h.publishAgain(ctx, key)
		case <-ticker.C:
			if now := h.trusted(); now != trusted {
				trusted = now
				h.node.Do(ctx, func(at time.Time, d *dht.DHT) { d.SetClockTrusted(at, trusted) })
			}
			for key, wait := range waiting {
				if wait {
					last[key] = time.Now()
					h.publishAgain(ctx, key)
				}
			}
			clear(waiting)
		}
	}
}

func (h *hashTable) publishAgain(ctx context.Context, key dht.Key) {
	p, ok := h.shelf.get(key)
	if !ok {
		return
	}
	done, err := h.node.Publish(ctx, p)
	h.shelf.signed(key, done.Seq)
	if err != nil && ctx.Err() == nil {
		h.log.Debug("record not stored yet", "err", err) // the table tries again
		return
	}
	h.log.Debug("record stored", "seq", done.Seq, "nodes", done.Stored)
}
