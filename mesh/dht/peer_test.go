package dht

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht/wire"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is one node and everybody else, whose datagrams the test writes itself.
type world struct {
	t    testing.TB
	d    *DHT
	now  time.Time
	id   uint64
	sent []SendPacket // requests of the node, and replies nobody took
	told []Event
}

func newWorld(t testing.TB, cfg Config) *world {
	cfg.Self = addrOf(0)
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewChaCha8([32]byte{1}))
	}
	return &world{t: t, d: New(cfg), now: start}
}

// addrOf is the i-th mesh address.
func addrOf(i int) netip.Addr {
	a := identity.MeshPrefix.Addr().As16()
	binary.BigEndian.PutUint64(a[8:], uint64(i)+1)
	return netip.AddrFrom16(a)
}

func (w *world) collect() {
	for {
		e, ok := w.d.NextEvent()
		if !ok {
			return
		}
		if p, ok := e.(SendPacket); ok {
			w.sent = append(w.sent, p)
		} else {
			w.told = append(w.told, e)
		}
	}
}

func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for {
		due := w.d.NextTimeout()
		if due.IsZero() || due.After(end) {
			break
		}
		if due.After(w.now) {
			w.now = due
		}
		w.d.HandleTimeout(w.now)
		w.collect()
	}
	w.now = end
}

// ask sends a request and returns the reply, nil if there is none.
func (w *world) ask(from netip.Addr, b wire.Body) wire.Body {
	w.t.Helper()
	reply, _ := w.exchange(from, wire.Message{Body: b})
	return reply
}

// exchange returns the reply and how long the datagrams to the asker were in all.
func (w *world) exchange(from netip.Addr, m wire.Message) (wire.Body, int) {
	w.t.Helper()
	w.id++
	m.ID = w.id
	before := len(w.sent)
	if err := w.d.HandlePacket(w.now, netip.AddrPortFrom(from, Port), wire.Append(nil, m)); err != nil {
		w.t.Fatalf("%v refused: %v", m.Body.Kind(), err)
	}
	w.collect()
	var reply wire.Body
	length := 0
	for i := before; i < len(w.sent); i++ {
		r, err := wire.Parse(w.sent[i].Packet)
		if err != nil {
			w.t.Fatal(err)
		}
		if w.sent[i].To.Addr() != from {
			continue
		}
		length += len(w.sent[i].Packet)
		if r.ID == m.ID && r.Body.Kind().Reply() {
			reply = r.Body
			w.sent = append(w.sent[:i], w.sent[i+1:]...)
			i--
		}
	}
	return reply, length
}

func (w *world) token(from netip.Addr) wire.Token {
	w.t.Helper()
	return w.ask(from, wire.Find{}).(wire.Found).Token
}

// requests returns what the node asked since the last call.
func (w *world) requests() (list []wire.Message, to []netip.Addr) {
	w.collect()
	for _, p := range w.sent {
		m, err := wire.Parse(p.Packet)
		if err != nil {
			w.t.Fatal(err)
		}
		list, to = append(list, m), append(to, p.To.Addr())
	}
	w.sent = nil
	return list, to
}

// reply answers a request of the node.
func (w *world) reply(from netip.Addr, id uint64, b wire.Body) {
	w.t.Helper()
	if err := w.d.HandlePacket(w.now, netip.AddrPortFrom(from, Port), wire.Append(nil, wire.Message{ID: id, Body: b})); err != nil {
		w.t.Fatal(err)
	}
	w.collect()
}

// meet makes a contact live: the node asks it, and it answers.
func (w *world) meet(addr netip.Addr) *contact {
	w.t.Helper()
	w.requests()
	w.d.AddSeeds(w.now, addr)
	list, to := w.requests()
	for i, m := range list {
		if to[i] == addr && m.Body.Kind() == wire.KindPing {
			w.reply(addr, m.ID, wire.Pong{Token: wire.Token{7}})
		}
	}
	c := w.d.contacts.get(addr)
	if c == nil || c.answered == 0 {
		w.t.Fatalf("%v did not become a contact", addr)
	}
	return c
}

func keyOf(i int) KeySigner {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	return KeySigner(ed25519.NewKeyFromSeed(seed[:]))
}

// signed makes a generic record of the i-th key.
func signed(i int, seq uint64, value string) *Record {
	r := &Record{Type: TypeGeneric, Salt: []byte("test"), Seq: seq, Value: []byte(value)}
	SignRecord(r, keyOf(i))
	return r
}

// store sends a record in one go, or all of its segments, and returns the last status.
func (w *world) store(from netip.Addr, r *Record, change func(*wire.Store)) wire.Status {
	w.t.Helper()
	encoded := wire.AppendRecord(nil, r)
	token := w.token(from)
	var last wire.Status
	for at := 0; at < len(encoded); at += wire.SegmentSize {
		s := wire.Store{
			Token: token, Key: r.Key(), Digest: r.Digest(), TTL: 3600, Total: uint16(len(encoded)), Offset: uint16(at),
			Data: encoded[at:][:wire.SegmentLen(len(encoded), at)],
		}
		if change != nil {
			change(&s)
		}
		answer, ok := w.ask(from, s).(wire.Answer)
		if !ok {
			w.t.Fatal("no answer to a store")
		}
		last = answer.Status
	}
	return last
}
