package proxy

import (
	"context"
	"sync"
	"time"

	"globalnet/mesh/dht"
)

// Limits bound what a proxy does for all others together: a request of some octets
// makes it send some twenty datagrams. A put counts as four gets.
type Limits struct {
	PerSecond int // gets; zero: 10
	Burst     int // zero: 60
	AtOnce    int // zero: 32
}

// Limited returns a table that refuses with ErrBusy what is above the limits.
func Limited(table Table, l Limits) Table {
	if l.PerSecond <= 0 {
		l.PerSecond = 10
	}
	if l.Burst <= 0 {
		l.Burst = 60
	}
	if l.AtOnce <= 0 {
		l.AtOnce = 32
	}
	return &limited{table: table, limits: l}
}

const putCost = 4

type limited struct {
	table  Table
	limits Limits

	mu   sync.Mutex
	full time.Time // when the whole burst will be there again
	busy int
}

// enter takes a place and cost out of the rate.
func (t *limited) enter(cost int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	step := time.Second / time.Duration(t.limits.PerSecond)
	now := time.Now()
	at := t.full
	if at.Before(now) {
		at = now
	}
	at = at.Add(time.Duration(cost) * step)
	if t.busy >= t.limits.AtOnce || at.Sub(now) > time.Duration(t.limits.Burst)*step {
		return false
	}
	t.full = at
	t.busy++
	return true
}

func (t *limited) leave() {
	t.mu.Lock()
	t.busy--
	t.mu.Unlock()
}

func (t *limited) Get(ctx context.Context, typ uint16, key dht.Key) (dht.GetDone, error) {
	if !t.enter(1) {
		return dht.GetDone{}, ErrBusy
	}
	defer t.leave()
	return t.table.Get(ctx, typ, key)
}

func (t *limited) Put(ctx context.Context, r *dht.Record, o dht.PutOptions) (dht.PutDone, error) {
	if !t.enter(putCost) {
		return dht.PutDone{}, ErrBusy
	}
	defer t.leave()
	return t.table.Put(ctx, r, o)
}
