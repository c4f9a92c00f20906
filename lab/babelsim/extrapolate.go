package babelsim

import (
	"math"
	"time"
)

// rateBound is what repeating the table may cost on one link and direction, in
// bytes a second with headers: docs/protocols/babel.md, "Update interval".
const rateBound = 1100

// Extrapolate guesses the result for n nodes from the last one measured, which
// should be the largest.
func Extrapolate(results []Result, n int) Result {
	last := results[len(results)-1]
	f := float64(n) / float64(last.Nodes)
	e := last
	e.Name, e.Nodes, e.Wall = "extrapolated", n, 0
	e.Links = int(float64(last.Links) * f)
	e.Convergence = time.Duration(float64(last.Convergence) * math.Sqrt(f))
	e.Routes = last.Routes * f
	e.StartupBytes = last.StartupBytes * f
	e.BytesPerNode = last.BytesPerNode * f
	if bound := e.Degree() * rateBound; e.BytesPerNode > bound {
		e.BytesPerNode = max(bound, last.BytesPerNode)
		e.PacketsPerNode = last.PacketsPerNode * e.BytesPerNode / last.BytesPerNode
	}
	return e
}
