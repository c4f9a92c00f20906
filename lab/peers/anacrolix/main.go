// Command anacrolix plays the scenario of `lab bench dht` with github.com/anacrolix/dht,
// a BitTorrent DHT with BEP 44 records: the same number of nodes, records, operations
// and delays, in one process over a network in memory, in real time. It prints one
// JSON object with the fields of dhtsim.Result. A module of its own keeps the
// library out of the agent's.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/exts/getput"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"github.com/anacrolix/torrent/bencode"
	"golang.org/x/time/rate"
)

type phase struct {
	Name      string
	Ops, OK   int
	Stale     int
	P50, P95  time.Duration
	Requests  float64
	Datagrams float64
}

type result struct {
	Phases       []phase
	HealedAfter  time.Duration
	BytesPerNode float64
}

type node struct {
	*dht.Server
	socket *socket
	stop   context.CancelFunc
}

type scenario struct {
	net      *network
	nodes    []*node
	made     int
	value    int
	parallel int
	bound    time.Duration // of a phase; zero: none
	versions []int64
	keys     []ed25519.PrivateKey
	result   result
}

var salt = []byte("dhtsim")

func main() {
	nodes := flag.Int("nodes", 100, "")
	records := flag.Int("records", 100, "")
	value := flag.Int("value", 900, "octets, at most 990")
	parallel := flag.Int("parallel", 8, "")
	delay := flag.Duration("delay", 5*time.Millisecond, "one way")
	partition := flag.Bool("partition", false, "cut the network in halves, too: at most seven minutes more")
	bound := flag.Duration("bound", 90*time.Second, "for each phase of the partition; what it did not begin by then is not counted")
	flag.Parse()
	log.Default.SetHandlers(log.DiscardHandler)
	s := &scenario{
		net:   &network{delay: *delay, sockets: make(map[string]*socket)},
		value: *value, parallel: *parallel, versions: make([]int64, *records),
	}
	for i := range *records {
		seed := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(seed, uint64(i))
		s.keys = append(s.keys, ed25519.NewKeyFromSeed(seed))
	}
	if err := s.play(*nodes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *partition {
		s.bound = *bound
		s.partition()
	}
	json.NewEncoder(os.Stdout).Encode(s.result)
}

func (s *scenario) play(count int) error {
	before := heap()
	if err := s.join(count); err != nil {
		return err
	}
	s.result.BytesPerNode = float64(heap()-before) / float64(count)
	s.put("store", s.nodes)
	s.get("get, fresh network", s.nodes)
	s.put("update from another node", s.nodes)
	s.get("get after update", s.nodes)
	killed := count * 3 / 10
	rand.Shuffle(len(s.nodes), func(i, j int) { s.nodes[i], s.nodes[j] = s.nodes[j], s.nodes[i] })
	for _, n := range s.nodes[:killed] {
		n.stop()
		n.Close()
	}
	s.nodes = s.nodes[killed:]
	s.get("get right after 30 % died", s.nodes)
	if err := s.join(killed); err != nil {
		return err
	}
	time.Sleep(18 * time.Second)
	s.get("get after as many joined", s.nodes)
	s.put("publish anew", s.nodes)
	s.get("get after that", s.nodes)
	return nil
}

func (s *scenario) partition() {
	var sides [2][]*node
	for i, n := range s.nodes {
		n.socket.side.Store(int32(i % 2))
		sides[i%2] = append(sides[i%2], n)
	}
	s.net.cut.Store(true)
	time.Sleep(20 * time.Second)
	s.get("get the old value in the other half", sides[1])
	s.put("store in one half of a cut network", sides[0])
	s.net.cut.Store(false)
	healed := time.Now()
	s.result.HealedAfter = -1
	for {
		p := s.get("get in the other half after healing", sides[1])
		if p.Ops == len(s.keys) && p.OK*100 >= p.Ops*99 {
			s.result.HealedAfter = time.Since(healed)
			return
		}
		if time.Since(healed) > time.Minute {
			return
		}
		s.result.Phases = s.result.Phases[:len(s.result.Phases)-1]
		time.Sleep(10*time.Second - time.Since(healed)%(10*time.Second))
	}
}

// join starts nodes that know a few of the others.
func (s *scenario) join(count int) error {
	for range count {
		s.made++
		socket := s.net.open(s.made)
		var known []dht.Addr
		for range min(3, len(s.nodes)) {
			known = append(known, dht.NewAddr(s.nodes[rand.IntN(len(s.nodes))].socket.addr))
		}
		server, err := dht.NewServer(&dht.ServerConfig{
			Conn: socket, NoSecurity: true, Exp: 2 * time.Hour,
			StartingNodes: func() ([]dht.Addr, error) { return known, nil },
			SendLimiter:   rate.NewLimiter(rate.Inf, 1), // its own, 25 packets/s for all nodes of a process, drops replies
			Logger:        log.Default.FilterLevel(log.Critical),
		})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.Background())
		n := &node{server, socket, stop}
		if len(s.nodes) > 0 {
			server.BootstrapContext(ctx) // errors show in the phases
			go server.TableMaintainer()
		}
		s.nodes = append(s.nodes, n)
	}
	return nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (s *scenario) put(name string, from []*node) {
	for i := range s.versions {
		s.versions[i]++
	}
	s.phase(name, from, func(ctx context.Context, n *node, i int) (ok, stale bool, requests int) {
		public := [32]byte(s.keys[i].Public().(ed25519.PublicKey))
		value := make([]byte, s.value)
		binary.BigEndian.PutUint64(value, uint64(s.versions[i]))
		stats, err := getput.Put(ctx, krpc.ID(bep44.MakeMutableTarget(public, salt)), n.Server, salt, func(seq int64) bep44.Put {
			p := bep44.Put{V: value, K: &public, Salt: salt, Seq: seq + 1}
			p.Sign(s.keys[i])
			return p
		})
		if stats != nil {
			requests = int(stats.NumAddrsTried)
		}
		return err == nil, false, requests
	})
}

func (s *scenario) get(name string, from []*node) phase {
	return s.phase(name, from, func(ctx context.Context, n *node, i int) (ok, stale bool, requests int) {
		public := [32]byte(s.keys[i].Public().(ed25519.PublicKey))
		r, stats, err := getput.Get(ctx, bep44.MakeMutableTarget(public, salt), n.Server, nil, salt)
		if stats != nil {
			requests = int(stats.NumAddrsTried)
		}
		var value []byte
		if err != nil || bencode.Unmarshal(r.V, &value) != nil || len(value) < 8 {
			return false, false, requests
		}
		fresh := int64(binary.BigEndian.Uint64(value)) >= s.versions[i]
		return fresh, !fresh, requests
	})
}

// phase runs one operation a record, parallel at a time, each from a random node. A
// lookup into a cut network waits for each node of the other half that is in the
// table, and for each that those name: so a phase has a bound.
func (s *scenario) phase(name string, from []*node, do func(context.Context, *node, int) (ok, stale bool, requests int)) phase {
	p := phase{Name: name, Ops: len(s.keys)}
	sent := s.net.sent.Load()
	var mu sync.Mutex
	var times []time.Duration
	var group sync.WaitGroup
	slots := make(chan struct{}, s.parallel)
	begun := time.Now()
	for i := range s.keys {
		slots <- struct{}{}
		if s.bound > 0 && time.Since(begun) > s.bound {
			p.Ops = i
			<-slots
			break
		}
		n := from[rand.IntN(len(from))]
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			begun := time.Now()
			ok, stale, requests := do(ctx, n, i)
			mu.Lock()
			times = append(times, time.Since(begun))
			if ok {
				p.OK++
			}
			if stale {
				p.Stale++
			}
			p.Requests += float64(requests)
			mu.Unlock()
			<-slots
		})
	}
	group.Wait()
	p.Requests /= float64(p.Ops)
	slices.Sort(times)
	p.P50, p.P95 = times[len(times)/2], times[len(times)*95/100]
	p.Datagrams = float64(s.net.sent.Load()-sent) / float64(p.Ops)
	fmt.Fprintf(os.Stderr, "%-36s %d/%d, %d stale, p50 %v, p95 %v, %.1f requests\n", p.Name, p.OK, p.Ops, p.Stale, p.P50, p.P95, p.Requests)
	s.result.Phases = append(s.result.Phases, p)
	return p
}
