package dht

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht/wire"
)

const (
	replicas = 8 // k: how many nodes hold a record, docs/decisions/0010-replication.md
	alpha    = 3 // requests of a lookup under way at once
	paths    = 4 // disjoint paths of a secure lookup
	quorum   = 3 // agreeing holders that end a lookup
)

// Config is what a DHT needs to begin.
type Config struct {
	// Self is our mesh address; our place follows from it.
	Self netip.Addr

	// Rand must not be foreseen by others: rand.New(rand.NewChaCha8(seed)) with a
	// random seed. Request numbers and the secret of tokens come from it.
	Rand *rand.Rand

	// Types are the records we store and find; nil means DefaultTypes.
	Types map[uint16]TypeSpec

	// Client nodes ask and publish, but answer nothing and store nothing for others.
	Client bool

	// Membership promises that SetReachable names every node that can be reached.
	// Then nodes without a route are not asked, and the k closest to a key are
	// mostly known without a search.
	Membership bool

	// ClockTrusted says that wall time is right; SetClockTrusted changes it.
	ClockTrusted bool

	// Small is for routers with 64 MiB of memory: smaller bounds of everything.
	Small bool

	// MaxBytes and MaxRecords bound the store; zero means 4 MiB and 4096, or 1 MiB
	// and 1024 for a small node.
	MaxBytes, MaxRecords int

	// Republish is the interval of publications; zero means 5 to 10 minutes, by how
	// long the nodes of the network stay.
	Republish time.Duration

	// PuzzleBits is how much work a node's address must show to become a contact.
	PuzzleBits int
}

// DHT is a node of the hash table.
type DHT struct {
	cfg          Config
	bounds       bounds
	rand         *rand.Rand
	types        map[uint16]TypeSpec
	addr         netip.Addr
	self         Key
	clockTrusted bool

	epoch  time.Time
	now    tick
	wall   time.Time
	timers timers

	contacts    contacts
	table       table
	graves      []*contact // the longest dead first
	links       map[string]int
	reachable   int
	overflow    bool // there were more reachable nodes than we keep
	silentSince tick // the first request after the last reply; zero: none
	doubtAt     tick
	healTimer   *timer
	graveTimer  *timer
	joined      bool

	upkeep                     *timer // nil before anything was told
	selfLookupAt, siblingAsked tick
	filled                     bool // the first own lookup has ended

	srtt, rttvar tick // over all contacts

	requests map[uint64]*request
	queues   [2][]*request // own, upkeep: waiting for one of maxOutstanding places
	active   int

	tokens       tokens
	strangers    bucket
	linkRates    map[string]*bucket
	introduce    bucket // pings to unknown nodes that asked us something
	verifyRate   bucket
	assemblies   map[assemblyKey]*assembly
	store        store
	publications map[Key]*publication
	floor        floors
	handovers    []handover
	handoverNext *timer

	lookups map[*lookup]struct{}
	nextOp  OpID

	events []Event
	read   int
	counts [counterCount]uint64
}

// OpID names an operation: Get, Publish, Put or Lookup.
type OpID uint64

// New returns a DHT that knows nobody.
func New(cfg Config) *DHT {
	b := cfg.bounds()
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = b.maxBytes
	}
	if cfg.MaxRecords <= 0 {
		cfg.MaxRecords = b.maxRecords
	}
	if cfg.Types == nil {
		cfg.Types = DefaultTypes()
	}
	d := &DHT{
		cfg: cfg, bounds: b, rand: cfg.Rand, types: cfg.Types, addr: cfg.Self, self: NodeKey(cfg.Self),
		clockTrusted: cfg.ClockTrusted,
		contacts:     contacts{byAddr: make(map[netip.Addr]*contact)},
		links:        make(map[string]int),
		requests:     make(map[uint64]*request),
		strangers:    bucket{rate: 200, burst: 400},
		linkRates:    make(map[string]*bucket),
		introduce:    bucket{rate: 5, burst: 20},
		verifyRate:   bucket{rate: b.verified, burst: 8 * b.verified},
		assemblies:   make(map[assemblyKey]*assembly),
		store:        newStore(cfg.MaxBytes, cfg.MaxRecords),
		publications: make(map[Key]*publication),
		floor:        newFloors(b.floors),
		lookups:      make(map[*lookup]struct{}),
	}
	for i := 0; i < len(d.tokens.secret); i += 8 {
		word := d.rand.Uint64()
		for j := range 8 {
			d.tokens.secret[i+j] = byte(word >> (8 * j))
		}
	}
	d.healTimer = newTimer(d.afterHeal)
	d.graveTimer = newTimer(d.wakeGraves)
	d.handoverNext = newTimer(d.handOver)
	return d
}

// validNode tells whether an address may be that of another node.
func (d *DHT) validNode(addr netip.Addr) bool {
	return identity.MeshPrefix.Contains(addr) && addr.Zone() == "" && addr != d.addr &&
		(d.cfg.PuzzleBits == 0 || Puzzle(addr) >= d.cfg.PuzzleBits)
}

// complete tells whether we know every node that can be reached.
func (d *DHT) complete() bool { return d.cfg.Membership && !d.overflow }

// SetClockTrusted says whether wall time is right.
func (d *DHT) SetClockTrusted(now time.Time, trusted bool) {
	d.begin(now)
	d.clockTrusted = trusted
}

// AddSeeds names nodes that are probably there: the contacts of an earlier run.
func (d *DHT) AddSeeds(now time.Time, addrs ...netip.Addr) {
	d.begin(now)
	d.start()
	for _, a := range addrs {
		if c := d.contact(a); c != nil && c.answered == 0 {
			d.ping(c)
		}
	}
}

// Contacts returns up to n nodes that answered, the longest known first: what to
// keep for the next start.
func (d *DHT) Contacts(n int) []netip.Addr {
	var list []*contact
	for i := range d.table.buckets {
		list = append(list, d.table.buckets[i].live...)
	}
	sortContacts(list)
	addrs := make([]netip.Addr, 0, min(n, len(list)))
	for _, c := range list[:min(n, len(list))] {
		addrs = append(addrs, c.addr)
	}
	return addrs
}

// NextEvent returns the next thing to do; false if there is none.
func (d *DHT) NextEvent() (Event, bool) {
	if d.read == len(d.events) {
		d.events, d.read = d.events[:0], 0
		return nil, false
	}
	e := d.events[d.read]
	d.events[d.read] = nil
	d.read++
	return e, true
}

// maxEvents bounds what waits to be taken; an owner that takes all events after
// each call never gets near.
const maxEvents = 8192

func (d *DHT) emit(e Event) {
	if len(d.events)-d.read >= maxEvents {
		if _, packet := e.(SendPacket); packet {
			d.counts[eventsDropped]++
			return
		}
	}
	d.events = append(d.events, e)
}

func (d *DHT) send(to netip.Addr, m wire.Message) int {
	m.Client = d.cfg.Client
	p := wire.Append(make([]byte, 0, 128), m)
	d.transmit(to, p)
	return len(p)
}

func (d *DHT) transmit(to netip.Addr, p []byte) {
	d.counts[packetsSent]++
	d.counts[bytesSent] += uint64(len(p))
	d.emit(SendPacket{To: netip.AddrPortFrom(to, Port), Packet: p})
}

func (d *DHT) newOp() OpID {
	d.nextOp++
	return d.nextOp
}
