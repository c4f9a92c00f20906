package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
)

var sample = []kept{
	{name: "", seq: 1795000000, value: []byte{}},
	{name: "a name\nwith \x00 lines", seq: 7, value: []byte("one\ntwo")},
	{name: "gone", seq: 8, withdrawn: true, value: []byte{}},
	{name: "empty", value: []byte{}},
}

func TestRecordsFile(t *testing.T) {
	text := appendRecords(nil, sample)
	list, damaged := parseRecords(text)
	if damaged != 0 || !reflect.DeepEqual(list, sample) {
		t.Fatalf("%+v, %d damaged, want %+v", list, damaged, sample)
	}
	// Torn anywhere, it loses the lines behind, and says so; what is whole stays.
	for n := range text {
		list, damaged := parseRecords(text[:n])
		if n < len(text)-1 && damaged == 0 {
			t.Errorf("torn at %d of %d: nothing said", n, len(text))
		}
		if !reflect.DeepEqual(list, sample[:len(list)]) && len(list) > 0 {
			t.Errorf("torn at %d: %+v", n, list)
		}
	}
	// One octet changed loses one line at most.
	for n := range text {
		wrong := bytes.Clone(text)
		wrong[n] ^= 1
		list, damaged := parseRecords(wrong)
		if damaged == 0 || len(list) < len(sample)-2 {
			t.Errorf("octet %d of %d (%q) wrong: %d lines left, %d damaged", n, len(text), text[n], len(list), damaged)
		}
		for _, k := range list {
			if !slices.ContainsFunc(sample, func(s kept) bool { return reflect.DeepEqual(s, k) }) {
				t.Errorf("octet %d wrong makes %+v", n, k)
			}
		}
	}
}

func FuzzRecordsFile(f *testing.F) {
	f.Add(appendRecords(nil, sample))
	f.Add(appendRecords(nil, nil))
	f.Add([]byte("globalnet records 1 99999999999\n"))
	f.Add([]byte("\n\n\n"))
	line := "put 18446744073709551615 YQ "
	f.Add([]byte(recordsHeader + "1\n" + lineSum(line) + " " + line + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, _ := parseRecords(text)
		if len(list) > maxRecordsLines {
			t.Fatalf("%d records", len(list))
		}
		again, damaged := parseRecords(appendRecords(nil, list))
		if damaged != 0 || len(again) != len(list) || len(list) > 0 && !reflect.DeepEqual(again, list) {
			t.Fatalf("%+v became %+v", list, again)
		}
	})
}

func TestValuesSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no folder yet", "records.state")
	var before []control.DHTPublished
	synctest.Test(t, func(t *testing.T) {
		h, _ := aloneWith(t, config.DHTFull, path)
		for _, name := range []string{"a", "b", "c"} {
			if _, err := h.Put(t.Context(), name, []byte("of "+name)); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := h.Withdraw(t.Context(), "b"); err != nil || s.Stored != 1 {
			t.Fatalf("withdraw %+v, %v", s, err)
		}
		r, err := h.Get(t.Context(), h.id.NodeID(), "b", false)
		if err != nil || r.Found || !r.Withdrawn {
			t.Errorf("a reader of what is withdrawn sees %+v, %v", r, err)
		}
		if before, err = h.List(t.Context()); err != nil || len(before) != 2 || before[0].Stored != 1 || before[0].Size != 4 {
			t.Errorf("list %+v, %v", before, err)
		}
	})
	// Nobody else held them, and the clock is lost: the numbers go on all the same.
	synctest.Test(t, func(t *testing.T) {
		h, _ := aloneWith(t, config.DHTFull, path)
		after, err := h.List(t.Context())
		if err != nil || len(after) != 2 {
			t.Fatalf("list %+v, %v", after, err)
		}
		for i, p := range after {
			if p.Name != before[i].Name || p.Seq <= before[i].Seq || p.Stored != 1 {
				t.Errorf("%+v after %+v", p, before[i])
			}
			r, err := h.Get(t.Context(), h.id.NodeID(), p.Name, false)
			if err != nil || string(r.Value) != "of "+p.Name {
				t.Errorf("%s: %+v, %v", p.Name, r, err)
			}
		}
		if r, err := h.Get(t.Context(), h.id.NodeID(), "b", false); err != nil || !r.Withdrawn {
			t.Errorf("the withdrawal is forgotten: %+v, %v", r, err)
		}
		time.Sleep(withdrawnFor + 2*tendInterval)
		for _, p := range h.shelf.all() {
			if p.name == "b" {
				t.Error("the withdrawal is kept for ever")
			}
		}
		if s, err := h.Status(t.Context()); err != nil || s.Published != 3 {
			t.Errorf("%d published, %v; want the node record, a and c", s.Published, err)
		}
	})
}

// A node without the time, that reaches nobody after a restart, signs above what it
// signed before: nobody takes the new value for the old one.
func TestNumbersGoOnWithoutAClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.state")
	if err := os.WriteFile(path, appendRecords(nil, []kept{{seq: 1795000000}, {name: "x", seq: 1795000001, value: []byte("v")}}), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		h, _ := aloneWith(t, config.DHTFull, path)
		for name, want := range map[string]uint64{"": 1795000001, "x": 1795000002} {
			if r, err := h.Get(t.Context(), h.id.NodeID(), name, false); err != nil || r.Seq != want {
				t.Errorf("%q has number %d, %v; want %d", name, r.Seq, err, want)
			}
		}
	})
}

func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.state")
	text := appendRecords(nil, sample)
	if err := os.WriteFile(path, text[:len(text)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := newShelf(testIdentity(t, 1), path, slog.New(slog.NewTextHandler(&log, nil)))
	s.load()
	if got := len(s.all()); got != len(sample)-1 {
		t.Errorf("%d records are left", got)
	}
	if !strings.Contains(log.String(), "lines=1") {
		t.Errorf("log %q", &log)
	}
	s = newShelf(testIdentity(t, 1), t.TempDir(), slog.New(slog.NewTextHandler(&log, nil))) // a folder
	if s.load(); !strings.Contains(log.String(), "not known") {
		t.Errorf("log %q", &log)
	}
}

func TestWritesAreRare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.state")
	synctest.Test(t, func(t *testing.T) {
		h, stop := aloneWith(t, config.DHTFull, path)
		writes, last := 0, []byte(nil)
		look := func() {
			synctest.Wait()
			if now, _ := os.ReadFile(path); !bytes.Equal(now, last) {
				writes, last = writes+1, now
			}
		}
		for i := range 100 {
			if _, err := h.Put(t.Context(), "x", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			look()
		}
		if writes != saveBurst {
			t.Errorf("%d writes at once, want %d", writes, saveBurst)
		}
		time.Sleep(saveInterval + 2*tendInterval)
		look()
		if list, _ := parseRecords(last); len(list) != 2 || string(list[1].value) != "99" {
			t.Errorf("after a while the file has %+v", list)
		}
		writes = 0
		for range 48 {
			time.Sleep(time.Hour)
			look()
		}
		if writes > 8 {
			t.Errorf("%d writes in two idle days", writes)
		}
		for i := range 2 * saveBurst {
			h.Put(t.Context(), "x", fmt.Append(nil, "last ", i))
		}
		stop()
		look()
		if list, _ := parseRecords(last); string(list[1].value) != fmt.Sprint("last ", 2*saveBurst-1) {
			t.Errorf("at the end the file has %+v", list)
		}
	})
}

func TestShelfIsBounded(t *testing.T) {
	s := newShelf(testIdentity(t, 1), "", slog.New(slog.DiscardHandler))
	for i := range 3 * maxPublished {
		if !s.put(s.item(fmt.Sprint(i), nil, true)) {
			t.Fatal("a withdrawal is refused")
		}
	}
	if n := len(s.all()); n > maxPublished {
		t.Errorf("%d withdrawals are kept", n)
	}
	big := make([]byte, maxValue)
	for i := 0; ; i++ {
		if !s.put(s.item(fmt.Sprint("big ", i), big, false)) {
			if i*maxValue > maxKept || (i+1)*maxValue <= maxKept {
				t.Errorf("full after %d large values", i)
			}
			break
		}
	}
	if !s.put(s.item("big 0", big, false)) || !s.put(s.item("big 1", nil, true)) || !s.put(s.item("one more", big, false)) {
		t.Error("there is no room where there is some")
	}
}

func TestPortIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := newHashTable(testIdentity(t, 1), config.DHTFull, true, "", slog.New(slog.NewTextHandler(&log, nil)))
		var taken atomic.Bool
		taken.Store(true)
		var attempts atomic.Int32
		h.listen = func() (dht.PacketConn, func() error, error) {
			attempts.Add(1)
			if taken.Load() {
				return nil, nil, syscall.EADDRINUSE
			}
			return dhttest.NewDeaf(), func() error { return nil }, nil
		}
		ready, ended := make(chan struct{}), make(chan error, 1)
		close(ready)
		go func() { ended <- h.run(t.Context(), ready) }()
		waiting, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := h.Put(waiting, "x", nil); waiting.Err() != nil || err == nil {
			t.Errorf("asked before the first attempt: %v", err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := attempts.Load(); n < 10 || n > 20 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if n := strings.Count(log.String(), "end the program"); n != 1 {
			t.Errorf("it was said %d times:\n%s", n, &log)
		}
		if s, err := h.Status(t.Context()); err != nil || !strings.Contains(s.Problem, "18246") {
			t.Errorf("status %+v, %v", s, err)
		}
		_, put := h.Put(t.Context(), "x", nil)
		_, get := h.Get(t.Context(), h.id.NodeID(), "", false)
		_, lookup := h.Lookup(t.Context(), h.id.NodeID().String())
		for _, err := range []error{put, get, lookup} {
			if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.NotRunning || e.Hint == "" {
				t.Errorf("asked while it does not run: %v", err)
			}
		}
		if _, err := h.List(t.Context()); err != nil {
			t.Error(err)
		}
		taken.Store(false)
		time.Sleep(lastBind + time.Second)
		synctest.Wait()
		if s, err := h.Status(t.Context()); err != nil || s.Problem != "" || s.Published != 1 {
			t.Errorf("status %+v, %v", s, err)
		}
	})
}
