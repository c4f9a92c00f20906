package babelsim

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"text/tabwriter"
	"time"

	"globalnet/mesh/babel"
)

// Scenario is a network to be measured: all its links come up at once, and stay.
type Scenario struct {
	Name      string
	Nodes     int
	Edges     []Edge
	Seed      uint64
	Delay     time.Duration // of each link, one way; zero means 5 ms
	Loss      float64       // both ways
	Limit     time.Duration // how long to wait for convergence; zero means 2 minutes
	Steady    time.Duration // how long to count traffic, after convergence; zero means a minute
	Settle    time.Duration // between the two; zero means 30 s
	Interface babel.Interface
}

// Result is what was measured.
type Result struct {
	Name           string
	Nodes, Links   int
	Converged      bool
	Convergence    time.Duration // until every node reached every other
	BytesPerNode   float64       // a second, with IPv6 and UDP headers, when nothing changes
	PacketsPerNode float64       // a second
	StartupBytes   float64       // a node, until convergence
	Routes         float64       // entries of the route table, mean of the nodes
	BytesPerRoute  float64       // of memory, all tables included
	Loop           error
	Wall           time.Duration
}

// Degree is the mean number of links of a node.
func (r Result) Degree() float64 { return 2 * float64(r.Links) / float64(r.Nodes) }

// Run measures a scenario.
func Run(sc Scenario) Result {
	begin := time.Now()
	before := heapInUse()
	w := New(sc.Nodes, seedOf(sc.Seed, uint64(sc.Nodes)))
	w.Template = sc.Interface
	for _, e := range sc.Edges {
		l := w.Connect(e[0], e[1])
		l.LossAB, l.LossBA = sc.Loss, sc.Loss
		if sc.Delay > 0 {
			l.Delay = sc.Delay
		}
	}
	r := Result{Name: sc.Name, Nodes: sc.Nodes, Links: len(sc.Edges)}
	r.Convergence, r.Converged = w.RunUntil(func() bool { return w.Full() && w.Complete() },
		20*time.Millisecond, or(sc.Limit, 2*time.Minute))
	bytes, _ := w.Sent()
	r.StartupBytes = float64(bytes) / float64(sc.Nodes)
	w.Run(or(sc.Settle, 30*time.Second))
	steady := or(sc.Steady, time.Minute)
	bytes0, packets0 := w.Sent()
	w.Run(steady)
	bytes1, packets1 := w.Sent()
	per := float64(sc.Nodes) * steady.Seconds()
	r.BytesPerNode = float64(bytes1-bytes0) / per
	r.PacketsPerNode = float64(packets1-packets0) / per
	entries := 0
	for _, v := range w.Nodes {
		entries += len(v.Speaker.Routes())
	}
	r.Routes = float64(entries) / float64(sc.Nodes)
	own := float64(4 * sc.Nodes * sc.Nodes) // the next-hop tables of the simulation
	r.BytesPerRoute = (float64(heapInUse()) - float64(before) - own) / float64(max(entries, 1))
	r.Loop = w.Loop()
	r.Wall = time.Since(begin)
	runtime.KeepAlive(w)
	return r
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Scaling measures random networks of mean degree 4 in the given sizes.
func Scaling(sizes []int, seed uint64) []Result {
	var results []Result
	for _, n := range sizes {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		results = append(results, Run(Scenario{
			Name: fmt.Sprintf("random %d", n), Nodes: n, Edges: Geometric(n, 4, r), Seed: seed,
			Settle: 10 * time.Second, Steady: 52 * time.Second, // two dumps of the largest table
		}))
	}
	return results
}

// Sizes are those of the printed table.
var Sizes = []int{100, 250, 500, 1000}

// Print writes a table of results with a last line for 10 000 nodes, extrapolated
// from the largest two: tables grow with the nodes; traffic as it did between them,
// up to the bound that the speaker sets itself; convergence with the square root,
// which is how the diameter grows.
func Print(out io.Writer, results []Result) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "network\tnodes\tdegree\tconverged\tB/s a node\tpackets/s a node\tkB to converge\troutes a node\tB a route\ttable kB\twall\t")
	line := func(name string, nodes int, degree float64, converged, rate, packets, startup, routes, size float64, wall string) {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.2f s\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%s\t\n", name, nodes, degree,
			converged, rate, packets, startup/1000, routes, size, routes*size/1000, wall)
	}
	for _, r := range results {
		line(r.Name, r.Nodes, r.Degree(), r.Convergence.Seconds(), r.BytesPerNode, r.PacketsPerNode,
			r.StartupBytes, r.Routes, r.BytesPerRoute, r.Wall.Round(100*time.Millisecond).String())
	}
	if len(results) > 0 {
		e := Extrapolate(results, 10_000)
		line("extrapolated", e.Nodes, e.Degree(), e.Convergence.Seconds(), e.BytesPerNode, e.PacketsPerNode,
			e.StartupBytes, e.Routes, e.BytesPerRoute, "-")
	}
	return t.Flush()
}

// seedOf mixes numbers into a seed.
func seedOf(parts ...uint64) uint64 {
	var b [8]byte
	h := uint64(14695981039346656037)
	for _, p := range parts {
		binary.BigEndian.PutUint64(b[:], p)
		for _, c := range b {
			h = (h ^ uint64(c)) * 1099511628211
		}
	}
	return h
}
