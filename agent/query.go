package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/proxy"
)

// The methods below are control.DHT: what the owner of the node may ask the table.

func refused(format string, args ...any) error {
	return &control.Error{Code: control.BadRequest, Message: fmt.Sprintf(format, args...)}
}

// running waits until the table begins, and returns an error while it cannot.
func (h *hashTable) running(ctx context.Context) error {
	select {
	case <-h.tried:
	case <-ctx.Done():
		return ctx.Err()
	}
	problem := h.stopped()
	if problem == "" {
		return nil
	}
	return &control.Error{
		Code: control.NotRunning, Message: "the hash table does not run: " + problem,
		Hint: fmt.Sprintf("see who has the port with `ss -lunp sport = :%d` and end it; the agent goes on trying", dht.Port),
	}
}

// Status returns what our node of the table knows about itself.
func (h *hashTable) Status(ctx context.Context) (control.DHTStatus, error) {
	if h.running(ctx) != nil {
		problem := cmp.Or(h.stopped(), "it is starting")
		key := dht.NodeKey(h.id.NodeID().Address())
		return control.DHTStatus{Mode: string(h.mode), Key: hex.EncodeToString(key[:]), Problem: problem}, nil
	}
	s, err := h.node.Status(ctx)
	if err != nil {
		return control.DHTStatus{}, err
	}
	counters, err := h.node.Counters(ctx)
	return control.DHTStatus{
		Mode: string(h.mode), Key: hex.EncodeToString(s.Key[:]), Nodes: s.Estimate, Contacts: s.Contacts,
		Siblings: s.Siblings, Known: s.Known, Graveyard: s.Graveyard, Records: s.Records, Bytes: s.Bytes,
		Published: s.Published, Lookups: s.Lookups, CutOff: s.CutOff, RTT: s.RTT, Counters: counters,
		MedianAge: s.MedianAge, Republish: s.Republish,
	}, err
}

// Get returns what a node has published under a name; no name means its node record.
// Hidden has a relay ask, so that who holds the record does not see who wants it.
func (h *hashTable) Get(ctx context.Context, node identity.NodeID, name string, hidden bool) (control.DHTRecord, error) {
	if len(name) > maxName {
		return control.DHTRecord{}, refused("name of %d octets: want at most %d", len(name), maxName)
	}
	typ, key, err := recordKey(node, name)
	if err != nil {
		return control.DHTRecord{}, refused("%v", err)
	}
	if err := h.running(ctx); err != nil {
		return control.DHTRecord{}, err
	}
	get := h.node.Get
	if hidden {
		get = h.getHidden
	}
	done, err := get(ctx, typ, key)
	if err != nil {
		return control.DHTRecord{}, err
	}
	found := control.DHTRecord{Node: node, Name: name, Key: hex.EncodeToString(key[:]), Lookup: looked(done.Result)}
	if done.Record == nil {
		return found, nil
	}
	found.Seq, found.Holders = done.Record.Seq, done.Holders
	if found.Withdrawn = len(done.Record.Value) == 0; found.Withdrawn {
		return found, nil
	}
	found.Found = true
	if found.Value, err = dht.Open(node[:], key, done.Record.Value); err != nil {
		return found, err
	}
	if typ != dht.TypeNode {
		return found, nil
	}
	r, err := dht.ParseNodeRecord(found.Value)
	if err != nil {
		return found, err
	}
	found.NodeRecord = &control.DHTNodeRecord{Roles: roles(r.Roles), Addresses: r.Addresses}
	return found, nil
}

// getHidden asks through circuits, two relays if the first one finds nothing: a relay
// may lie about that, but not about a record.
func (h *hashTable) getHidden(ctx context.Context, typ uint16, key dht.Key) (dht.GetDone, error) {
	if h.askTable == nil {
		return dht.GetDone{}, &control.Error{Code: control.BadRequest, Message: "there is no onion to ask through", Hint: "leave --onion out, or switch the onion on"}
	}
	done := dht.GetDone{Result: dht.LookupResult{Key: key}}
	missing := 0
	err := h.askTable(ctx, func(ctx context.Context, conn net.Conn) (bool, error) {
		r, err := proxy.Get(ctx, conn, typ, key)
		if errors.Is(err, proxy.ErrNotFound) {
			missing++
			return missing == 2, err
		}
		done.Record = r
		return err == nil, err
	})
	if missing > 0 && errors.Is(err, proxy.ErrNotFound) {
		err = nil
	}
	return done, err
}

func roles(bits uint16) []string {
	list := []string{}
	for _, r := range []struct {
		bit  uint16
		name string
	}{{dht.RoleRelay, "relay"}, {dht.RoleExit, "exit"}, {dht.RoleStore, "store"}} {
		if bits&r.bit != 0 {
			list = append(list, r.name)
		}
	}
	return list
}

// Put publishes a value of ours under a name and keeps it published, after a restart
// too.
func (h *hashTable) Put(ctx context.Context, name string, value []byte) (control.DHTStored, error) {
	if err := checkName(name); err != nil {
		return control.DHTStored{}, err
	}
	if len(value) > maxValue {
		return control.DHTStored{}, refused("value of %d octets: want at most %d", len(value), maxValue)
	}
	return h.store(ctx, h.shelf.item(name, value, false))
}

// Withdraw says to all who hold the value of a name, or read it, that it is gone.
func (h *hashTable) Withdraw(ctx context.Context, name string) (control.DHTStored, error) {
	if err := checkName(name); err != nil {
		return control.DHTStored{}, err
	}
	return h.store(ctx, h.shelf.item(name, nil, true))
}

func checkName(name string) error {
	if len(name) < 1 || len(name) > maxName {
		return refused("name of %d octets: want 1 to %d", len(name), maxName)
	}
	return nil
}

func (h *hashTable) store(ctx context.Context, p *published) (control.DHTStored, error) {
	if err := h.running(ctx); err != nil {
		return control.DHTStored{}, err
	}
	if !h.shelf.put(p) {
		return control.DHTStored{}, &control.Error{
			Code:    control.Full,
			Message: fmt.Sprintf("a node publishes at most %d names and %d octets of values", maxPublished-1, maxKept),
			Hint:    "`globalnet dht list` shows the names; `globalnet dht withdraw NAME` makes room",
		}
	}
	defer h.shelf.save(false)
	key := keyOf(p.Publication)
	current, _ := h.shelf.get(key)
	done, err := h.node.Publish(ctx, current)
	h.shelf.signed(key, done.Seq)
	if err != nil && !errors.Is(err, dht.ErrNoNodes) {
		return control.DHTStored{}, err
	}
	return control.DHTStored{
		Node: h.id.NodeID(), Name: p.name, Key: hex.EncodeToString(key[:]), Seq: done.Seq,
		Stored: done.Stored, Of: done.Of, Read: done.Read, Lookup: looked(done.Result),
	}, nil
}

// List returns what is published by names.
func (h *hashTable) List(ctx context.Context) ([]control.DHTPublished, error) {
	rounds := make(map[dht.Key]dht.Published)
	if h.begun() {
		list, err := h.node.Publications(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			rounds[r.Key] = r
		}
	}
	var names []control.DHTPublished
	for _, p := range h.shelf.all() {
		if p.name == "" || !p.withdrawn.IsZero() {
			continue
		}
		r := rounds[keyOf(p.Publication)]
		names = append(names, control.DHTPublished{
			Name: p.name, Size: len(p.value), Seq: max(p.Seq, r.Seq), Stored: r.Stored, Of: r.Of,
		})
	}
	return names, nil
}

// Lookup finds the nodes closest to a key, or to a node.
func (h *hashTable) Lookup(ctx context.Context, target string) (control.DHTLookup, error) {
	var key dht.Key
	if raw, err := hex.DecodeString(target); err == nil && len(raw) == len(key) {
		copy(key[:], raw)
	} else {
		node, err := identity.ParseNodeID(target)
		if err != nil {
			return control.DHTLookup{}, refused("neither a key of 64 hexadecimal digits nor a node: %v", err)
		}
		key = dht.NodeKey(node.Address())
	}
	if err := h.running(ctx); err != nil {
		return control.DHTLookup{}, err
	}
	done, err := h.node.Lookup(ctx, key)
	return looked(done.Result), err
}

func looked(r dht.LookupResult) control.DHTLookup {
	l := control.DHTLookup{
		Key: hex.EncodeToString(r.Key[:]), Closest: r.Closest, Requests: r.Requests,
		Elapsed: max(r.Elapsed, 0), Suspicious: r.Suspicious,
	}
	for _, hop := range r.Path {
		x := control.DHTHop{Node: hop.Node, Path: hop.Path, Prefix: hop.Prefix, RTT: max(hop.RTT, time.Duration(0)), Outcome: hop.Outcome, Seq: hop.Seq}
		if hop.From.IsValid() {
			x.From = hop.From.String()
		}
		l.Path = append(l.Path, x)
	}
	return l
}
