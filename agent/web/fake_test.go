package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// Words that no guest may ever see.
const private = "private-"

// fakeAgent has something private in every field that can have it, and counts what is
// done to it.
type fakeAgent struct {
	done atomic.Int32 // changes
}

var fakeNode = identity.NodeID{1, 2, 3}

func (f *fakeAgent) Status(context.Context) (mesh.Status, error) {
	return mesh.Status{
		Node: fakeNode, Address: fakeNode.Address(), Network: "net", Uptime: time.Hour, Known: 3,
		Interfaces: []mesh.InterfaceStatus{{Name: private + "if", Addresses: []string{private + "address"}}},
		Neighbours: []mesh.Neighbour{{Node: identity.NodeID{4}, State: "up", Class: "radio", Cost: 96, Loss: 6, RTT: time.Millisecond,
			Endpoint: private + "endpoint", Ifname: private + "if", Via: private + "via", RxBytes: 777001, TxBytes: 777002}},
		Routes:   []mesh.RouteStatus{{Ifname: private + "route"}},
		Counters: map[string]uint64{private + "counter": 1},
	}, nil
}

func (f *fakeAgent) Reload(context.Context) (config.Diff, error) {
	f.done.Add(1)
	return config.Diff{}, nil
}
func (f *fakeAgent) DHT() control.DHT           { return fakeDHT{f: f} }
func (f *fakeAgent) Onion() control.Onion       { return fakeOnion{f: f} }
func (f *fakeAgent) Services() control.Services { return fakeServices{f} }
func (f *fakeAgent) Settings() control.Settings { return fakeSettings{f} }
func (f *fakeAgent) LAN() control.LAN           { return fakeLAN{f} }

func (f *fakeAgent) Log(uint64) control.Log {
	return control.Log{Lines: []control.LogLine{{Message: private + "log"}}}
}

func (f *fakeAgent) Map(context.Context) (control.Map, error) {
	return control.Map{Nodes: []control.MapNode{{ID: "a", Self: true, Name: "router"}, {ID: "b", Name: private + "name"}}}, nil
}

func (f *fakeAgent) History(string) (control.History, error) {
	return control.History{Neighbour: private + "history"}, nil
}

type fakeDHT struct {
	control.DHT
	f *fakeAgent
}

func (d fakeDHT) Status(context.Context) (control.DHTStatus, error) {
	return control.DHTStatus{Mode: private + "dht"}, nil
}
func (d fakeDHT) Get(context.Context, identity.NodeID, string, bool) (control.DHTRecord, error) {
	return control.DHTRecord{Name: private + "record"}, nil
}
func (d fakeDHT) Put(context.Context, string, []byte) (control.DHTStored, error) {
	d.f.done.Add(1)
	return control.DHTStored{}, nil
}
func (d fakeDHT) Withdraw(context.Context, string) (control.DHTStored, error) {
	d.f.done.Add(1)
	return control.DHTStored{}, nil
}
func (d fakeDHT) List(context.Context) ([]control.DHTPublished, error) {
	return []control.DHTPublished{{Name: private + "published"}}, nil
}
func (d fakeDHT) Lookup(context.Context, string) (control.DHTLookup, error) {
	return control.DHTLookup{Key: private + "lookup"}, nil
}

type fakeOnion struct {
	control.Onion
	f *fakeAgent
}

func (o fakeOnion) Status() control.OnionStatus {
	return control.OnionStatus{Relay: true, Exit: "TCP 80", Relays: 7, Exits: 2, Hops: 3, Carried: 5, Channels: 4, Streams: 777003, Used: 777004,
		Relaxed: []string{private + "relaxed"}, Guards: []control.Guard{{Node: identity.NodeID{9}}}, Doors: []control.Door{{Where: private + "door"}}}
}
func (o fakeOnion) Relays() []control.Relay { return []control.Relay{{Exit: private + "relay"}} }
func (o fakeOnion) Circuits() []control.Circuit {
	return []control.Circuit{{Purpose: private + "circuit"}}
}
func (o fakeOnion) CloseCircuit(uint32) error { o.f.done.Add(1); return nil }
func (o fakeOnion) NewIdentity()              { o.f.done.Add(1) }
func (o fakeOnion) Tunnel(context.Context, string, func(control.TunnelEvent)) error {
	o.f.done.Add(1)
	return nil
}

type fakeServices struct{ f *fakeAgent }

func (s fakeServices) Services() []control.Service {
	return []control.Service{{Name: private + "service"}}
}
func (s fakeServices) AddService(context.Context, control.ServiceRequest) (control.Service, error) {
	s.f.done.Add(1)
	return control.Service{}, nil
}
func (s fakeServices) RemoveService(context.Context, string) error { s.f.done.Add(1); return nil }

type fakeSettings struct{ f *fakeAgent }

func (s fakeSettings) Settings() (control.SettingsView, error) {
	return control.SettingsView{Writable: true, Sections: []control.ConfigSection{
		{Ref: "home", Type: "lan", Name: "home", Options: map[string][]string{"client": {private + "client"}}}}}, nil
}
func (s fakeSettings) Change(context.Context, control.ChangeRequest) (control.Changed, error) {
	s.f.done.Add(1)
	return control.Changed{}, nil
}
func (s fakeSettings) Confirm(string) error               { s.f.done.Add(1); return nil }
func (s fakeSettings) Undo(context.Context, string) error { s.f.done.Add(1); return nil }
func (s fakeSettings) SetLANMode(context.Context, control.LANModeRequest) (control.Changed, error) {
	s.f.done.Add(1)
	return control.Changed{}, nil
}

type fakeLAN struct{ f *fakeAgent }

func (l fakeLAN) Status() control.LANStatus {
	return control.LANStatus{Networks: []control.LANNetwork{{Name: "home", Mode: "names", Interfaces: []string{private + "if"}, Clients: []string{private + "client"}}},
		Clients: []control.LANClient{{Addr: netip.MustParseAddr("192.0.2.77"), Streams: 1}}, Error: private + "error",
		Counters: map[string]uint64{private + "c": 1}, Blocked: map[string]uint64{private + "b": 1}}
}
func (l fakeLAN) Off() error { l.f.done.Add(1); return nil }

const rightPassword = "correct horse"

// page is a Server with a password, at an address of loopback.
type page struct {
	*Server
	agent  *fakeAgent
	public atomic.Bool // asked by streams
	open   bool        // metrics are
	door   Door
}

func newPage(t *testing.T) *page {
	t.Helper()
	p := &page{agent: &fakeAgent{}, door: Door{Hosts: []string{Host, "[::1]:8080"}}}
	p.public.Store(true)
	path := filepath.Join(t.TempDir(), PasswordFile)
	if err := SetPassword(path, rightPassword); err != nil {
		t.Fatal(err)
	}
	p.Server = New(Config{Agent: p.agent, Password: path, Version: "1", View: func() View { return View{On: true, Name: "attic", Public: p.public.Load(), Metrics: p.open} }})
	return p
}

// ask sends a request as from a client of the LAN.
func (p *page) ask(r *http.Request) *recorder {
	w := &recorder{header: make(http.Header)}
	if r.RemoteAddr == "" || r.RemoteAddr == "192.0.2.1:1234" { // httptest's
		r.RemoteAddr = net.JoinHostPort("192.168.1.20", "40000")
	}
	p.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), doorKey{}, p.door)))
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w
}

// recorder is an http.ResponseWriter that keeps what it is given.
type recorder struct {
	header http.Header
	code   int
	body   []byte
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
}
func (w *recorder) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}

// session begins one and returns its cookie.
func (p *page) session() *http.Cookie { return p.sessions.begin(time.Now(), p.password.hash()) }
