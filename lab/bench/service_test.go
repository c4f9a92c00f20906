package bench

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"globalnet/lab/onionlab"
)

// All that clients of a service see is measured, and makes a row each: here behind a
// proxy without an onion, at a service that is not there the first time.
func TestMeasureService(t *testing.T) {
	server := loopback(t)
	t.Cleanup(onionlab.Serve(server))
	gone := loopback(t)
	gone.Close()
	u := &user{do: func(f func() error) error { return f() }, proxy: direct(t)}
	offers := 0
	var asked []bool
	s := &servicing{name: "x", u: u,
		offer: func(context.Context) (string, error) {
			offers++
			return server.Addr().String(), nil
		},
		fresh: func(_ context.Context, cached bool) (string, error) {
			asked = append(asked, cached)
			return "y", nil
		}}
	p := servicePlan{offers: 2, cold: 2, warm: 1, streams: 3, rounds: 2, requests: 60, down: 1e6}
	m, err := s.measure(t.Context(), Env{Progress: io.Discard}, p)
	if err != nil {
		t.Fatal(err)
	}
	if offers != 2 || !slices.Equal(asked, []bool{false, false, true}) {
		t.Errorf("%d offers, then asked for %v", offers, asked)
	}
	rows := comparedServices("x", m)
	if len(rows) != 8 {
		t.Errorf("rows %+v", rows)
	}
	for _, r := range rows {
		if r.Value <= 0 {
			t.Errorf("row %+v", r)
		}
	}
	// A service that never answers is an error, not a time.
	u.server = gone.Addr().String()
	if _, failed, err := s.connects(t.Context(), 1, true); err == nil || failed != 1 {
		t.Errorf("nobody listens: %d failed, %v", failed, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.offer = func(context.Context) (string, error) {
		cancel(errors.New("enough"))
		return gone.Addr().String(), nil
	}
	if _, err := s.firstVisit(ctx); err == nil {
		t.Error("a first visit where nobody listens")
	}
}
