package visit

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
)

const (
	// A descriptor is good for as long as its introduction points are; who holds it for
	// longer than this looks whether there is a new one.
	descriptorAge = 30 * time.Minute
	hedge         = 400 * time.Millisecond // until the other replica is asked as well
	findTime      = 40 * time.Second
)

// descriptors returns those of the service that are known or, with fresh, that are
// there now, and their period.
func (d *door) descriptors(ctx context.Context, fresh bool) ([]*desc.Opened, uint64, error) {
	d.mu.Lock()
	list, period := d.descs, d.period
	good := len(list) > 0 && time.Since(d.got) < descriptorAge
	d.mu.Unlock()
	if good && !fresh {
		return list, period, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	first, period, err := d.find(ctx)
	if err != nil {
		return nil, 0, err
	}
	list = []*desc.Opened{first}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.descs, d.period, d.got = list, period, time.Now()
	return list, period, nil
}

// find returns a descriptor: of slot 0 in this period, or in those beside it, or of the
// other slots.
func (d *door) find(ctx context.Context) (*desc.Opened, uint64, error) {
	periods := key.Periods(d.service, d.v.cfg.Now())
	found, err := d.readSlot(ctx, periods[0], 0)
	if found != nil || !errors.Is(err, service.ErrNotFound) {
		return found, periods[0], err
	}
	type result struct {
		found  *desc.Opened
		period uint64
		err    error
	}
	first := func(n int, read func(i int) result) (best result) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan result, n)
		for i := range n {
			go func() { results <- read(i) }()
		}
		for range n {
			select {
			case r := <-results:
				if r.found != nil {
					return r
				}
				if best.err == nil || errors.Is(best.err, service.ErrNotFound) {
					best.err = r.err
				}
			case <-ctx.Done():
				return result{err: context.Cause(ctx)}
			}
		}
		return best
	}
	others := periods[1:]
	r := first(len(others), func(i int) result {
		found, err := d.readSlot(ctx, others[i], 0)
		return result{found, others[i], err}
	})
	if r.found == nil && errors.Is(r.err, service.ErrNotFound) {
		slots := desc.Slots(0, nil)
		r = first(len(slots), func(i int) result {
			found, err := d.readSlot(ctx, periods[0], slots[i])
			return result{found, periods[0], err}
		})
	}
	return r.found, r.period, r.err
}

// more reads the other slots: those that a descriptor names, or, as the machine that
// wrote it may be gone for long, all.
func (d *door) more(ctx context.Context, list []*desc.Opened, period uint64, all bool) []*desc.Opened {
	slots := desc.Slots(0, list[0])
	if all {
		slots = desc.Slots(0, nil)
	}
	if len(list) > 1 || len(slots) == 0 {
		return list
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, slot := range slots {
		group.Go(func() {
			if found, err := d.readSlot(ctx, period, slot); err == nil {
				mu.Lock()
				defer mu.Unlock()
				list = append(list[:len(list):len(list)], found)
			}
		})
	}
	group.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.descs = list
	return list
}

// readSlot reads one replica and, if it is late or not there, the other.
func (d *door) readSlot(ctx context.Context, period uint64, slot uint8) (*desc.Opened, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		found *desc.Opened
		err   error
	}
	results := make(chan result, key.Replicas)
	replica := uint8(rand.IntN(key.Replicas))
	read := func() {
		at := key.Place{Period: period, Slot: slot, Replica: replica}
		replica = (replica + 1) % key.Replicas
		go func() {
			found, err := d.read(ctx, at)
			results <- result{found, err}
		}()
	}
	read()
	asked, answered := 1, 0
	late := time.NewTimer(hedge)
	defer late.Stop()
	var last error
	for {
		select {
		case <-late.C:
		case r := <-results:
			if answered++; r.err == nil {
				return r.found, nil
			}
			// That it is not there says less than that we may not read it.
			if last == nil || errors.Is(last, service.ErrNotFound) {
				last = r.err
			}
			if answered == key.Replicas {
				return nil, last
			}
		}
		if asked < key.Replicas {
			asked++
			read()
		}
	}
}

// read reads one place.
func (d *door) read(ctx context.Context, at key.Place) (*desc.Opened, error) {
	value, err := d.v.places.Get(ctx, client.Want{Stub: true}, d.service, at, at.Slot == 0)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	least := d.least[at]
	d.mu.Unlock()
	found, err := desc.Open(value, d.service, at, d.v.keyFor(d.service), least)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for old := range d.least {
		if old.Period+2 < at.Period {
			delete(d.least, old)
		}
	}
	d.least[at] = max(d.least[at], found.Revision)
	return found, nil
}
