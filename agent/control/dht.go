package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"globalnet/internal/identity"
)

// DHT is the hash table as the API shows it. An *Error it returns is passed on.
type DHT interface {
	Status(ctx context.Context) (DHTStatus, error)
	// Get returns what a node published under a name; no name means its node record.
	// Hidden has a relay at the end of a circuit ask.
	Get(ctx context.Context, node identity.NodeID, name string, hidden bool) (DHTRecord, error)
	// Put publishes a value of this node under a name and keeps it published.
	Put(ctx context.Context, name string, value []byte) (DHTStored, error)
	// Withdraw says to everybody that the value of a name is gone.
	Withdraw(ctx context.Context, name string) (DHTStored, error)
	// List returns the names under which this node publishes.
	List(ctx context.Context) ([]DHTPublished, error)
	// Lookup finds the nodes closest to a key in hexadecimal, or to a NodeID.
	Lookup(ctx context.Context, target string) (DHTLookup, error)
}

// DHTStatus is what our node of the hash table knows about itself.
type DHTStatus struct {
	Mode      string            `json:"mode"` // "full" or "client"
	Key       string            `json:"key"`  // our place
	Nodes     int               `json:"nodes"`
	Contacts  int               `json:"contacts"`
	Siblings  int               `json:"siblings"`
	Known     int               `json:"known"`
	Graveyard int               `json:"graveyard"`
	Records   int               `json:"records"`
	Bytes     int               `json:"bytes"`
	Published int               `json:"published"`
	Lookups   int               `json:"lookups"`
	CutOff    bool              `json:"cut_off"`
	RTT       time.Duration     `json:"rtt_ns"`
	MedianAge time.Duration     `json:"median_age_ns"` // for how long half of the contacts have been there
	Republish time.Duration     `json:"republish_ns"`  // how often what is ours is published again
	Counters  map[string]uint64 `json:"counters"`
	Problem   string            `json:"problem,omitempty"` // why it does not run; the rest is empty then
}

// DHTRecord is what was found.
type DHTRecord struct {
	Found      bool            `json:"found"`
	Withdrawn  bool            `json:"withdrawn"` // there was one; its owner took it back
	Node       identity.NodeID `json:"node"`
	Name       string          `json:"name"`
	Key        string          `json:"key"`
	Seq        uint64          `json:"seq"`
	Holders    int             `json:"holders"` // that answered with this version
	Value      []byte          `json:"value"`   // base64
	NodeRecord *DHTNodeRecord  `json:"node_record,omitempty"`
	Lookup     DHTLookup       `json:"lookup"`
}

// DHTNodeRecord is what a node says of itself.
type DHTNodeRecord struct {
	Roles     []string     `json:"roles"`
	Addresses []netip.Addr `json:"addresses"`
}

// DHTStored says where a value is stored.
type DHTStored struct {
	Node   identity.NodeID `json:"node"`
	Name   string          `json:"name"`
	Key    string          `json:"key"`
	Seq    uint64          `json:"seq"`
	Stored int             `json:"stored"` // nodes that keep it
	Of     int             `json:"of"`     // nodes that should
	Read   int             `json:"read"`   // of them, how many showed it to a second lookup
	Lookup DHTLookup       `json:"lookup"`
}

// DHTPublished is a name under which this node publishes a value.
type DHTPublished struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	Seq    uint64 `json:"seq"`    // zero: not signed yet
	Stored int    `json:"stored"` // nodes that kept it in the last round
	Of     int    `json:"of"`
}

// DHTLookup tells how a lookup went.
type DHTLookup struct {
	Key        string        `json:"key"`
	Closest    []netip.Addr  `json:"closest"` // that answered, the closest first
	Requests   int           `json:"requests"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	Suspicious bool          `json:"suspicious"` // the closest are too close together to be honest
	Path       []DHTHop      `json:"path"`       // all that were asked, in that order
}

// DHTHop is a node that a lookup asked.
type DHTHop struct {
	Node    netip.Addr    `json:"node"`
	From    string        `json:"from,omitempty"` // who named it; empty: we knew it
	Path    int           `json:"path"`           // which of the disjoint paths
	Prefix  int           `json:"prefix"`         // bits shared with the key
	RTT     time.Duration `json:"rtt_ns"`
	Outcome string        `json:"outcome"` // "answered", "slow", "failed", "has it"
	Seq     uint64        `json:"seq,omitempty"`
}

// PutRequest is the body of POST /v1/dht/put.
type PutRequest struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// WithdrawRequest is the body of POST /v1/dht/withdraw.
type WithdrawRequest struct {
	Name string `json:"name"`
}

// Codes of errors of the hash table, beside those of the server.
const (
	BadRequest = "bad_request"
	Full       = "full"
	NotRunning = "dht_not_running"
	dhtOff     = "dht_off"
)

// dht serves what ask returns.
func (a api) dht(ask func(d DHT, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d := a.agent.DHT()
		if d == nil {
			fail(w, http.StatusConflict, Error{Code: dhtOff, Message: "the hash table is switched off", Hint: "set option dht to full or client, and restart the agent"})
			return
		}
		v, err := ask(d, r)
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

func dhtStatus(d DHT, r *http.Request) (any, error) {
	s, err := d.Status(r.Context())
	if s.Counters == nil {
		s.Counters = map[string]uint64{}
	}
	return s, err
}

func dhtGet(d DHT, r *http.Request) (any, error) {
	q := r.URL.Query()
	node, err := identity.ParseNodeID(q.Get("node"))
	if err != nil {
		return nil, &Error{Code: BadRequest, Message: err.Error(), Hint: "parameter node is a NodeID"}
	}
	found, err := d.Get(r.Context(), node, q.Get("name"), q.Get("onion") == "1")
	found.Lookup = found.Lookup.withLists()
	if found.Value == nil {
		found.Value = []byte{}
	}
	return found, err
}

func dhtPut(d DHT, r *http.Request) (any, error) {
	var p PutRequest
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the request is not understood: " + err.Error(), Hint: `want {"name": "…", "value": "<base64>"}`}
	}
	stored, err := d.Put(r.Context(), p.Name, p.Value)
	stored.Lookup = stored.Lookup.withLists()
	return stored, err
}

func dhtWithdraw(d DHT, r *http.Request) (any, error) {
	var p WithdrawRequest
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the request is not understood: " + err.Error(), Hint: `want {"name": "…"}`}
	}
	stored, err := d.Withdraw(r.Context(), p.Name)
	stored.Lookup = stored.Lookup.withLists()
	return stored, err
}

func dhtList(d DHT, r *http.Request) (any, error) {
	list, err := d.List(r.Context())
	return orEmpty(list), err
}

func dhtLookup(d DHT, r *http.Request) (any, error) {
	l, err := d.Lookup(r.Context(), r.URL.Query().Get("target"))
	return l.withLists(), err
}

func (l DHTLookup) withLists() DHTLookup {
	l.Closest, l.Path = orEmpty(l.Closest), orEmpty(l.Path)
	return l
}

// DHTStatus asks for the state of the hash table.
func (c *Client) DHTStatus(ctx context.Context) (DHTStatus, error) {
	var s DHTStatus
	return s, c.call(ctx, http.MethodGet, "/v1/dht", nil, &s)
}

// DHTGet asks for what a node has published; see DHT.Get.
func (c *Client) DHTGet(ctx context.Context, node identity.NodeID, name string, hidden bool) (DHTRecord, error) {
	var r DHTRecord
	q := url.Values{"node": {node.String()}, "name": {name}}
	if hidden {
		q.Set("onion", "1")
	}
	return r, c.call(ctx, http.MethodGet, "/v1/dht/get?"+q.Encode(), nil, &r)
}

// DHTPut publishes a value of the agent's node; see DHT.Put.
func (c *Client) DHTPut(ctx context.Context, name string, value []byte) (DHTStored, error) {
	var s DHTStored
	return s, c.call(ctx, http.MethodPost, "/v1/dht/put", PutRequest{name, value}, &s)
}

// DHTWithdraw takes back what was published under a name; see DHT.Withdraw.
func (c *Client) DHTWithdraw(ctx context.Context, name string) (DHTStored, error) {
	var s DHTStored
	return s, c.call(ctx, http.MethodPost, "/v1/dht/withdraw", WithdrawRequest{name}, &s)
}

// DHTList asks for the names under which the agent's node publishes.
func (c *Client) DHTList(ctx context.Context) ([]DHTPublished, error) {
	var list []DHTPublished
	return list, c.call(ctx, http.MethodGet, "/v1/dht/list", nil, &list)
}

// DHTLookup asks for the nodes closest to a key or NodeID.
func (c *Client) DHTLookup(ctx context.Context, target string) (DHTLookup, error) {
	var l DHTLookup
	return l, c.call(ctx, http.MethodGet, "/v1/dht/lookup?"+url.Values{"target": {target}}.Encode(), nil, &l)
}
