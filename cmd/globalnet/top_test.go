package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

func TestRound(t *testing.T) {
	neighbour := func(n byte, rx, tx uint64) mesh.Neighbour {
		return mesh.Neighbour{Node: identity.NodeID{n}, State: "up", RxBytes: rx, TxBytes: tx}
	}
	before := mesh.Status{Neighbours: []mesh.Neighbour{neighbour(1, 1000, 0), neighbour(2, 5000, 5000)}}
	now := mesh.Status{Neighbours: []mesh.Neighbour{neighbour(1, 3000, 10), neighbour(2, 40, 60), neighbour(3, 0, 8000)}}
	r := round(&before, now, 2*time.Second)
	want := []topRow{
		{Node: identity.NodeID{3}, Tx: 4000}, // new: all that it carried
		{Node: identity.NodeID{1}, Rx: 1000, Tx: 5},
		{Node: identity.NodeID{2}, Rx: 20, Tx: 30}, // began anew
	}
	for i, row := range r.Links {
		row.State = ""
		if row != want[i] {
			t.Errorf("row %d is %+v, want %+v", i, row, want[i])
		}
	}
	for _, row := range round(nil, now, time.Hour).Links {
		if row.Rx != 0 || row.Tx != 0 {
			t.Errorf("a rate without a state before: %+v", row)
		}
	}
}

func TestRoundPrinted(t *testing.T) {
	var out bytes.Buffer
	r := round(nil, working(), 0)
	r.Onion = &control.OnionStatus{Relays: 5, Ready: 1, Used: 1, Carried: 7}
	r.LAN = &control.LANStatus{Networks: []control.LANNetwork{{}}, Streams: 3}
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"is working", "5 relays, 2 circuits of ours, 7 carried", "3 streams", "IN/S"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestTopEnds(t *testing.T) {
	if code, _, errs := globalnet(t, "top", "--interval", "1ms"); code != exitUsage || !strings.Contains(errs, "200ms") {
		t.Errorf("%d %s", code, errs)
	}
	f := &fakeAgent{status: working()}
	f.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs bytes.Buffer
	out := stopWriter{stop: cancel}
	if code := run(ctx, []string{"top", "--json", "--interval", "200ms"}, &out, &errs); code != exitOK {
		t.Errorf("%d %s", code, &errs)
	}
	var r topRound
	if err := json.NewDecoder(&out).Decode(&r); err != nil || r.Verdict != "working" {
		t.Errorf("%v %+v", err, r)
	}
}

// stopWriter ends a command once it has written.
type stopWriter struct {
	bytes.Buffer
	stop func()
}

func (w *stopWriter) Write(b []byte) (int, error) {
	defer w.stop()
	return w.Buffer.Write(b)
}
