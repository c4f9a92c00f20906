// Package medium is the air between simulated radios, as a state machine: who
// hears whom, what is lost, how long a frame takes and who must wait meanwhile.
//
// It does no I/O. A frame that a radio sends is handed to HandleFrame; what is
// heard of it comes out of NextEvent, at once or after HandleTimeout was called
// at NextTimeout. The owner calls from one goroutine at a time. The same seed,
// calls and times give the same losses.
package medium

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"
)

// Radio is the number that Add gave to a radio.
type Radio int

// Quality is how well one radio hears another, in one direction.
type Quality struct {
	Loss   float64       // of frames, 0 to 1
	Delay  time.Duration // added to the air time
	Jitter time.Duration // up to so much more delay; frames keep their order
	Rate   int64         // bit/s; 0 means that frames take no air time
}

// Counters of a radio.
type Counters struct {
	Sent      uint64 // frames that went on air
	Received  uint64
	Lost      uint64 // frames sent by this radio that one hearer lost; counted for each hearer
	Overflow  uint64 // frames dropped because the air was busy for too long
	SentBytes uint64
	Busy      time.Duration // air time of the frames sent
}

// Delivery is a frame that a radio hears. Several deliveries share the frame: it must not be changed.
type Delivery struct {
	To    Radio
	Frame []byte
}

const (
	// preamble is the air time of a frame besides its bits: preamble, gaps, acknowledgement.
	preamble = 100 * time.Microsecond

	// maxWait is how long a frame may wait for the air before it is dropped, as a driver's queue would.
	maxWait = 500 * time.Millisecond

	// maxQueued bounds the frames under way in the whole medium.
	maxQueued = 65536

	// maxAddresses bounds the MAC addresses that are remembered for a radio (a bridge behind it, a macvlan).
	maxAddresses = 16
)

type radio struct {
	node      string
	channel   int
	addresses [][6]byte
	hearers   []hearer // valid while built == Medium.generation
	built     uint64
	busy      time.Time // when the air around this radio is free
	counters  Counters
}

type hearer struct {
	to      Radio
	quality Quality
}

// Medium is the air. See the package comment.
type Medium struct {
	topology
	rng    *rand.Rand
	radios []*radio
	owner  map[[6]byte]Radio
	queue  queue
	seq    uint64
	last   map[[2]Radio]time.Time // arrival of the newest frame, to keep frames in order
	events []Delivery
	head   int // of events, the next to hand out
}

// New makes an empty medium. The seed decides which frames are lost.
func New(seed uint64) *Medium {
	return &Medium{
		topology: newTopology(),
		rng:      rand.New(rand.NewPCG(seed, 0x676e)),
		owner:    map[[6]byte]Radio{},
		last:     map[[2]Radio]time.Time{},
	}
}

// Add puts a radio of a node on a channel. Radios hear each other on one channel only.
func (m *Medium) Add(node string, channel int, mac [6]byte) Radio {
	r := Radio(len(m.radios))
	m.radios = append(m.radios, &radio{node: node, channel: channel, addresses: [][6]byte{mac}})
	m.owner[mac] = r
	m.generation++
	return r
}

// Counters returns a copy of a radio's counters.
func (m *Medium) Counters(r Radio) Counters { return m.radios[r].counters }

// Hears lists who hears a radio now.
func (m *Medium) Hears(r Radio) []Radio {
	var to []Radio
	for _, h := range m.hearersOf(r) {
		to = append(to, h.to)
	}
	return to
}

func (m *Medium) hearersOf(r Radio) []hearer {
	from := m.radios[r]
	if from.built == m.generation {
		return from.hearers
	}
	from.hearers = from.hearers[:0]
	for i, other := range m.radios {
		if Radio(i) == r || other.channel != from.channel || other.node == from.node {
			continue
		}
		if q, ok := m.quality(from.node, other.node, from.channel); ok {
			from.hearers = append(from.hearers, hearer{Radio(i), q})
		}
	}
	from.built = m.generation
	return from.hearers
}

// HandleFrame takes an Ethernet frame that a radio sends. The medium keeps the slice.
func (m *Medium) HandleFrame(now time.Time, r Radio, frame []byte) {
	if len(frame) < 14 {
		return
	}
	from := m.radios[r]
	dst, src := [6]byte(frame[0:6]), [6]byte(frame[6:12])
	m.learn(r, src)

	hearers := m.hearersOf(r)
	target, unicast := m.owner[dst]
	unicast = unicast && dst[0]&1 == 0

	air := airTime(len(frame), hearers, target, unicast)
	start := now
	if air > 0 {
		start = later(start, from.busy)
		for _, h := range hearers {
			start = later(start, m.radios[h.to].busy)
		}
		if start.Sub(now) > maxWait {
			from.counters.Overflow++
			return
		}
		// Everyone who hears the frame is silent meanwhile: half duplex, as with RTS/CTS.
		end := start.Add(air)
		from.busy = end
		for _, h := range hearers {
			m.radios[h.to].busy = end
		}
	}
	from.counters.Sent++
	from.counters.SentBytes += uint64(len(frame))
	from.counters.Busy += air
	for _, h := range hearers {
		if unicast && h.to != target {
			continue
		}
		m.send(now, start.Add(air), r, h, frame)
	}
}

func (m *Medium) send(now, at time.Time, r Radio, h hearer, frame []byte) {
	if h.quality.Loss > 0 && m.rng.Float64() < h.quality.Loss {
		m.radios[r].counters.Lost++
		return
	}
	at = at.Add(h.quality.Delay)
	if h.quality.Jitter > 0 {
		at = at.Add(time.Duration(m.rng.Int64N(int64(h.quality.Jitter))))
	}
	pair := [2]Radio{r, h.to}
	at = later(at, m.last[pair])
	if !at.After(now) {
		m.deliver(h.to, frame)
		return
	}
	if len(m.queue) >= maxQueued {
		m.radios[r].counters.Overflow++
		return
	}
	m.last[pair] = at
	m.seq++
	m.queue.push(queued{at, m.seq, m.generation, r, Delivery{h.to, frame}})
}

func (m *Medium) deliver(to Radio, frame []byte) {
	m.radios[to].counters.Received++
	m.events = append(m.events, Delivery{to, frame})
}

// learn remembers whose address src is, so that unicast frames reach only their radio.
func (m *Medium) learn(r Radio, src [6]byte) {
	if owner, known := m.owner[src]; known && owner == r || src[0]&1 != 0 {
		return
	}
	a := m.radios[r].addresses
	if len(a) >= maxAddresses {
		// Keep the radio's own address, forget the oldest other.
		if m.owner[a[1]] == r {
			delete(m.owner, a[1])
		}
		a = slices.Delete(a, 1, 2)
	}
	m.radios[r].addresses = append(a, src)
	m.owner[src] = r
}

// airTime is how long a frame occupies the air: a unicast frame goes at the rate
// to its target, all others at the lowest rate of those who hear it.
func airTime(size int, hearers []hearer, target Radio, unicast bool) time.Duration {
	var rate int64
	for _, h := range hearers {
		if unicast && h.to == target {
			rate = h.quality.Rate
			break
		}
		if h.quality.Rate > 0 && (rate == 0 || h.quality.Rate < rate) {
			rate = h.quality.Rate
		}
	}
	if rate <= 0 {
		return 0
	}
	return preamble + time.Duration(int64(size)*8*int64(time.Second)/rate)
}

// NextTimeout is when HandleTimeout is due, or the zero time.
func (m *Medium) NextTimeout() time.Time {
	if len(m.queue) == 0 {
		return time.Time{}
	}
	return m.queue[0].at
}

// HandleTimeout delivers the frames that have arrived by now. A frame whose
// hearer has meanwhile moved out of reach is lost.
func (m *Medium) HandleTimeout(now time.Time) {
	for len(m.queue) > 0 && !m.queue[0].at.After(now) {
		q := m.queue.pop()
		if q.generation != m.generation {
			from, to := m.radios[q.from], m.radios[q.To]
			if _, ok := m.quality(from.node, to.node, from.channel); !ok {
				from.counters.Lost++
				continue
			}
		}
		m.deliver(q.To, q.Frame)
	}
}

// NextEvent returns the next frame that is heard.
func (m *Medium) NextEvent() (Delivery, bool) {
	if m.head == len(m.events) {
		m.events, m.head = m.events[:0], 0
		return Delivery{}, false
	}
	d := m.events[m.head]
	m.events[m.head] = Delivery{}
	m.head++
	return d, true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// MAC returns the address of the n-th interface of a lab: locally administered, unicast.
func MAC(n int) [6]byte {
	mac := [6]byte{0x02, 0x47}
	binary.BigEndian.PutUint32(mac[2:], uint32(n))
	return mac
}
