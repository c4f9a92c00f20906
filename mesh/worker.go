package mesh

import (
	"context"
	"net/netip"
	"sync"
)

// worker makes the calls to the kernel, one at a time and in order, so that the
// loop never waits for one. Routes are desired state: of several changes to one
// destination only the last is made, so what is pending is bounded by the table.
type worker struct {
	kernel Kernel
	wake   chan struct{}

	mu     sync.Mutex
	jobs   []func(ctx context.Context, k Kernel)
	routes map[netip.Prefix]*Route // nil: remove
	failed func(dst netip.Prefix, err error)
}

func newWorker(k Kernel) *worker {
	return &worker{
		kernel: k,
		wake:   make(chan struct{}, 1),
		routes: make(map[netip.Prefix]*Route),
		failed: func(netip.Prefix, error) {},
	}
}

// submit queues a job. Jobs come from neighbours' sessions and the loop's own
// timers, which bound their number.
func (w *worker) submit(job func(ctx context.Context, k Kernel)) {
	w.mu.Lock()
	w.jobs = append(w.jobs, job)
	w.mu.Unlock()
	w.poke()
}

// call queues a job and waits for its result.
func (w *worker) call(ctx context.Context, job func(ctx context.Context, k Kernel) error) error {
	result := make(chan error, 1)
	w.submit(func(ctx context.Context, k Kernel) { result <- job(ctx, k) })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// setRoute says what the route to dst is to be; nil removes it.
func (w *worker) setRoute(dst netip.Prefix, r *Route) {
	w.mu.Lock()
	w.routes[dst] = r
	w.mu.Unlock()
	w.poke()
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends. What is queued then is dropped: Kernel.Cleanup follows.
func (w *worker) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for ctx.Err() == nil && w.step(ctx) {
		}
	}
}

// step makes one call, routes first: they are what traffic waits for.
func (w *worker) step(ctx context.Context) bool {
	w.mu.Lock()
	for dst, r := range w.routes {
		delete(w.routes, dst)
		w.mu.Unlock()
		var err error
		if r != nil {
			err = w.kernel.ReplaceRoute(ctx, *r)
		} else {
			err = w.kernel.RemoveRoute(ctx, dst)
		}
		if err != nil {
			w.failed(dst, err)
		}
		return true
	}
	if len(w.jobs) == 0 {
		w.jobs = nil
		w.mu.Unlock()
		return false
	}
	job := w.jobs[0]
	w.jobs[0] = nil
	w.jobs = w.jobs[1:]
	w.mu.Unlock()
	job(ctx, w.kernel)
	return true
}
