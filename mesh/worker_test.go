package mesh

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// recordingKernel notes calls; only what the worker calls is there.
type recordingKernel struct {
	Kernel
	mu    sync.Mutex
	calls []string
	gate  chan struct{} // each call waits for it, if set
}

func (k *recordingKernel) note(s string) error {
	if k.gate != nil {
		<-k.gate
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, s)
	return nil
}

func (k *recordingKernel) ReplaceRoute(_ context.Context, r Route) error {
	return k.note("replace " + r.Destination.String() + " " + r.Ifname)
}

func (k *recordingKernel) RemoveRoute(_ context.Context, dst netip.Prefix) error {
	return k.note("remove " + dst.String())
}

func TestWorkerKeepsOnlyTheLastRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &recordingKernel{gate: make(chan struct{})}
		w := newWorker(k)
		ctx, cancel := context.WithCancel(t.Context())
		go w.run(ctx)

		blocker := netip.MustParsePrefix("fd47:4e45::1/128")
		dst := netip.MustParsePrefix("fd47:4e45::2/128")
		w.setRoute(blocker, nil)
		synctest.Wait() // the worker is inside this call
		for range 1000 {
			w.setRoute(dst, &Route{Destination: dst, Ifname: "gn-a"})
			w.setRoute(dst, nil)
		}
		w.setRoute(dst, &Route{Destination: dst, Ifname: "gn-b"})
		close(k.gate)
		synctest.Wait()
		want := []string{"remove fd47:4e45::1/128", "replace fd47:4e45::2/128 gn-b"}
		if !slices.Equal(k.calls, want) {
			t.Errorf("calls are %q, want %q", k.calls, want)
		}
		cancel()
		synctest.Wait()
	})
}

func TestWorkerKeepsJobsInOrderAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(&recordingKernel{})
		ctx, cancel := context.WithCancel(t.Context())
		var got []int
		for i := range 5 {
			w.submit(func(context.Context, Kernel) { got = append(got, i) })
		}
		go w.run(ctx)
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("order is %v, want %v", got, want)
		}
		cancel()
		synctest.Wait()
		// A call after the end must not hang its caller for ever.
		if err := w.call(ctx, func(context.Context, Kernel) error { return nil }); err == nil {
			t.Error("a call to a worker that has ended returned no error")
		}
	})
}
