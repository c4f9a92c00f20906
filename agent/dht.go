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
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
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

	mu        sync.Mutex
	published map[dht.Key]dht.Publication
}

const (
	tendInterval = time.Minute // how often the clock is judged; least time between two republications
	smallStore   = 1 << 20     // octets of others' records where memory is small
	smallRecords = 1024
	maxPublished = 64 // names of `dht put`, and the node record
)

// newHashTable returns nil if the table is switched off.
func newHashTable(id *identity.Identity, mode config.DHT, small bool, log *slog.Logger) *hashTable {
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
		ClockTrusted: plausible(time.Now()),
	}
	if small {
		cfg.MaxBytes, cfg.MaxRecords = smallStore, smallRecords
	}
	h := &hashTable{
		id: id, mode: mode, log: log, node: dht.NewNode(cfg, log),
		superseded: make(chan dht.Key, maxPublished), published: make(map[dht.Key]dht.Publication),
	}
	h.node.Superseded = func(s dht.Superseded) {
		select {
		case h.superseded <- s.Key:
		default: // so many at once are not ours to win
		}
	}
	return h
}

// plausible tells whether a clock can be right. A router without a clock battery
// starts years in the past.
func plausible(now time.Time) bool { return now.Year() >= 2026 && now.Year() < 2100 }

// run takes part in the table from when our mesh address is there until ctx ends;
// then what we hold for others is handed on, which needs the mesh for some seconds more.
func (h *hashTable) run(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: h.id.NodeID().Address().AsSlice(), Port: dht.Port})
	if err != nil {
		return fmt.Errorf("listening for the hash table: %w", err)
	}
	defer conn.Close()
	tendCtx, stop := context.WithCancel(ctx)
	var tender sync.WaitGroup
	tender.Go(func() { h.tend(tendCtx) })
	defer tender.Wait()
	defer stop()
	return h.node.Run(ctx, conn)
}

// tend publishes our node record, judges the clock, and publishes again what gave
// way. Only this node has its key: a newer record is our own of an earlier life, or
// of a time when our clock was ahead, and what we say now is what holds.
func (h *hashTable) tend(ctx context.Context) {
	h.publishAgain(ctx, h.add(h.nodePublication()))
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	trusted := plausible(time.Now())
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
			if now := plausible(time.Now()); now != trusted {
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

// add remembers a publication and returns its key.
func (h *hashTable) add(p dht.Publication) dht.Key {
	key := keyOf(p)
	h.mu.Lock()
	h.published[key] = p
	h.mu.Unlock()
	return key
}

func (h *hashTable) publishAgain(ctx context.Context, key dht.Key) {
	h.mu.Lock()
	p, ok := h.published[key]
	h.mu.Unlock()
	if !ok {
		return
	}
	done, err := h.node.Publish(ctx, p)
	if err != nil && ctx.Err() == nil {
		h.log.Debug("record not stored yet", "err", err) // the table tries again
		return
	}
	h.log.Debug("record stored", "seq", done.Seq, "nodes", done.Stored)
}
