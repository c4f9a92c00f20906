package peers

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// stocked returns a book with n nodes that have worked.
func stocked(n int) *Book {
	b := newBook()
	for i := 1; i <= n; i++ {
		b.Add(start, nodeID(10000+i/50), entry(i))
		b.Succeeded(start, nodeID(i))
	}
	return b
}

func TestStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.state")
	b := stocked(3)
	b.Add(start, nodeID(9), entry(4)) // merely heard of: not worth a line
	b.Succeeded(start.Add(2*goodInterval), nodeID(2))
	b.Failed(start, nodeID(3))
	if err := b.SaveFile(path, start); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, err %v", info.Mode(), err)
	}
	c := newBook()
	later := start.Add(24 * time.Hour)
	if skipped, err := c.LoadFile(path, later); err != nil || skipped != 0 {
		t.Fatalf("skipped %d, err %v", skipped, err)
	}
	if c.Len() != 3 || c.Connected(later) != 0 {
		t.Errorf("%d nodes, %d connected; want 3, 0", c.Len(), c.Connected(later))
	}
	for i, want := range []int{2, 1, 3} {
		e, ok := c.Next(later)
		if !ok || e.Node != nodeID(want) {
			t.Errorf("dial %d goes to %v, want %v", i, e.Node, nodeID(want))
		}
		if old := b.records[nodeID(want)]; e.Good != old.Good || e.Failures != old.Failures || e.LastSuccess.Unix() != old.LastSuccess.Unix() {
			t.Errorf("loaded %+v, saved %+v", e, old.Entry)
		}
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if left2, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left)+len(left2) != 1 {
		t.Errorf("left behind %v %v", left, left2)
	}
}

func TestStateFileThatCannotBe(t *testing.T) {
	b := newBook()
	if skipped, err := b.LoadFile(filepath.Join(t.TempDir(), "none"), start); skipped != 0 || err != nil {
		t.Errorf("a first start: skipped %d, err %v", skipped, err)
	}
	if _, err := b.LoadFile(t.TempDir(), start); err == nil {
		t.Error("read a directory")
	}
	if err := stocked(1).SaveFile(filepath.Join(t.TempDir(), "no", "dir"), start); err == nil {
		t.Error("wrote into a directory that is not there")
	}
}

func TestDamagedStateIsReadAsFarAsItCan(t *testing.T) {
	good := strings.Split(strings.TrimSpace(string(stocked(3).Append(nil, start))), "\n")
	for _, c := range []struct {
		name          string
		text          string
		nodes, missed int
	}{
		{"whole", strings.Join(good, "\n"), 3, 0},
		{"empty", "", 0, 0},
		{"crlf", strings.Join(good, "\r\n"), 3, 0},
		{"no header", strings.Join(good[1:], "\n"), 3, 0},
		{"cut", strings.Join(good, "\n")[:len(strings.Join(good, "\n"))-25], 2, 1},
		{"zeros", strings.Join(good[:2], "\n") + "\n" + strings.Repeat("\x00", 3000), 1, 1},
		{"node mistyped", good[0] + "\n" + "a" + good[1] + "\n" + good[2], 1, 1},
		{"negative", strings.Replace(good[1], " 1 ", " -1 ", 1), 0, 1},
		{"huge", strings.Replace(good[1], " 1 ", " 99999999999999999999 ", 1), 0, 1},
		{"private address", strings.Replace(good[1], " 93.", " 10.", 1), 0, 1},
		{"another version", "globalnet-peers-9\nwhat do I know", 0, 2},
		{"double", good[1] + "\n" + good[1], 1, 0},
		{"long line", good[1] + strings.Repeat(",93.1.1.1:1024", 100), 0, 1},
	} {
		b := newBook()
		if missed := b.Parse(start, []byte(c.text)); missed != c.missed || b.Len() != c.nodes {
			t.Errorf("%s: %d nodes, %d skipped; want %d, %d", c.name, b.Len(), missed, c.nodes, c.missed)
		}
	}
}

func TestStateHoldsTheBestOnly(t *testing.T) {
	b := stocked(200)
	b.Succeeded(start.Add(2*goodInterval), nodeID(7))
	text := b.Append(nil, start)
	if lines := bytes.Count(text, []byte("\n")); lines != stateEntries+1 || len(text) > maxStateFile {
		t.Errorf("%d lines, %d bytes", lines, len(text))
	}
	if !bytes.Contains(text, []byte(nodeID(7).String())) {
		t.Error("the best node is not among the saved")
	}
}

func TestClockSetBack(t *testing.T) {
	text := stocked(1).Append(nil, start)
	b := newBook()
	then := time.Unix(1000, 0) // 1970
	if skipped := b.Parse(then, text); skipped != 0 || b.Len() != 1 {
		t.Fatalf("skipped %d", skipped)
	}
	if e, ok := b.Next(then); !ok || !e.LastSuccess.IsZero() {
		t.Errorf("a success in the future is believed, or the node is not dialled: %+v %v", e, ok)
	}
}

func TestNeedsSaving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.state")
	b := newBook()
	if b.NeedsSaving(start) {
		t.Error("wants to save an empty book")
	}
	save := func(now time.Time) {
		t.Helper()
		if err := b.SaveFile(path, now); err != nil {
			t.Fatal(err)
		}
	}
	grow := func(now time.Time, from, to int) {
		for i := from; i <= to; i++ {
			b.Add(now, nodeID(5000), entry(i))
			b.Succeeded(now, nodeID(i))
		}
	}
	grow(start, 1, 20)
	if !b.NeedsSaving(start) {
		t.Error("the first nodes are not saved")
	}
	save(start)
	now := start.Add(time.Hour)
	grow(now, 21, 24)
	if b.NeedsSaving(now) {
		t.Error("a small change is saved at once")
	}
	if !b.NeedsSaving(start.Add(saveInterval)) {
		t.Error("a small change is never saved")
	}
	grow(now, 25, 27)
	if !b.NeedsSaving(now) {
		t.Error("a change by a quarter is not saved")
	}
	save(now)
	grow(now, 28, 60)
	if b.NeedsSaving(now.Add(time.Second)) {
		t.Error("saves twice within seconds")
	}
	if !b.NeedsSaving(now.Add(saveGap)) {
		t.Error("a great change waits too long")
	}
	save(now)
	for i := range 100 { // all lines differ
		b.Add(now, nodeID(6000), entry(200+i))
		b.Succeeded(now, nodeID(200+i))
		b.Succeeded(now.Add(2*goodInterval), nodeID(200+i))
	}
	if !b.NeedsSaving(now.Add(saveGap)) {
		t.Error("a book that changed wholly is not saved")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(stocked(3).Append(nil, start))
	f.Add([]byte(stateHeader + "\n"))
	f.Add([]byte("a b c d e\n"))
	f.Add([]byte(nodeID(1).String() + " 1 2 3 93.1.1.1:1024,[2a00::1]:443\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := newBook()
		b.Parse(start, text)
		if b.Len() > stateEntries {
			t.Fatalf("%d entries", b.Len())
		}
		first := b.Append(nil, start)
		c := newBook()
		if skipped := c.Parse(start, first); skipped != 0 {
			t.Fatalf("skips %d lines of its own:\n%s", skipped, first)
		}
		if second := c.Append(nil, start); !reflect.DeepEqual(sorted(first), sorted(second)) {
			t.Fatalf("wrote\n%s\nread\n%s", first, second)
		}
	})
}

func sorted(text []byte) map[string]bool {
	lines := make(map[string]bool)
	for l := range strings.Lines(string(text)) {
		lines[l] = true
	}
	return lines
}
