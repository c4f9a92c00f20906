package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
	"globalnet/onion/netdir"
)

func TestLogRing(t *testing.T) {
	var r logRing
	var out strings.Builder
	log := slog.New(r.tee(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})))
	log.Debug("not kept")
	log.With("a", 1).Info("kept, not written", "secret", config.NewSecret("hidden from all"), "long", strings.Repeat("x", 5000))
	log.Error("both", "err", errors.New("broken"))
	l := r.after(0)
	if l.First != 1 || l.Last != 2 || len(l.Lines) != 2 || strings.Contains(out.String(), "kept") || !strings.Contains(out.String(), "both") {
		t.Fatalf("%+v, written %q", l, out.String())
	}
	if got := l.Lines[0]; got.Level != "info" || got.Attrs["a"] != "1" || got.Attrs["secret"] != "[secret]" || len(got.Attrs["long"]) != maxLogText {
		t.Errorf("%+v", got)
	}
	if got := l.Lines[1]; got.N != 2 || got.Level != "error" || got.Attrs["err"] != "broken" {
		t.Errorf("%+v", got)
	}
	for i := range 3 * keptLines {
		log.Info("more", "i", i)
	}
	last := uint64(3*keptLines + 2)
	for after, want := range map[uint64][2]uint64{0: {last - maxLogAnswer + 1, last}, last - 3: {last - 2, last}, last: {}, last + 9: {}, ^uint64(0): {}} {
		l := r.after(after)
		var got [2]uint64
		if len(l.Lines) > 0 {
			got = [2]uint64{l.Lines[0].N, l.Lines[len(l.Lines)-1].N}
		}
		if got != want || l.Last != last || l.First != last-keptLines+1 {
			t.Errorf("after %d: %v, first %d, last %d", after, got, l.First, l.Last)
		}
	}
}

func neighbourOf(n byte, rx, tx uint64) mesh.Neighbour {
	id := identity.NodeID{n}
	return mesh.Neighbour{Node: id, Address: id.Address(), State: "up", Class: "radio", Cost: 96, RTT: 2 * time.Millisecond, Loss: 12, RxBytes: rx, TxBytes: tx}
}

func TestHistory(t *testing.T) {
	h := newHistory()
	now := time.Now()
	take := func(list ...mesh.Neighbour) {
		now = now.Add(sampleEvery)
		h.take(now, list)
	}
	take(neighbourOf(1, 1000, 0))
	take(neighbourOf(1, 2000, 500))
	take() // away
	take(neighbourOf(1, 100, 100))
	take(neighbourOf(1, 50, 300)) // a new interface counts anew
	got, ok := h.get(now.Add(time.Second), identity.NodeID{1})
	want := fmt.Sprint([]int64{-1, 100, -1, -1, -1}, []int64{-1, 50, -1, -1, 20}, []int{12, 12, -1, 12, 12}, []int64{2000, 2000, -1, 2000, 2000})
	if have := fmt.Sprint(got.Rx, got.Tx, got.Loss, got.RTT); !ok || have != want || got.Age != time.Second || got.Every != sampleEvery {
		t.Errorf("%v %s, want %s", got.Age, have, want)
	}
	if _, ok := h.get(now, identity.NodeID{2}); ok {
		t.Error("a history of nobody")
	}
	for range 2 * sampleCount {
		take(neighbourOf(2, 0, 0))
	}
	if got, _ := h.get(now, identity.NodeID{2}); len(got.Rx) != sampleCount {
		t.Errorf("%d samples", len(got.Rx))
	}
	if _, ok := h.get(now, identity.NodeID{1}); ok {
		t.Error("who left an hour ago is not forgotten")
	}
	var many []mesh.Neighbour
	for i := range 250 {
		many = append(many, neighbourOf(byte(i+3), 0, 0))
	}
	take(many...)
	size := len(h.of) * int(unsafe.Sizeof(samples{}))
	t.Logf("%d bytes a neighbour, %d at most", unsafe.Sizeof(samples{}), size)
	if len(h.of) != maxHistories || size > 320<<10 {
		t.Errorf("%d histories, %d bytes", len(h.of), size)
	}
}

func route(n byte, via identity.NodeID, metric uint16, selected bool) mesh.RouteStatus {
	return mesh.RouteStatus{Destination: netip.PrefixFrom(identity.NodeID{n}.Address(), 128), Neighbour: via.String(), Metric: metric, Selected: selected}
}

func relayOf(n byte, vouchers ...byte) netdir.Relay {
	d := &netdir.Descriptor{Node: identity.NodeID{n}}
	for _, v := range vouchers {
		d.Vouches = append(d.Vouches, netdir.Vouch{Voucher: identity.NodeID{v}})
	}
	return netdir.Relay{Descriptor: d}
}

func TestMap(t *testing.T) {
	self, b := identity.NodeID{1}, identity.NodeID{2}
	s := mesh.Status{Node: self, Address: self.Address(), Neighbours: []mesh.Neighbour{neighbourOf(2, 0, 0), {Node: identity.NodeID{9}, State: "failed"}},
		Routes: []mesh.RouteStatus{route(2, b, 96, true), route(3, b, 200, true), route(3, self, 300, false), route(4, b, 400, true),
			{Destination: netip.MustParsePrefix("::/0"), Selected: true}}}
	relays := []netdir.Relay{relayOf(2, 1, 3), relayOf(3, 2), relayOf(7, 2)}
	m := newMapping(s, relays, map[string]string{b.String(): "cheesy"})
	me := m.node(self.String())
	me.Self, me.Metric = true, 0
	got := m.finish()
	c, d := identity.NodeID{3}.String(), identity.NodeID{4}.Address().String()
	want := []control.MapNode{
		{ID: self.String(), Self: true},
		{ID: b.String(), Name: "cheesy", Neighbour: true, Gateway: true, Relay: true, Metric: 96, Via: b.String()},
		{ID: c, Relay: true, Metric: 200, Via: b.String()},
		{ID: d, Metric: 400, Via: b.String()},
	}
	if fmt.Sprint(got.Nodes) != fmt.Sprint(want) || got.More != 0 {
		t.Errorf("nodes\n%+v, want\n%+v", got.Nodes, want)
	}
	ends := func(x, y string) (string, string) { return min(x, y), max(x, y) }
	a1, b1 := ends(self.String(), b.String())
	a2, b2 := ends(b.String(), c)
	links := []control.MapLink{{A: a1, B: b1, Kind: "radio", Cost: 96, RTT: 2 * time.Millisecond}, {A: a2, B: b2, Kind: "vouch", Cost: 104}}
	if fmt.Sprint(got.Links) != fmt.Sprint(links) {
		t.Errorf("links\n%+v, want\n%+v", got.Links, links)
	}
	// Each neighbour sees a link of others from where it is; what is not offered says nothing.
	o := offersOf([]mesh.RouteStatus{route(3, b, 200, true), route(4, b, 296, true), route(3, self, 500, false), route(4, self, 300, false), route(5, self, 0xffff, false)})
	at := func(n byte) netip.Addr { return identity.NodeID{n}.Address() }
	if o.between(at(3), at(4)) != 200 || o.between(at(4), at(3)) != 200 || o.between(at(4), at(5)) != 0 || o.between(at(6), at(7)) != 0 {
		t.Errorf("costs of links of others: %d %d %d", o.between(at(3), at(4)), o.between(at(4), at(5)), o.between(at(6), at(7)))
	}
	for i := range 700 {
		s.Routes = append(s.Routes, mesh.RouteStatus{Destination: netip.PrefixFrom(identity.NodeID{10, byte(i >> 8), byte(i)}.Address(), 128),
			Neighbour: b.String(), Metric: uint16(1000 + i), Selected: true})
	}
	if got := newMapping(s, relays, nil).finish(); len(got.Nodes) != maxMapNodes || got.More != 703-maxMapNodes || got.Nodes[0].Metric > 96 {
		t.Errorf("%d nodes, %d more", len(got.Nodes), got.More)
	}
}

const before = "config globalnet main\n\toption log_level 'info'\n\nconfig lan home\n\tlist interface 'br-lan'\n\tlist client '192.168.1.9=off'\n"

// newTestSettings counts reloads of a file.
func newTestSettings(t *testing.T) (s *settings, path string, reloads *int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "globalnet")
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	reloads = new(int)
	return newSettings(path, func(context.Context) (config.Diff, error) {
		*reloads++
		_, _, err := config.Load(path)
		return config.Diff{Live: []string{"log_level"}}, err
	}, slog.New(slog.DiscardHandler)), path, reloads
}

func loud(seconds int) control.ChangeRequest {
	return control.ChangeRequest{ConfirmSeconds: seconds, Changes: []control.OptionChange{{Section: "main", Option: "log_level", Value: control.Values{"debug"}}}}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func codeOf(err error) string {
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return e.Code + " " + e.Option
}

func TestUnconfirmedIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, path, reloads := newTestSettings(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		c, err := s.Change(ctx, loud(60))
		if err != nil || c.ID == "" || c.ConfirmSeconds != 60 || !strings.Contains(content(t, path), "debug") {
			t.Fatalf("%+v %v", c, err)
		}
		if _, err := s.Change(ctx, loud(60)); codeOf(err) != "pending " {
			t.Errorf("a second change: %v", err)
		}
		time.Sleep(59 * time.Second)
		if v, err := s.Settings(); err != nil || v.Pending == nil || v.Pending.ID != c.ID || v.Pending.Seconds != 1 || !v.Writable {
			t.Errorf("%+v %v", v.Pending, err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if content(t, path) != before || *reloads != 2 {
			t.Errorf("after a minute, %d reloads:\n%s", *reloads, content(t, path))
		}
		if err := s.Confirm(c.ID); codeOf(err) != "no_change " {
			t.Errorf("confirmed too late: %v", err)
		}
		if c, err = s.Change(ctx, loud(10)); err != nil {
			t.Fatal(err)
		}
		if err := s.Confirm("other"); codeOf(err) != "no_change " {
			t.Errorf("another change is confirmed: %v", err)
		}
		if err := s.Confirm(c.ID); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !strings.Contains(content(t, path), "debug") {
			t.Error("what was confirmed is undone")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestChanges(t *testing.T) {
	s, path, _ := newTestSettings(t)
	ctx := t.Context()
	for _, tt := range []struct {
		r    control.ChangeRequest
		want string
	}{
		{loud(5), "bad_request "}, {loud(601), "bad_request "}, {loud(-1), "bad_request "},
		{control.ChangeRequest{Changes: []control.OptionChange{{Section: "main", Option: "log_level", Value: control.Values{"loud"}}}}, "bad_request main.log_level"},
	} {
		if _, err := s.Change(ctx, tt.r); codeOf(err) != tt.want || content(t, path) != before {
			t.Errorf("%+v: %v", tt.r, err)
		}
	}
	c, err := s.Change(ctx, loud(60))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Undo(ctx, c.ID); err != nil || content(t, path) != before {
		t.Errorf("undone: %v\n%s", err, content(t, path))
	}
	for _, tt := range []struct {
		r    control.LANModeRequest
		want string // in the file; empty: refused
	}{
		{control.LANModeRequest{Network: "home", Mode: "all"}, "option mode 'all'"},
		{control.LANModeRequest{Network: "home", Client: "192.168.1.9", Mode: "all"}, "\tlist client '192.168.1.9=all'\n"},
		{control.LANModeRequest{Network: "home", Client: "02:00:5E:00:53:01", Mode: "block"}, "\tlist client '192.168.1.9=all'\n\tlist client '02:00:5E:00:53:01=block'\n"},
		{control.LANModeRequest{Network: "home", Client: "02:00:5e:00:53:01"}, "\tlist client '192.168.1.9=all'\n"},
		{control.LANModeRequest{Network: "home", Mode: "some"}, ""},
		{control.LANModeRequest{Network: "main", Mode: "all"}, ""},
		{control.LANModeRequest{Network: "home", Client: "not an address", Mode: "all"}, ""},
	} {
		was := content(t, path)
		_, err := s.SetLANMode(ctx, tt.r)
		if (err == nil) != (tt.want != "") || !strings.Contains(content(t, path), tt.want) || err != nil && content(t, path) != was {
			t.Errorf("%+v: %v\n%s", tt.r, err, content(t, path))
		}
	}
	none := newSettings("", nil, slog.New(slog.DiscardHandler))
	if v, err := none.Settings(); err != nil || v.Writable || len(v.Types) == 0 {
		t.Errorf("without a file: %+v %v", v.Writable, err)
	}
	if _, err := none.Change(ctx, loud(0)); codeOf(err) != "bad_request " {
		t.Errorf("without a file: %v", err)
	}
}

func TestHandedConnections(t *testing.T) {
	h := newHanded()
	a, b := net.Pipe()
	defer b.Close()
	taken := make(chan bool, 1)
	go func() { taken <- h.give(t.Context(), a) }()
	c, err := h.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go io.WriteString(c, "hello")
	if text := make([]byte, 5); true {
		if _, err := io.ReadFull(b, text); err != nil || string(text) != "hello" {
			t.Errorf("%q %v", text, err)
		}
	}
	select {
	case <-taken:
		t.Error("given back before it was closed")
	default:
	}
	c.Close()
	if !<-taken {
		t.Error("not taken")
	}
	h.Close()
	if h.give(t.Context(), a) {
		t.Error("taken after the end")
	}
}

func TestWhereThePageMayBe(t *testing.T) {
	lans := []config.LAN{{Name: "lan", Interfaces: []string{"lo", "none0"}}} // lo has addresses everywhere
	for addr, want := range map[string]string{
		"127.0.0.1": "", "::1": "", "192.0.2.1": "of no interface of a section lan", "2001:db8::1": "of no interface of a section lan",
	} {
		err := onLAN(netip.MustParseAddr(addr), lans)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := onLAN(netip.MustParseAddr("192.168.1.1"), nil); err == nil || !strings.Contains(err.Error(), "there is no LAN") {
		t.Errorf("%v", err)
	}
	door := doorAt(netip.MustParseAddrPort("127.0.0.1:80"), nil)
	if got := strings.Join(door.Hosts, " "); got != "127.0.0.1:80 router.gnet.alt:80 localhost:80 127.0.0.1 router.gnet.alt localhost" ||
		door.From(netip.MustParseAddr("192.168.1.2")) || !door.From(netip.MustParseAddr("127.0.0.9")) {
		t.Errorf("hosts %s", got)
	}
	if door := doorAt(netip.MustParseAddrPort("127.0.0.2:8080"), lans); door.From(netip.MustParseAddr("203.0.113.1")) {
		t.Error("anybody may come")
	}
	if len(prefixesOf("lo")) > 0 && !isOfLAN(netip.MustParseAddr("127.0.0.5"), lans) || isOfLAN(netip.MustParseAddr("203.0.113.1"), lans) {
		t.Error("who is of the LAN")
	}
}

// OpenWrt's services are told of what was changed, and of what was put back.
func TestChangesAreTold(t *testing.T) {
	s, _, _ := newTestSettings(t)
	told := 0
	s.saved = func() { told++ }
	changed, err := s.Change(t.Context(), loud(60))
	if err != nil || told != 1 {
		t.Fatalf("after a change: %v, told %d times", err, told)
	}
	bad := control.ChangeRequest{Changes: []control.OptionChange{{Section: "main", Option: "log_level", Value: control.Values{"loud"}}}}
	if _, err := s.Change(t.Context(), bad); err == nil || told != 1 {
		t.Errorf("after a change that is refused: %v, told %d times", err, told)
	}
	if err := s.Undo(t.Context(), changed.ID); err != nil || told != 2 {
		t.Errorf("after an undo: %v, told %d times", err, told)
	}
}
