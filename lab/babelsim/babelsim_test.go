package babelsim

import (
	"testing"
	"time"
)

func TestConvergence(t *testing.T) {
	for _, sc := range []Scenario{
		{Name: "pair", Nodes: 2, Edges: Line(2)},
		{Name: "line 10", Nodes: 10, Edges: Line(10)},
		{Name: "ring 6", Nodes: 6, Edges: Ring(6)},
		{Name: "grid 25", Nodes: 25, Edges: Grid(5, 5)},
		{Name: "line 10, 30 % loss", Nodes: 10, Edges: Line(10), Loss: 0.3},
		{Name: "grid 25, 30 % loss", Nodes: 25, Edges: Grid(5, 5), Loss: 0.3},
	} {
		t.Run(sc.Name, func(t *testing.T) {
			r := Run(sc)
			t.Logf("%+v", r)
			limit := 2 * time.Second
			if sc.Loss > 0 {
				limit = 8 * time.Second
			}
			if !r.Converged || r.Convergence > limit {
				t.Errorf("converged %v in %v", r.Converged, r.Convergence)
			}
			if r.Loop != nil {
				t.Error(r.Loop)
			}
			if sc.Loss == 0 && r.BytesPerNode > 263 {
				t.Errorf("%.0f bytes a node and second, want at most 263", r.BytesPerNode)
			}
		})
	}
}
