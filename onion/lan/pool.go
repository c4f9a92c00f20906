package lan

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// Prefixes of the virtual addresses.
var (
	Prefix4 = netip.MustParsePrefix("10.192.0.0/10")
	Prefix6 = netip.MustParsePrefix("fd67:6e65:7400::/64")
)

const (
	slots = 1 << 22 // addresses of Prefix4

	// Capacity bounds the names that have addresses.
	Capacity = 4096
	// maxPerOwner bounds the names that one client asked for first, so that who asks
	// for a million pushes out none of the others'.
	maxPerOwner = Capacity / 4
)

// Pool maps names to virtual addresses, one of each family. A name's place follows from
// its hash, so it mostly gets the same addresses again, whatever happened meanwhile. When
// there are too many, the name that was not used for longest goes; one in use stays.
//
// Its methods may be called from any goroutine.
type Pool struct {
	mu      sync.Mutex
	names   map[string]*mapping
	slots   map[uint32]*mapping
	recent  *list.List // of *mapping, the last used first
	owners  map[netip.Addr]int
	evicted uint64
	changed bool
}

type mapping struct {
	name  string
	slot  uint32
	owner netip.Addr // who asked first; invalid: not told apart
	users int        // connections now
	place *list.Element
}

// NewPool returns an empty Pool.
func NewPool() *Pool {
	return &Pool{names: make(map[string]*mapping), slots: make(map[uint32]*mapping), recent: list.New(), owners: make(map[netip.Addr]int)}
}

// IsVirtual reports whether addr is of a Pool.
func IsVirtual(addr netip.Addr) bool {
	addr = addr.Unmap()
	return Prefix4.Contains(addr) || Prefix6.Contains(addr)
}

func slotOf(addr netip.Addr) (uint32, bool) {
	switch addr = addr.Unmap(); {
	case Prefix4.Contains(addr):
		b := addr.As4()
		return binary.BigEndian.Uint32(b[:]) & (slots - 1), true
	case Prefix6.Contains(addr):
		b := addr.As16()
		if slot := binary.BigEndian.Uint64(b[8:]); slot < slots {
			return uint32(slot), true
		}
	}
	return 0, false
}

func addrsOf(slot uint32) (v4, v6 netip.Addr) {
	a := Prefix4.Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|slot)
	b := Prefix6.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], uint64(slot))
	return netip.AddrFrom4(a), netip.AddrFrom16(b)
}

// Assign returns the addresses of a name, which is lower case and has no final dot. It
// fails where all names that would have to go are in use.
func (p *Pool) Assign(name string, owner netip.Addr) (v4, v6 netip.Addr, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.names[name]
	if m == nil {
		if !p.makeRoom(owner) {
			return v4, v6, false
		}
		m = p.add(name, p.freeSlot(name), owner)
	}
	p.recent.MoveToFront(m.place)
	v4, v6 = addrsOf(m.slot)
	return v4, v6, true
}

func (p *Pool) add(name string, slot uint32, owner netip.Addr) *mapping {
	m := &mapping{name: name, slot: slot, owner: owner}
	m.place = p.recent.PushFront(m)
	p.names[name], p.slots[slot] = m, m
	if owner.IsValid() {
		p.owners[owner]++
	}
	p.changed = true
	return m
}

// freeSlot begins at the name's own place. The first and last addresses of a /24, which
// some systems take for a network's, are left out.
func (p *Pool) freeSlot(name string) uint32 {
	h := sha256.Sum256([]byte("globalnet lan address\x00" + name))
	for slot := binary.BigEndian.Uint32(h[:]); ; slot++ {
		slot &= slots - 1
		if low := slot & 255; low == 0 || low == 255 {
			continue
		}
		if p.slots[slot] == nil {
			return slot
		}
	}
}

func (p *Pool) makeRoom(owner netip.Addr) bool {
	if owner.IsValid() && p.owners[owner] >= maxPerOwner {
		return p.evict(func(m *mapping) bool { return m.owner == owner })
	}
	return len(p.names) < Capacity || p.evict(func(*mapping) bool { return true })
}

func (p *Pool) evict(fits func(*mapping) bool) bool {
	for e := p.recent.Back(); e != nil; e = e.Prev() {
		if m := e.Value.(*mapping); m.users == 0 && fits(m) {
			p.remove(m)
			p.evicted++
			return true
		}
	}
	return false
}

func (p *Pool) remove(m *mapping) {
	p.recent.Remove(m.place)
	delete(p.names, m.name)
	delete(p.slots, m.slot)
	if m.owner.IsValid() {
		if p.owners[m.owner]--; p.owners[m.owner] == 0 {
			delete(p.owners, m.owner)
		}
	}
	p.changed = true
}

// Name returns whose address addr is.
func (p *Pool) Name(addr netip.Addr) (string, bool) {
	name, release, ok := p.Hold(addr)
	if ok {
		release()
	}
	return name, ok
}

// Hold returns whose address addr is, and keeps it so until release is called.
func (p *Pool) Hold(addr netip.Addr) (name string, release func(), ok bool) {
	slot, ok := slotOf(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.slots[slot]
	if !ok || m == nil {
		return "", nil, false
	}
	p.recent.MoveToFront(m.place)
	m.users++
	return m.name, sync.OnceFunc(func() {
		p.mu.Lock()
		m.users--
		p.mu.Unlock()
	}), true
}

// Len returns how many names have addresses, and how many had to go.
func (p *Pool) Len() (names int, evicted uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names), p.evicted
}

// stateHeader begins a saved Pool; each following line is a slot and a name, the name
// last used at the end.
const stateHeader = "globalnet lan names 1\n"

// Save returns the mapping, and whether it has changed since the last call.
func (p *Pool) Save() (text []byte, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bytes.NewBufferString(stateHeader)
	for e := p.recent.Back(); e != nil; e = e.Prev() {
		m := e.Value.(*mapping)
		fmt.Fprintf(b, "%d %s\n", m.slot, m.name)
	}
	changed, p.changed = p.changed, false
	return b.Bytes(), changed
}

// Load takes a saved mapping into an empty Pool.
func (p *Pool) Load(text []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest, ok := strings.CutPrefix(string(text), stateHeader)
	if !ok {
		return errors.New("loading names: unknown format")
	}
	for line := range strings.Lines(rest) {
		number, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		slot, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || slot >= slots || name == "" || len(name) > 253 {
			return fmt.Errorf("loading names: wrong line %q", line)
		}
		if p.names[name] != nil || p.slots[uint32(slot)] != nil || len(p.names) == Capacity {
			return fmt.Errorf("loading names: %q is one too many", name)
		}
		p.add(name, uint32(slot), netip.Addr{})
	}
	p.changed = false
	return nil
}
