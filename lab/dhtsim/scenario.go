// Package dhtsim measures the hash table in virtual time: one process, one network
// in memory, real nodes of mesh/dht. Run is the scenario of the benchmark, Liars the
// one with colluding nodes, Replication the simulation behind
// docs/decisions/0010-replication.md. A seed gives the same run everywhere, but for
// the figures of memory.
package dhtsim

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/wire"
)

// Options are the sizes of a run; zero values are those of the benchmark.
type Options struct {
	Nodes, Records, Value, Parallel int
	Membership                      bool // nodes know each other by their routes
	Loss                            float64
	Delay                           time.Duration // one way, ± 40 %
	Seed                            uint64
}

func (o Options) filled() Options {
	for _, f := range []struct {
		v    *int
		zero int
	}{{&o.Nodes, 100}, {&o.Records, 100}, {&o.Value, 900}, {&o.Parallel, 8}} {
		if *f.v == 0 {
			*f.v = f.zero
		}
	}
	if o.Delay == 0 {
		o.Delay = 5 * time.Millisecond
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	return o
}

// Phase is what happened in a part of the scenario.
type Phase struct {
	Name      string
	Ops, OK   int
	Stale     int // of those not OK: an older version came
	P50, P95  time.Duration
	Requests  float64 // mean RPCs an operation
	Datagrams float64 // mean, of the whole network, requests and replies
}

func (p Phase) String() string {
	return fmt.Sprintf("%-34s %4d/%d ok, %d stale, p50 %v p95 %v, %.1f RPC, %.1f datagrams",
		p.Name, p.OK, p.Ops, p.Stale, p.P50.Round(100*time.Microsecond), p.P95.Round(100*time.Microsecond), p.Requests, p.Datagrams)
}

// Result is what a run found.
type Result struct {
	Options       Options
	Phases        []Phase
	HealedAfter   time.Duration // until 99 % fresh on the other side; negative: not within a minute
	IdleDatagrams float64       // sent a second and node, with nothing stored
	BytesPerNode  float64       // heap of a node that stores nothing
	Wall          time.Duration
}

// Phase returns the phase with a name.
func (r Result) Phase(name string) Phase {
	for _, p := range r.Phases {
		if p.Name == name {
			return p
		}
	}
	return Phase{Name: name}
}

// The names of the phases.
const (
	Store          = "store"
	GetFresh       = "get, fresh network"
	Update         = "update from another node"
	GetUpdated     = "get after update"
	GetKilled      = "get right after 30 % died"
	GetJoined      = "get after as many joined"
	Republish      = "publish anew"
	GetRepublished = "get after that"
	CutStore       = "store in one half of a cut network"
	CutGet         = "get the old value in the other half"
	Healed         = "get in the other half after healing"
)

// run is a scenario under way.
type run struct {
	o       Options
	net     *dhttest.Network
	version []int // of each record, the newest
	result  Result
}

// Run plays the scenario.
func Run(o Options) Result {
	o = o.filled()
	begun := time.Now()
	r := &run{o: o, net: network(o), version: make([]int, o.Records), result: Result{Options: o}}
	cfg := dhtConfig(o.Membership)
	before := heap()
	r.net.Build(o.Nodes, cfg)
	r.result.BytesPerNode = float64(heap()-before) / float64(o.Nodes)
	r.idle()

	r.publish(Store, r.net.Alive())
	r.get(GetFresh, r.net.Alive(), 0)
	r.publish(Update, r.net.Alive())
	r.get(GetUpdated, r.net.Alive(), 0)

	killed := r.kill(o.Nodes * 3 / 10)
	r.get(GetKilled, r.net.Alive(), 0)
	for range killed {
		r.net.Join(cfg)
		r.net.Run(50 * time.Millisecond)
	}
	r.net.Run(18 * time.Second)
	r.get(GetJoined, r.net.Alive(), 0)
	r.publish(Republish, r.net.Alive())
	r.get(GetRepublished, r.net.Alive(), 0)

	r.partition()
	r.result.Wall = time.Since(begun)
	return r.result
}

func network(o Options) *dhttest.Network {
	n := dhttest.New(o.Seed)
	n.Delay, n.Jitter, n.Loss = o.Delay, o.Delay*2/5, o.Loss
	return n
}

// dhtConfig is that of all nodes. Their clocks are right: without, a writer in one half
// of a cut network whose other half has all holders counts on from an older number,
// and gives way when the cut heals.
func dhtConfig(membership bool) dht.Config {
	return dht.Config{Membership: membership, ClockTrusted: true}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// idle measures the upkeep of nodes that nobody asks anything.
func (r *run) idle() {
	sent := r.net.Sent
	r.net.Run(time.Hour)
	r.result.IdleDatagrams = float64(r.net.Sent-sent) / float64(r.o.Nodes) / time.Hour.Seconds()
}

func (r *run) kill(count int) int {
	alive := r.net.Alive()
	r.net.Rand().Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	for _, x := range alive[:count] {
		r.net.Kill(x, r.o.Membership)
	}
	return count
}

// partition cuts the network in halves, stores in one, reads in both after healing.
func (r *run) partition() {
	var sides [2][]*dhttest.Node
	for i, x := range r.net.Alive() {
		x.Side = i % 2
		sides[x.Side] = append(sides[x.Side], x)
	}
	r.net.Cut(r.o.Membership)
	r.net.Run(20 * time.Second)
	r.get(CutGet, sides[1], 0)
	r.publish(CutStore, sides[0])
	r.net.Heal(r.o.Membership)
	healed := r.net.Now()
	r.result.HealedAfter = -1
	for r.net.Now().Sub(healed) < time.Minute {
		p := r.get(Healed, sides[1], 0)
		if p.OK*100 >= p.Ops*99 && r.result.HealedAfter < 0 {
			r.result.HealedAfter = r.net.Now().Sub(healed)
			break
		}
		r.result.Phases = r.result.Phases[:len(r.result.Phases)-1]
		r.net.Run(10*time.Second - r.net.Now().Sub(healed)%(10*time.Second))
	}
	if r.result.HealedAfter < 0 {
		r.get(Healed, sides[1], 0)
	}
}

func signer(record int) dht.KeySigner {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(record))
	return dht.KeySigner(ed25519.NewKeyFromSeed(seed))
}

var salt = []byte("dhtsim")

func place(typ uint16, record int) dht.Key {
	var s []byte
	if typ == dht.TypeGeneric {
		s = salt
	}
	return wire.RecordKey(typ, [32]byte(signer(record).Public()), s)
}

// value is the content of a version: its number, then filling.
func value(size, version int) []byte {
	v := make([]byte, max(size, 9))
	v[0] = 1
	binary.BigEndian.PutUint64(v[1:], uint64(version))
	return v
}

func versionOf(r *dht.Record) int { return int(binary.BigEndian.Uint64(r.Value[1:])) }

// publish stores the next version of every record from a random node each.
func (r *run) publish(name string, from []*dhttest.Node) Phase {
	for i := range r.version {
		r.version[i]++
	}
	return r.phase(name, from, func(x *dhttest.Node, i int, now time.Time) dht.OpID {
		return x.DHT.Publish(now, dht.Publication{
			Type: dht.TypeGeneric, Salt: salt, Value: value(r.o.Value, r.version[i]), Signer: signer(i),
		})
	}, func(i int, e dht.Event) (bool, bool) {
		done := e.(dht.PutDone)
		return done.Err == nil && done.Stored > 0, false
	})
}

// get reads every record from a random node each; behind is by how much an answer
// may be older than the newest.
func (r *run) get(name string, from []*dhttest.Node, behind int) Phase {
	return r.phase(name, from, func(x *dhttest.Node, i int, now time.Time) dht.OpID {
		return x.DHT.Get(now, dht.TypeGeneric, place(dht.TypeGeneric, i))
	}, func(i int, e dht.Event) (bool, bool) {
		rec := e.(dht.GetDone).Record
		if rec == nil {
			return false, false
		}
		fresh := versionOf(rec) >= r.version[i]-behind
		return fresh, !fresh
	})
}

// phase runs one operation a record, Parallel at a time.
func (r *run) phase(name string, from []*dhttest.Node, begin func(*dhttest.Node, int, time.Time) dht.OpID,
	judge func(int, dht.Event) (ok, stale bool)) Phase {
	p := Phase{Name: name, Ops: r.o.Records}
	sent, requests := r.net.Sent, 0
	var times []time.Duration
	each(r.net, r.o.Records, r.o.Parallel, func(int) *dhttest.Node { return from[r.net.Rand().IntN(len(from))] }, begin,
		func(i int, e dht.Event, took time.Duration) {
			if e == nil {
				return
			}
			ok, stale := judge(i, e)
			if ok {
				p.OK++
			}
			if stale {
				p.Stale++
			}
			requests += requestsOf(e)
			times = append(times, took)
		})
	slices.Sort(times)
	if len(times) > 0 {
		p.P50, p.P95 = times[len(times)/2], times[len(times)*95/100]
	}
	p.Requests = float64(requests) / float64(p.Ops)
	p.Datagrams = float64(r.net.Sent-sent) / float64(p.Ops)
	r.result.Phases = append(r.result.Phases, p)
	return p
}

func requestsOf(e dht.Event) int {
	switch e := e.(type) {
	case dht.GetDone:
		return e.Result.Requests
	case dht.PutDone:
		return e.Result.Requests
	}
	return 0
}

// each runs count operations, parallel at a time; an operation that takes more than
// half a minute has failed.
func each(n *dhttest.Network, count, parallel int, pick func(i int) *dhttest.Node,
	begin func(*dhttest.Node, int, time.Time) dht.OpID, done func(i int, e dht.Event, took time.Duration)) {
	type op struct {
		node  *dhttest.Node
		id    dht.OpID
		i     int
		begun time.Time
	}
	var active []op
	next := 0
	for next < count || len(active) > 0 {
		for len(active) < parallel && next < count {
			o := op{node: pick(next), i: next, begun: n.Now()}
			o.node.Do(func(now time.Time) { o.id = begin(o.node, o.i, now) })
			active = append(active, o)
			next++
		}
		n.RunUntil(time.Second, func() bool {
			before := len(active)
			active = slices.DeleteFunc(active, func(o op) bool {
				e, ok := o.node.Take(o.id)
				if ok || n.Now().Sub(o.begun) > 30*time.Second {
					done(o.i, e, n.Now().Sub(o.begun))
					return true
				}
				return false
			})
			return len(active) < before
		})
	}
}
