package visit

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/stream"
)

func newID(t *testing.T) identity.NodeID {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id.NodeID()
}

func TestLookup(t *testing.T) {
	cheese, address := newID(t), newID(t)
	names := map[string]identity.NodeID{"cheese": cheese, address.String(): cheese, "old.shop": cheese}
	v := New(Config{Names: func(name string) (identity.NodeID, bool) {
		id, ok := names[name]
		return id, ok
	}})
	plain := New(Config{})
	for _, tt := range []struct {
		v    *Visitor
		name string
		want identity.NodeID // zero: nothing
	}{
		{v, "cheese", cheese},
		{v, "www.cheese", cheese},
		{v, "old.shop", cheese},
		{v, "a.b.old.shop", cheese},
		{v, "shop", identity.NodeID{}},
		{v, address.String(), cheese}, // the owner's names beat all others
		{plain, address.String(), address},
		{plain, "www." + address.String(), address},
		{plain, "a.b." + address.String(), address},
		{plain, address.String() + ".cheese", identity.NodeID{}},
		{plain, "cheese", identity.NodeID{}},
		{plain, "", identity.NodeID{}},
		{plain, ".", identity.NodeID{}},
		{plain, address.String()[:55], identity.NodeID{}},
	} {
		got, ok := tt.v.lookup(tt.name)
		if ok != (tt.want != identity.NodeID{}) || ok && got != tt.want {
			t.Errorf("%q: %s, %v", tt.name, got.Short(), ok)
		}
	}
}

// What went wrong is told in words, and as the reason of a stream.
func TestExplain(t *testing.T) {
	id := newID(t)
	for _, tt := range []struct {
		err  error
		want cell.EndReason
	}{
		{desc.ErrNeedsAuthorisation, cell.EndNeedsKey},
		{fmt.Errorf("wrapped: %w", desc.ErrNotAuthorised), cell.EndWrongKey},
		{service.ErrNotFound, cell.EndUnreachable},
		{fmt.Errorf("%w: %w", errNoPoint, errSilent), cell.EndUnreachable},
		{errors.Join(context.DeadlineExceeded, errSilent), cell.EndTimeout},
		{client.ErrFull, cell.EndResource},
		{fmt.Errorf("%w: %w", errNoPoint, &stream.EndError{Reason: cell.EndCircuit}), cell.EndUnreachable},
	} {
		err := explain(id, tt.err)
		var end *stream.EndError
		if !errors.As(err, &end) || end.Reason != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
	if err := explain(id, context.Canceled); err != context.Canceled {
		t.Errorf("who leaves is told %v", err)
	}
}

// Services that were visited are forgotten when there are too many, the longest unused first.
func TestKnownServicesAreBounded(t *testing.T) {
	v := New(Config{})
	first := visited{service: newID(t)}
	v.door(first)
	second := visited{service: newID(t)}
	v.door(second)
	for i := range maxKnown - 2 {
		v.door(visited{who: client.Isolation{Listener: fmt.Sprint(i)}})
	}
	v.door(first)
	v.door(visited{service: newID(t)})
	if len(v.known) != maxKnown || v.known[first] == nil || v.known[second] != nil {
		t.Errorf("%d services are known; used lately: %v, long ago: %v", len(v.known), v.known[first] != nil, v.known[second] != nil)
	}
}
