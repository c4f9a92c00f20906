package lan

import (
	"fmt"
	"net/netip"
	"testing"
)

func assign(t *testing.T, p *Pool, name string, owner netip.Addr) (v4, v6 netip.Addr) {
	t.Helper()
	v4, v6, ok := p.Assign(name, owner)
	if !ok {
		t.Fatalf("no address for %s", name)
	}
	return v4, v6
}

var (
	phone = netip.MustParseAddr("192.168.1.20")
	tv    = netip.MustParseAddr("192.168.1.21")
)

func TestAddressesOfANameStay(t *testing.T) {
	p := NewPool()
	v4, v6 := assign(t, p, "a.gnet.alt", phone)
	if !Prefix4.Contains(v4) || !Prefix6.Contains(v6) {
		t.Errorf("%v %v", v4, v6)
	}
	for _, a := range []netip.Addr{v4, v6, netip.AddrFrom16(v4.As16())} {
		if name, ok := p.Name(a); !ok || name != "a.gnet.alt" {
			t.Errorf("%v is %q", a, name)
		}
	}
	if again, _ := assign(t, p, "a.gnet.alt", tv); again != v4 {
		t.Errorf("%v, then %v", v4, again)
	}
	// Another router, another run: the same place.
	if other, _ := assign(t, NewPool(), "a.gnet.alt", phone); other != v4 {
		t.Errorf("%v elsewhere, %v here", other, v4)
	}
	if b, _ := assign(t, p, "b.gnet.alt", phone); b == v4 {
		t.Error("two names with one address")
	}
	for _, a := range []string{"10.192.3.4", "fd67:6e65:7400::3", "fd67:6e65:7400::ffff:ffff", "192.0.2.1", "fd67:6e65:7400:1::"} {
		if name, ok := p.Name(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is %q", a, name)
		}
	}
}

func TestCollidingNamesGetOtherPlaces(t *testing.T) {
	p := NewPool()
	v4, _ := assign(t, p, "a", netip.Addr{})
	slot, _ := slotOf(v4)
	p.remove(p.names["a"])
	p.add("squatter", slot, netip.Addr{})
	if again, _ := assign(t, p, "a", netip.Addr{}); again == v4 {
		t.Error("a taken place was given again")
	} else if name, _ := p.Name(again); name != "a" {
		t.Errorf("%v is %q", again, name)
	}
}

func TestAFloodOfNamesLeavesOthersAlone(t *testing.T) {
	p := NewPool()
	quiet, _ := assign(t, p, "quiet.gnet.alt", tv)
	used, _ := assign(t, p, "used.gnet.alt", phone)
	_, release, _ := p.Hold(used)
	names := 1_000_000
	if testing.Short() {
		names = 2 * Capacity
	}
	for i := range names {
		assign(t, p, fmt.Sprintf("n%d.gnet.alt", i), phone)
	}
	if n, evicted := p.Len(); n != maxPerOwner+1 || evicted == 0 || len(p.slots) != n || p.recent.Len() != n || len(p.owners) != 2 {
		t.Errorf("%d names, %d evicted, %d slots, %d owners", n, evicted, len(p.slots), len(p.owners))
	}
	for addr, want := range map[netip.Addr]string{quiet: "quiet.gnet.alt", used: "used.gnet.alt"} {
		if name, _ := p.Name(addr); name != want {
			t.Errorf("%v is %q, want %q", addr, name, want)
		}
	}
	release()
	release() // once counts
	for i := range maxPerOwner + 1 {
		assign(t, p, fmt.Sprintf("m%d.gnet.alt", i), phone)
	}
	if name, ok := p.Name(used); ok {
		t.Errorf("%q outlived a thousand later names", name)
	}
}

func TestWhoIsNotToldApartIsBoundedByAll(t *testing.T) {
	p := NewPool()
	var held []func()
	for i := range Capacity {
		v4, _ := assign(t, p, fmt.Sprintf("n%d", i), netip.Addr{})
		_, release, _ := p.Hold(v4)
		held = append(held, release)
	}
	if _, _, ok := p.Assign("one more", netip.Addr{}); ok {
		t.Error("a name in use was pushed out")
	}
	held[7]()
	assign(t, p, "one more", netip.Addr{})
	if n, _ := p.Len(); n != Capacity {
		t.Errorf("%d names", n)
	}
}

func TestSavedNamesComeBack(t *testing.T) {
	p := NewPool()
	slot, _ := slotOf(func() netip.Addr { a, _ := assign(t, p, "a", netip.Addr{}); return a }())
	p.remove(p.names["a"])
	p.add("squatter", slot, phone)
	moved, _ := assign(t, p, "a", phone)
	text, changed := p.Save()
	if _, again := p.Save(); !changed || again {
		t.Error("changed is not told once")
	}
	q := NewPool()
	if err := q.Load(text); err != nil {
		t.Fatal(err)
	}
	if again, _ := assign(t, q, "a", phone); again != moved {
		t.Errorf("%v before, %v after", moved, again)
	}
	if same, _ := q.Save(); string(same) != string(text) {
		t.Errorf("saved %q, then %q", text, same)
	}
	for _, bad := range []string{"", "x\n", stateHeader + "1\n", stateHeader + "x a\n", stateHeader + "4194304 a\n", stateHeader + "1 a\n1 b\n", stateHeader + "1 a\n2 a\n"} {
		if NewPool().Load([]byte(bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(stateHeader + "5 a.gnet.alt\n"))
	f.Add([]byte(stateHeader + "5 a b\n6 \xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := NewPool()
		if p.Load(text) != nil {
			return
		}
		saved, _ := p.Save()
		q := NewPool()
		if err := q.Load(saved); err != nil {
			t.Fatalf("%q saved as %q: %v", text, saved, err)
		}
	})
}

func BenchmarkAssignNew(b *testing.B) {
	p := NewPool()
	names := make([]string, 1<<16)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.gnet.alt", i)
	}
	for i := 0; b.Loop(); i++ {
		p.Assign(names[i&(1<<16-1)], phone)
	}
}
