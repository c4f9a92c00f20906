package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
)

// The methods below are control.DHT: what the owner of the node may ask the table.

func refused(format string, args ...any) error {
	return &control.Error{Code: control.BadRequest, Message: fmt.Sprintf(format, args...)}
}

// Status returns what our node of the table knows about itself.
func (h *hashTable) Status(ctx context.Context) (control.DHTStatus, error) {
	s, err := h.node.Status(ctx)
	if err != nil {
		return control.DHTStatus{}, err
	}
	counters, err := h.node.Counters(ctx)
	return control.DHTStatus{
		Mode: string(h.mode), Key: hex.EncodeToString(s.Key[:]), Nodes: s.Estimate, Contacts: s.Contacts,
		Siblings: s.Siblings, Known: s.Known, Graveyard: s.Graveyard, Records: s.Records, Bytes: s.Bytes,
		Published: s.Published, Lookups: s.Lookups, CutOff: s.CutOff, RTT: s.RTT, Counters: counters,
	}, err
}

// Get returns what a node has published under a name; no name means its node record.
func (h *hashTable) Get(ctx context.Context, node identity.NodeID, name string) (control.DHTRecord, error) {
	if len(name) > maxName {
		return control.DHTRecord{}, refused("name of %d octets: want at most %d", len(name), maxName)
	}
	typ, key, err := recordKey(node, name)
	if err != nil {
		return control.DHTRecord{}, refused("%v", err)
	}
	done, err := h.node.Get(ctx, typ, key)
	if err != nil {
		return control.DHTRecord{}, err
	}
	found := control.DHTRecord{Node: node, Name: name, Key: hex.EncodeToString(key[:]), Lookup: looked(done.Result)}
	if done.Record == nil {
		return found, nil
	}
	found.Found, found.Seq, found.Holders = true, done.Record.Seq, done.Holders
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

// Put publishes a value of ours under a name and keeps it published.
func (h *hashTable) Put(ctx context.Context, name string, value []byte) (control.DHTStored, error) {
	if len(name) < 1 || len(name) > maxName {
		return control.DHTStored{}, refused("name of %d octets: want 1 to %d", len(name), maxName)
	}
	if len(value) > maxValue {
		return control.DHTStored{}, refused("value of %d octets: want at most %d", len(value), maxValue)
	}
	p := publication(h.id, name, value)
	key := keyOf(p)
	h.mu.Lock()
	_, known := h.published[key]
	full := !known && len(h.published) >= maxPublished
	if !full {
		h.published[key] = p
	}
	h.mu.Unlock()
	if full {
		return control.DHTStored{}, &control.Error{
			Code:    control.Full,
			Message: fmt.Sprintf("%d records are published, the most there may be", maxPublished),
			Hint:    "use fewer names; a restart forgets them all",
		}
	}
	done, err := h.node.Publish(ctx, p)
	if err != nil && !errors.Is(err, dht.ErrNoNodes) {
		return control.DHTStored{}, err
	}
	return control.DHTStored{
		Node: h.id.NodeID(), Name: name, Key: hex.EncodeToString(key[:]), Seq: done.Seq,
		Stored: done.Stored, Of: done.Of, Read: done.Read, Lookup: looked(done.Result),
	}, nil
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
