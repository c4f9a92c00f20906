package netdir

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"globalnet/internal/identity"
)

// end is one side of a link between two exchanges without connections.
type end struct {
	dir *Directory
	x   *exchange
}

// connect begins a session of two directories.
func connect(now time.Time, a, b *Directory, books map[*Directory]*book) (x, y *end) {
	session := func(d, other *Directory) *end {
		if books[d] == nil {
			books[d] = newBook()
		}
		return &end{dir: d, x: newExchange(now, d, other.cfg.Self, books[d], newQuota(d.cfg.Max))}
	}
	return session(a, b), session(b, a)
}

// step moves what x has to say to y, at most n messages, and reports whether there was any.
func step(t interface{ Fatal(...any) }, now time.Time, x, y *end, n int) (moved bool) {
	for range n {
		message, ok := x.x.next(now, nil)
		if !ok {
			return moved
		}
		moved = true
		if int(binary.BigEndian.Uint16(message[1:])) != len(message)-messageHeader {
			t.Fatal("wrong length in a message")
		}
		if err := y.x.handle(now, message[0], message[messageHeader:]); err != nil {
			t.Fatal(err)
		}
	}
	return moved
}

// settle lets both talk until they have nothing to say.
func settle(t interface{ Fatal(...any) }, now time.Time, x, y *end) (messages int) {
	for range 10000 {
		p, q := step(t, now, x, y, 1), step(t, now, y, x, 1)
		if !p && !q {
			return messages
		}
		messages++
	}
	t.Fatal("they never stop talking")
	return 0
}

func sequences(d *Directory, now time.Time) map[identity.NodeID]uint64 {
	m := make(map[identity.NodeID]uint64)
	for _, r := range d.Relays(now) {
		m[r.Node] = r.Sequence
	}
	return m
}

// Whatever two directories hold, however often their connection breaks: in the
// end both hold the newest of all.
func TestReconcile(t *testing.T) {
	ids := make([]*identity.Identity, 12)
	raws := make([][4][]byte, len(ids))
	for i := range ids {
		ids[i] = person(t, 10+i)
		for seq := range 4 {
			raws[i][seq] = signed(t, ids[i], simple(uint64(seq+1)))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		now := start
		books := make(map[*Directory]*book)
		a := New(Config{Self: person1.NodeID()})
		b := New(Config{Self: person2.NodeID()})
		want := make(map[identity.NodeID]uint64)
		add := func(d *Directory, label string) {
			i := rapid.IntRange(0, len(ids)-1).Draw(t, label)
			seq := rapid.IntRange(0, 3).Draw(t, label+" sequence")
			if _, err := d.Add(now, raws[i][seq], 0); err != nil {
				t.Fatal(err)
			}
			want[ids[i].NodeID()] = max(want[ids[i].NodeID()], uint64(seq+1))
		}
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			add([]*Directory{a, b}[rapid.IntRange(0, 1).Draw(t, "side")], "node")
		}
		x, y := connect(now, a, b, books)
		for range rapid.IntRange(0, 30).Draw(t, "turns") {
			switch rapid.IntRange(0, 4).Draw(t, "turn") {
			case 0: // what was under way is lost
				x.x.end()
				y.x.end()
				x, y = connect(now, a, b, books)
			case 1:
				add([]*Directory{a, b}[rapid.IntRange(0, 1).Draw(t, "side")], "node")
			case 2:
				step(t, now, x, y, rapid.IntRange(1, 5).Draw(t, "messages"))
			case 3:
				step(t, now, y, x, rapid.IntRange(1, 5).Draw(t, "messages"))
			case 4:
				now = now.Add(time.Second)
			}
		}
		settle(t, now, x, y)
		for name, d := range map[string]*Directory{"a": a, "b": b} {
			got := sequences(d, now)
			if len(got) != len(want) {
				t.Fatalf("%s has %d of %d", name, len(got), len(want))
			}
			for node, seq := range want {
				if got[node] != seq {
					t.Fatalf("%s has %d of %s, want %d", name, got[node], node.Short(), seq)
				}
			}
		}
		if !x.x.done || !y.x.done {
			t.Fatal("they do not know that they are alike")
		}
	})
}

var person1, person2 = mustSeed(1), mustSeed(2)

func mustSeed(n byte) *identity.Identity {
	id, err := identity.FromSeed(append(make([]byte, 31), n))
	if err != nil {
		panic(err)
	}
	return id
}

// Alike directories say next to nothing, and the digest comes every few minutes.
func TestIdleIsQuiet(t *testing.T) {
	a, b := directory(t, 1, 0), directory(t, 2, 0)
	for i := range 20 {
		raw := signed(t, person(t, 10+i), simple(1))
		mustAdd(t, a, start, raw, 0, true)
		mustAdd(t, b, start, raw, 0, true)
	}
	x, y := connect(start, a, b, make(map[*Directory]*book))
	settle(t, start, x, y)
	size := 0
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(tickInterval) {
		if err := x.x.tick(now); err != nil {
			t.Fatal(err)
		}
		for {
			message, ok := x.x.next(now, nil)
			if !ok {
				break
			}
			size += len(message)
			if err := y.x.handle(now, message[0], message[messageHeader:]); err != nil {
				t.Fatal(err)
			}
			if answer, ok := y.x.next(now, nil); ok {
				t.Fatalf("an answer of kind %d without need", answer[0])
			}
		}
	}
	if size < 10*(messageHeader+digestSize) || size > 15*(messageHeader+digestSize) {
		t.Errorf("%d bytes in an idle hour", size)
	}
}

// Zombies: a ring of holders drops a descriptor when its time is over, although
// each could have it from the next, and one of them lies about its age.
func TestZombiesDie(t *testing.T) {
	const n = 5
	raw := signed(t, person(t, 50), simple(1))
	dirs := make([]*Directory, n)
	for i := range dirs {
		dirs[i] = directory(t, i+1, 0)
	}
	mustAdd(t, dirs[0], start, raw, 0, true)
	books := make(map[*Directory]*book)
	zombies := 0
	for now := start; now.Before(start.Add(2 * MaxAge)); now = now.Add(7 * time.Minute) {
		mustAddAny(t, dirs[2], now, raw) // the liar: always fresh
		for i := range dirs {
			x, y := connect(now, dirs[i], dirs[(i+1)%n], books)
			settle(t, now, x, y)
		}
		for i, d := range dirs {
			alive := len(d.Relays(now)) == 1
			if since := now.Sub(start); since >= MaxAge && alive {
				zombies++
			} else if since < MaxAge-ageMargin && !alive {
				t.Fatalf("holder %d has lost it after %v", i, since)
			}
		}
	}
	if zombies > 0 {
		t.Errorf("seen %d times after its time", zombies)
	}
	fresh := directory(t, 9, 0) // who comes later does not get it from the honest
	x, y := connect(start.Add(2*MaxAge), fresh, dirs[0], books)
	settle(t, start.Add(2*MaxAge), x, y)
	if len(fresh.Relays(start.Add(2*MaxAge))) != 0 {
		t.Error("a newcomer got a zombie")
	}
}

func mustAddAny(t *testing.T, d *Directory, now time.Time, raw []byte) {
	t.Helper()
	if _, err := d.Add(now, raw, 0); err != nil {
		t.Fatal(err)
	}
}

// A neighbour offers nodes without end: we ask for a directory full and no more,
// and remember no more than that.
func TestFloodOfOffers(t *testing.T) {
	const most = 50
	d := directory(t, 1, most)
	q := newQuota(most)
	x := newExchange(start, d, person(t, 2).NodeID(), newBook(), q)
	r := rand.New(rand.NewPCG(3, 4))
	asked, queued := 0, 0
	for i := range 200 {
		now := start.Add(time.Duration(i) * 10 * time.Millisecond)
		var offers []offer
		for range maxLines {
			var o offer
			for j := range o.node {
				o.node[j] = byte(r.Uint32())
			}
			o.sequence = 1
			offers = append(offers, o)
		}
		if err := x.handle(now, kindHave, appendHave(nil, false, offers)); err != nil {
			t.Fatal(err)
		}
		for {
			message, ok := x.next(now, nil)
			if !ok {
				break
			}
			if message[0] == kindWant {
				nodes, err := parseNodes(message[messageHeader:])
				if err != nil {
					t.Fatal(err)
				}
				asked += len(nodes)
				for _, node := range nodes { // it is given at once, as far as we know
					give(d, now, node, x.peer)
					x.mu.Lock()
					x.answered(node)
					x.mu.Unlock()
				}
			}
		}
		queued = max(queued, len(x.queue)+len(x.waiting))
	}
	if asked > 2*most {
		t.Errorf("asked for %d of a flood", asked)
	}
	if queued > 2*most {
		t.Errorf("%d offers queued", queued)
	}
	if n := len(d.Relays(start)); n != most {
		t.Errorf("%d descriptors, want %d", n, most)
	}
	if d.Counters()["directory_gossip_offers_over_quota"] == 0 {
		t.Error("not counted")
	}
	// A day later it may bring as many new ones as a directory holds an hour.
	if later := start.Add(24 * time.Hour); !q.take(later, true) {
		t.Error("the quota does not come back")
	}
}

// Who offers what it does not have is told apart from who lost a descriptor.
func TestPromisesAreKept(t *testing.T) {
	offers := func(n int) (all []offer) {
		for i := range n {
			all = append(all, offer{node: person(t, 200+i).NodeID(), revision: revision{sequence: 9}})
		}
		return all
	}
	begin := func(n int) *exchange {
		x := newExchange(start, directory(t, 1, 0), person(t, 2).NodeID(), newBook(), newQuota(2000))
		if err := x.handle(start, kindHave, appendHave(nil, false, offers(n))); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			_, more = x.next(start, nil)
		}
		return x
	}
	x := begin(1)
	old := append(make([]byte, 4), signed(t, person(t, 200), simple(8))...)
	if err := x.handle(start, kindDescriptor, old); !errors.Is(err, errPromise) {
		t.Errorf("an older one than offered: %v", err)
	}
	x = begin(1)
	node := person(t, 200).NodeID()
	if err := x.handle(start, kindGone, node[:]); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
	if err := x.handle(start, kindGone, node[:]); !errors.Is(err, errUnasked) {
		t.Errorf("gone twice: %v", err)
	}
	x = begin(maxAsked)
	if err := x.tick(start.Add(askTimeout + 1)); err != nil {
		t.Errorf("silence once: %v", err)
	}
	if len(x.asked) != 0 {
		t.Error("still waiting")
	}
	x.handle(start, kindHave, appendHave(nil, false, offers(maxAsked)))
	for more := true; more; {
		_, more = x.next(start.Add(askTimeout+1), nil)
	}
	if err := x.tick(start.Add(2*askTimeout + 2)); !errors.Is(err, errPromise) {
		t.Errorf("silence again: %v", err)
	}
}

// A neighbour that promises and does not give keeps others from being asked for
// a few seconds only.
func TestSecondNeighbourIsAsked(t *testing.T) {
	d, b := directory(t, 1, 0), newBook()
	raw := signed(t, person(t, 7), simple(1))
	o := offer{node: person(t, 7).NodeID(), revision: revision{1, sumOf(raw)}}
	asks := func(x *exchange, now time.Time) bool {
		for {
			message, ok := x.next(now, nil)
			if !ok {
				return false
			}
			if message[0] == kindWant {
				return true
			}
		}
	}
	silent := newExchange(start, d, person(t, 2).NodeID(), b, newQuota(2000))
	good := newExchange(start, d, person(t, 3).NodeID(), b, newQuota(2000))
	for _, x := range []*exchange{silent, good} {
		if err := x.handle(start, kindHave, appendHave(nil, false, []offer{o})); err != nil {
			t.Fatal(err)
		}
	}
	if !asks(silent, start) || asks(good, start) {
		t.Fatal("not the first one alone was asked")
	}
	if !asks(good, start.Add(patience)) {
		t.Fatal("the second was never asked")
	}
	if err := good.handle(start.Add(patience), kindDescriptor, append(make([]byte, 4), raw...)); err != nil {
		t.Fatal(err)
	}
	if len(d.Relays(start.Add(patience))) != 1 {
		t.Error("nothing came")
	}
}

// More news than the journal holds: the digests find them.
func TestJournalOverrun(t *testing.T) {
	a, b := directory(t, 1, 0), directory(t, 2, 0)
	x, y := connect(start, a, b, make(map[*Directory]*book))
	settle(t, start, x, y)
	raws := make([][]byte, 10)
	for i := range raws {
		raws[i] = signed(t, person(t, 10+i), simple(1))
		mustAdd(t, a, start, raws[i], 0, true)
	}
	a.mu.Lock()
	for range 2 * journalSize {
		a.recent.add(person(t, 10).NodeID())
	}
	a.mu.Unlock()
	settle(t, start, x, y)
	now := start.Add(time.Second)
	if err := x.x.tick(now); err != nil {
		t.Fatal(err)
	}
	settle(t, now, x, y)
	if n := len(b.Relays(now)); n != len(raws) {
		t.Errorf("%d of %d arrived", n, len(raws))
	}
}

// News is told to all but the neighbour it came from.
func TestNewsDoesNotGoBack(t *testing.T) {
	d := directory(t, 1, 0)
	book := newBook()
	from := newExchange(start, d, person(t, 2).NodeID(), book, newQuota(2000))
	other := newExchange(start, d, person(t, 3).NodeID(), book, newQuota(2000))
	haves := func(x *exchange) (n int) {
		for {
			message, ok := x.next(start, nil)
			if !ok {
				return n
			}
			if message[0] == kindHave {
				n++
			}
		}
	}
	haves(from)
	haves(other)
	if added, err := d.AddFrom(start, from.peer, signed(t, person(t, 9), simple(1)), 0); !added || err != nil {
		t.Fatal(added, err)
	}
	if a, b := haves(from), haves(other); a != 0 || b != 1 {
		t.Errorf("told %d times to whom it came from, %d times to the other", a, b)
	}
	if haves(other) != 0 {
		t.Error("told twice")
	}
}

// What a Have says does not depend on who is connected to whom: the same list
// whoever handed the descriptors on.
func TestAnswerDoesNotShowNeighbours(t *testing.T) {
	answer := func(seed uint64) []byte {
		d := directory(t, 1, 0)
		r := rand.New(rand.NewPCG(seed, 1))
		for _, i := range r.Perm(20) {
			from := person(t, 10+r.IntN(20)).NodeID()
			if _, err := d.AddFrom(start, from, signed(t, person(t, 10+i), simple(1)), 0); err != nil {
				t.Fatal(err)
			}
		}
		x := newExchange(start, d, person(t, 2).NodeID(), newBook(), newQuota(2000))
		none := [bucketCount]digest{}
		if err := x.handle(start, kindBuckets, appendBuckets(nil, &none)); err != nil {
			t.Fatal(err)
		}
		for {
			message, ok := x.next(start, nil)
			if !ok {
				t.Fatal("no answer")
			}
			if message[0] == kindHave {
				return message
			}
		}
	}
	if string(answer(1)) != string(answer(2)) {
		t.Error("the answer tells how the descriptors came")
	}
}

// Two samples of a large network never agree. They still stop talking, and ask
// less often.
func TestSamplesStopTalking(t *testing.T) {
	const most = 20
	a, b := directory(t, 1, most), directory(t, 2, most)
	for i := range 5 * most {
		raw := signed(t, person(t, 10+i), simple(1))
		mustAddAny(t, []*Directory{a, b}[i%2], start, raw)
	}
	x, y := connect(start, a, b, make(map[*Directory]*book))
	settle(t, start, x, y)
	if len(a.Relays(start)) != most || len(b.Relays(start)) != most {
		t.Errorf("%d and %d of at most %d", len(a.Relays(start)), len(b.Relays(start)), most)
	}
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(time.Minute) {
		for _, e := range []*end{x, y} {
			if err := e.x.tick(now); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, now, x, y)
	}
	last := start.Add(time.Hour - time.Minute)
	x.x.scheduleRoot(last)
	if wait := x.x.nextRoot.Sub(last); wait < 3*rootInterval {
		t.Errorf("a full directory asks again after %v", wait)
	}
}
