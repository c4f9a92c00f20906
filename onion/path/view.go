package path

import (
	"bytes"
	"slices"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/netdir"
)

const (
	// newcomer is how long a relay has to be known before it may be a guard and
	// before its vouch counts: who runs many fresh identities must keep them up.
	newcomer = 7 * 24 * time.Hour

	maxBandwidth = 8 << 10 // KiB/s that count; more would draw all paths to a few relays
	scale        = 256     // fixed point: the CPUs that matter have no floating point

	maxOthers = 4096 // nodes that only vouches name
)

// free is the place of a hop that is not chosen yet, and of a node that is not there.
const free = int32(-1)

// view is what was worked out of one state of the directory. Relays are named by
// their place in the list; behind them come other nodes, known from vouches or as
// neighbours, and this node itself.
type view struct {
	list       []netdir.Relay
	neighbours []identity.NodeID // sorted
	at         time.Duration     // running time at which it was made

	index map[identity.NodeID]int32
	self  int32

	last      []bool // may be the last hop
	carry     []bool // may be any hop
	exit      []bool // may be the last hop and takes some targets
	neighbour []bool
	weight    []uint64
	middle    []uint64  // weight as a middle: less for exits where they are few
	cluster   []int32   // the voucher through which the relay's weight flows
	vouchers  [][]int32 // of each relay, at most netdir.MaxVouches
	families  [][]int32
	nFamilies int

	graph graph
	tree  []int32 // on the way from this node: the node before; free where none is known
}

func compareNodes(a, b identity.NodeID) int { return bytes.Compare(a[:], b[:]) }

// follow brings the view up to date if the descriptors and neighbours are those that
// it was made of; else it reports false. Measurements change each second, and to
// weigh anew costs little beside the rest.
func (v *view) follow(list []netdir.Relay, neighbours []identity.NodeID, run time.Duration) bool {
	if v.index == nil || len(list) != len(v.list) || !slices.Equal(neighbours, v.neighbours) {
		return false
	}
	if len(list) == 0 || &list[0] == &v.list[0] {
		return true
	}
	for i := range list {
		if list[i].Descriptor != v.list[i].Descriptor {
			return false
		}
	}
	v.list, v.at = list, run
	v.weigh()
	v.assign()
	return true
}

func newView(self identity.NodeID, list []netdir.Relay, neighbours []identity.NodeID, run time.Duration) *view {
	n := len(list)
	v := &view{list: list, neighbours: neighbours, at: run, index: make(map[identity.NodeID]int32, n+1),
		last: make([]bool, n), carry: make([]bool, n), exit: make([]bool, n), neighbour: make([]bool, n),
		weight: make([]uint64, n), middle: make([]uint64, n), cluster: make([]int32, n), vouchers: make([][]int32, n), families: make([][]int32, n)}
	for i := range list {
		d := list[i].Descriptor
		if _, double := v.index[d.Node]; double {
			continue
		}
		v.index[d.Node] = int32(i)
		v.last[i] = d.Node != self && slices.ContainsFunc(d.Suites, layer.Suite.Known)
		v.carry[i] = v.last[i] && d.Flags&netdir.FlagRelay != 0
		v.exit[i] = v.last[i] && d.Exit.IsExit()
		_, v.neighbour[i] = slices.BinarySearchFunc(neighbours, d.Node, compareNodes)
	}
	v.internFamilies()
	v.link(self)
	v.weigh()
	v.assign()
	return v
}

// relay returns the place of a relay that may be in paths, or free.
func (v *view) relay(n identity.NodeID) int32 {
	if i, ok := v.index[n]; ok && int(i) < len(v.list) && v.last[i] {
		return i
	}
	return free
}

// known returns for how long the relay has been known.
func (v *view) known(i int32, run time.Duration) time.Duration { return v.list[i].Known + run - v.at }

func (v *view) internFamilies() {
	numbers := make(map[[32]byte]int32)
	for i := range v.list {
		for _, f := range v.list[i].Families {
			k, ok := numbers[f.Key]
			if !ok {
				k = int32(len(numbers))
				numbers[f.Key] = k
			}
			if !slices.Contains(v.families[i], k) {
				v.families[i] = append(v.families[i], k)
			}
		}
	}
	v.nFamilies = len(numbers)
}

// weigh sets the weights: the measured bandwidth, times the share of circuits that
// did not fail. Who was never measured counts as much as the median relay.
func (v *view) weigh() {
	var measured []int64
	for i := range v.list {
		if b := v.list[i].Bandwidth; b > 0 && v.last[i] {
			measured = append(measured, b)
		}
	}
	median := int64(1 << 20)
	if len(measured) > 0 {
		slices.Sort(measured)
		median = measured[len(measured)/2]
	}
	var all, exits uint64
	for i := range v.list {
		if !v.last[i] {
			continue
		}
		r := &v.list[i]
		b := r.Bandwidth
		if b <= 0 {
			b = median
		}
		tries := uint64(max(r.Tries, 0))
		failures := min(uint64(max(r.Failures, 0)), tries)
		// One success is lent, so that who failed once gets another chance.
		v.weight[i] = max(1, uint64(min(max(b>>10, 1), maxBandwidth))*scale*(tries-failures+1)/(tries+1))
		all += v.weight[i]
		if v.exit[i] {
			exits += v.weight[i]
		}
	}
	// As middles exits serve with what they have above a third of everything: a path
	// of three has one exit.
	share := uint64(0)
	if exits > 0 && 3*exits > all {
		share = (exits - all/3) * scale / exits
	}
	for i := range v.list {
		v.middle[i] = v.weight[i]
		if v.exit[i] {
			v.middle[i] = v.weight[i] * share / scale
		}
	}
}

// assign says through which voucher each relay's weight flows: of several the one
// that has the least so far. Newcomers vouch in the name of whoever vouches for
// them, else a crowd of fresh identities that vouch for each other would be
// as many vouchers.
func (v *view) assign() {
	nodes := v.graph.nodes()
	speaks := make([]int32, nodes) // in whose name a node vouches
	aged := false
	for i := range v.list {
		aged = aged || v.last[i] && v.list[i].Known >= newcomer
	}
	for i := range speaks {
		speaks[i] = free
		// In a young network everybody is a newcomer and speaks for itself.
		if !aged || int32(i) == v.self || i < len(v.list) && v.last[i] && v.list[i].Known >= newcomer {
			speaks[i] = int32(i)
		}
	}
	const generations = 8
	for range generations {
		again := false
		for i := range v.list {
			for k := 0; k < len(v.vouchers[i]) && speaks[i] == free; k++ {
				if s := speaks[v.vouchers[i][k]]; s != free {
					speaks[i], again = s, true
				}
			}
		}
		if !again {
			break
		}
	}
	nobody := int32(nodes) // those without a vouch that counts are together like one voucher's
	load := make([]uint64, nodes+1)
	for several := range netdir.MaxVouches + 1 { // who has no choice comes first
		for i := range v.list {
			if len(v.vouchers[i]) != several {
				continue
			}
			best := nobody
			for _, j := range v.vouchers[i] {
				if s := speaks[j]; s != free && (best == nobody || load[s] < load[best]) {
					best = s
				}
			}
			v.cluster[i] = best
			load[best] += v.weight[i]
		}
	}
}
