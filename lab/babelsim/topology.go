package babelsim

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Edge is a link between two nodes.
type Edge [2]int

// Line joins n nodes one after the other.
func Line(n int) (edges []Edge) {
	for i := 1; i < n; i++ {
		edges = append(edges, Edge{i - 1, i})
	}
	return edges
}

// Ring is a Line whose ends are joined.
func Ring(n int) []Edge { return append(Line(n), Edge{n - 1, 0}) }

// Grid joins width × height nodes to those beside, above and below.
func Grid(width, height int) (edges []Edge) {
	for i := range width * height {
		if i%width < width-1 {
			edges = append(edges, Edge{i, i + 1})
		}
		if i+width < width*height {
			edges = append(edges, Edge{i, i + width})
		}
	}
	return edges
}

// Geometric strews n nodes over a square and joins those in reach of each other; the
// reach is chosen for the wanted mean degree. Parts are joined where they are closest.
func Geometric(n int, degree float64, r *rand.Rand) (edges []Edge) {
	x, y := make([]float64, n), make([]float64, n)
	for i := range n {
		x[i], y[i] = r.Float64(), r.Float64()
	}
	distance := func(a, b int) float64 { return math.Hypot(x[a]-x[b], y[a]-y[b]) }
	reach := math.Sqrt(degree / (math.Pi * float64(n)))
	part := make([]int, n)
	for i := range part {
		part[i] = i
	}
	join := func(a, b int) {
		edges = append(edges, Edge{a, b})
		from, to := part[a], part[b]
		for i := range part {
			if part[i] == from {
				part[i] = to
			}
		}
	}
	for a := range n {
		for b := a + 1; b < n; b++ {
			if distance(a, b) > reach {
				continue
			}
			if part[a] == part[b] {
				edges = append(edges, Edge{a, b})
			} else {
				join(a, b)
			}
		}
	}
	for {
		best, nearest := Edge{-1, -1}, math.Inf(1)
		for a := range n {
			for b := range n {
				if part[a] == part[0] && part[b] != part[0] && distance(a, b) < nearest {
					best, nearest = Edge{a, b}, distance(a, b)
				}
			}
		}
		if best[0] < 0 {
			break
		}
		join(best[0], best[1])
	}
	slices.SortFunc(edges, func(a, b Edge) int {
		if a[0] != b[0] {
			return a[0] - b[0]
		}
		return a[1] - b[1]
	})
	return edges
}
