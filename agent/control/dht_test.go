package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
)

// fakeTable is a hash table of one node that nobody else reads.
type fakeTable struct {
	values map[string][]byte
	err    error
}

func (f *fakeTable) Status(context.Context) (DHTStatus, error) {
	return DHTStatus{Mode: "full", Nodes: 3, RTT: time.Second}, f.err
}

func (f *fakeTable) Get(_ context.Context, node identity.NodeID, name string, _ bool) (DHTRecord, error) {
	v, ok := f.values[name]
	return DHTRecord{Found: ok, Node: node, Name: name, Value: v}, f.err
}

func (f *fakeTable) Put(_ context.Context, name string, value []byte) (DHTStored, error) {
	if f.err == nil {
		f.values[name] = value
	}
	return DHTStored{Name: name, Stored: 2, Of: 3}, f.err
}

func (f *fakeTable) Withdraw(_ context.Context, name string) (DHTStored, error) {
	if f.err == nil {
		delete(f.values, name)
	}
	return DHTStored{Name: name, Stored: 2, Of: 3}, f.err
}

func (f *fakeTable) List(context.Context) (list []DHTPublished, err error) {
	for name, v := range f.values {
		list = append(list, DHTPublished{Name: name, Size: len(v), Stored: 2, Of: 3})
	}
	return list, f.err
}

func (f *fakeTable) Lookup(_ context.Context, target string) (DHTLookup, error) {
	a := netip.MustParseAddr("fd47:4e45::1")
	return DHTLookup{Key: target, Closest: []netip.Addr{a}, Path: []DHTHop{{Node: a, Outcome: "answered"}}}, f.err
}

func TestDHTByClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start(t, path, &fake{table: &fakeTable{values: map[string][]byte{}}})
	c := NewClient(path)
	if s, err := c.DHTStatus(t.Context()); err != nil || s.Nodes != 3 || s.Counters == nil {
		t.Errorf("status %+v, %v", s, err)
	}
	value := bytes.Repeat([]byte{0, 0xff}, 2048)
	name := `a name & "more"`
	if s, err := c.DHTPut(t.Context(), name, value); err != nil || s.Stored != 2 {
		t.Errorf("put %+v, %v", s, err)
	}
	node := identity.NodeID{1, 2, 3}
	if r, err := c.DHTGet(t.Context(), node, name, false); err != nil || !r.Found || !bytes.Equal(r.Value, value) || r.Node != node {
		t.Errorf("get %+v, %v", r, err)
	}
	if r, err := c.DHTGet(t.Context(), node, "", false); err != nil || r.Found {
		t.Errorf("get of nothing %+v, %v", r, err)
	}
	wantList := []DHTPublished{{Name: name, Size: len(value), Stored: 2, Of: 3}}
	if list, err := c.DHTList(t.Context()); err != nil || !reflect.DeepEqual(list, wantList) {
		t.Errorf("list %+v, %v", list, err)
	}
	if s, err := c.DHTWithdraw(t.Context(), name); err != nil || s.Stored != 2 || s.Name != name {
		t.Errorf("withdraw %+v, %v", s, err)
	}
	if list, err := c.DHTList(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list %+v, %v", list, err)
	}
	want, _ := (*fakeTable)(&fakeTable{}).Lookup(t.Context(), "abc")
	if l, err := c.DHTLookup(t.Context(), "abc"); err != nil || !reflect.DeepEqual(l, want) {
		t.Errorf("lookup %+v, %v", l, err)
	}
}

func TestDHTErrors(t *testing.T) {
	node := identity.NodeID{1, 2, 3}.String()
	off := &fake{}
	on := &fake{table: &fakeTable{values: map[string][]byte{}}}
	failing := func(err error) *fake { return &fake{table: &fakeTable{err: err}} }
	for _, tt := range []struct {
		agent              *fake
		method, path, body string
		status             int
		code               string
	}{
		{off, "GET", "/v1/dht", "", 409, "dht_off"},
		{off, "POST", "/v1/dht/put", "{}", 409, "dht_off"},
		{on, "POST", "/v1/dht", "", 405, "bad_method"},
		{on, "GET", "/v1/dht/put", "", 405, "bad_method"},
		{on, "GET", "/v1/dht/get?node=x", "", 400, "bad_request"},
		{on, "POST", "/v1/dht/put", "{", 400, "bad_request"},
		{on, "POST", "/v1/dht/put", `{"value": "?"}`, 400, "bad_request"},
		{off, "POST", "/v1/dht/withdraw", "{}", 409, "dht_off"},
		{on, "GET", "/v1/dht/withdraw", "", 405, "bad_method"},
		{on, "POST", "/v1/dht/withdraw", "{", 400, "bad_request"},
		{failing(&Error{Code: NotRunning, Message: "no port"}), "GET", "/v1/dht/list", "", 409, "dht_not_running"},
		{on, "POST", "/v1/dht/put", strings.Repeat(" ", maxPut+1), 413, "too_large"},
		{failing(errors.New("closed")), "GET", "/v1/dht", "", 503, "unavailable"},
		{failing(&Error{Code: Full, Message: "full"}), "POST", "/v1/dht/put", "{}", 409, "full"},
		{failing(&Error{Code: BadRequest, Message: "no"}), "GET", "/v1/dht/get?node=" + node, "", 400, "bad_request"},
	} {
		status, body := get(t, tt.agent, tt.method, tt.path, tt.body)
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Code != tt.code || e.Message == "" {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, status, body, tt.status, tt.code)
		}
	}
}

func TestDHTListsAreLists(t *testing.T) {
	on := &fake{table: &fakeTable{}}
	_, body := get(t, on, "GET", "/v1/dht/get?node="+identity.NodeID{1}.String(), "")
	if _, list := get(t, on, "GET", "/v1/dht/list", ""); strings.TrimSpace(list) != "[]" {
		t.Errorf("an empty list is %s", list)
	}
	for _, want := range []string{`"value": ""`, `"closest": []`, `"path": []`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}
