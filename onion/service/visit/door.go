package visit

import (
	"context"
	"errors"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/stream"
)

// door is a service as one isolation reaches it.
type door struct {
	v       *Visitor
	service identity.NodeID

	mu      sync.Mutex
	used    time.Time // last
	current *meeting  // that takes new streams; nil: none
	old     []*meeting
	attempt *attempt
	missing error // what was found out at
	missed  time.Time

	descs  []*desc.Opened // cached
	period uint64         // theirs
	got    time.Time
	least  map[key.Place]uint64 // revisions seen
	harder uint32               // effort that was not enough
}

// meeting is a circuit that is joined to one of the service.
type meeting struct {
	held  *client.Held
	epoch uint64
	since time.Time
	idle  time.Time // since when there are no streams
	watch bool      // a stream of it is watched
}

// silence is for how long nothing may come back on a circuit after a stream was opened
// before new ones go by another: some relay may have gone without a word. Some round
// trips are added where they are long.
const silence = time.Second

// watch looks whether a stream gets an answer; one of a meeting at a time.
func (d *door) watch(m *meeting, s *stream.Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.watch {
		return
	}
	m.watch = true
	before, _ := m.held.Circuit().Bytes()
	rtt, _ := m.held.Circuit().RTT()
	time.AfterFunc(silence+4*rtt, func() {
		d.mu.Lock()
		m.watch = false
		d.mu.Unlock()
		if received, _ := m.held.Circuit().Bytes(); received != before {
			return
		}
		select {
		case <-s.Ended():
		default:
			d.leave(m)
		}
	})
}

func (m *meeting) alive() bool { return m.held.Circuit().Err() == nil }

// attempt is a meeting that is being arranged. Whoever wants the same waits.
type attempt struct {
	done  chan struct{}
	epoch uint64
	m     *meeting
	err   error // set before done is closed
}

func (d *door) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used = time.Now()
}

func (d *door) lastUse() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// forget drops what was found out about the service; circuits stay.
func (d *door) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.descs, d.missing = nil, nil
}

// meeting returns a circuit to the service: one that is there, or a new one.
func (d *door) meeting(ctx context.Context) (*meeting, error) {
	epoch := d.v.client.Epoch()
	d.mu.Lock()
	if m := d.current; m != nil {
		if m.epoch == epoch && m.alive() && time.Since(m.since) < dirtyTime {
			d.mu.Unlock()
			return m, nil
		}
		if m.epoch != epoch { // a new identity knows nothing
			d.descs, d.missing = nil, nil
		}
		d.old, d.current = append(d.old, m), nil
	}
	if d.missing != nil && time.Since(d.missed) < missingTime {
		err := d.missing
		d.mu.Unlock()
		return nil, err
	}
	a := d.attempt
	if a == nil || a.epoch != epoch {
		a = &attempt{done: make(chan struct{}), epoch: epoch}
		d.attempt = a
		if !d.v.start(func(ctx context.Context) { d.arrange(ctx, a) }) {
			d.attempt = nil
			d.mu.Unlock()
			return nil, client.ErrStopped
		}
	}
	d.mu.Unlock()
	select {
	case <-a.done:
		return a.m, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// arrange makes a meeting for all that wait for it.
func (d *door) arrange(ctx context.Context, a *attempt) {
	held, err := d.meet(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attempt == a {
		d.attempt = nil
	}
	if err == nil {
		a.m = &meeting{held: held, epoch: a.epoch, since: time.Now()}
		if d.current != nil {
			d.old = append(d.old, d.current)
		}
		d.current = a.m
		d.missing = nil
	} else if errors.Is(err, service.ErrNotFound) || errors.Is(err, desc.ErrNeedsAuthorisation) || errors.Is(err, desc.ErrNotAuthorised) {
		d.missing, d.missed = err, time.Now()
	}
	a.err = err
	close(a.done)
}

// leave has no new streams go by m.
func (d *door) leave(m *meeting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == m {
		d.current = nil
		d.old = append(d.old, m)
	}
}

// retire has no new streams go by what there is; what is open stays.
func (d *door) retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		d.old = append(d.old, d.current)
		d.current = nil
	}
	old := d.old
	if len(old) > 0 {
		d.v.tasks.Go(func() { d.outlast(old) })
	}
}

// outlast closes circuits of a door that is forgotten, each when its streams are over.
func (d *door) outlast(list []*meeting) {
	for _, m := range list {
		for m.alive() && m.held.Circuit().Streams() > 0 {
			d.v.mu.Lock()
			stopped := d.v.ctx == nil || d.v.ctx.Err() != nil
			d.v.mu.Unlock()
			if stopped {
				break
			}
			select {
			case <-m.held.Circuit().Done():
			case <-time.After(time.Second):
			}
		}
		m.held.Close()
	}
}

// close closes all circuits.
func (d *door) close() {
	d.mu.Lock()
	list := d.old
	if d.current != nil {
		list = append(list, d.current)
	}
	d.old, d.current = nil, nil
	d.mu.Unlock()
	for _, m := range list {
		m.held.Close()
	}
}

// tend closes circuits that served their time, and reports whether none is left.
func (d *door) tend(now time.Time) bool {
	epoch := d.v.client.Epoch()
	var over []*meeting
	d.mu.Lock()
	if m := d.current; m != nil && (m.epoch != epoch || now.Sub(m.since) > dirtyTime || !m.alive()) {
		d.old, d.current = append(d.old, m), nil
	}
	if m := d.current; m != nil && m.quiet(now) > idleTime {
		over, d.current = append(over, m), nil
	}
	var kept []*meeting
	for _, m := range d.old {
		if m.held.Circuit().Streams() == 0 || !m.alive() {
			over = append(over, m)
		} else {
			kept = append(kept, m)
		}
	}
	d.old = kept
	none := d.current == nil && len(d.old) == 0 && d.attempt == nil
	d.mu.Unlock()
	for _, m := range over {
		m.held.Close()
	}
	return none
}

// quiet returns for how long there have been no streams.
func (m *meeting) quiet(now time.Time) time.Duration {
	if m.held.Circuit().Streams() > 0 {
		m.idle = time.Time{}
		return 0
	}
	if m.idle.IsZero() {
		m.idle = now
	}
	return now.Sub(m.idle)
}
