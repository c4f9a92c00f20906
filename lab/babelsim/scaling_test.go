package babelsim

import (
	"os"
	"testing"
)

// TestScaling prints the table of docs/protocols/babel.md. It takes a minute.
func TestScaling(t *testing.T) {
	sizes := []int{100}
	if os.Getenv("BABELSIM") == "full" {
		sizes = Sizes
	}
	results := Scaling(sizes, 1)
	for _, r := range results {
		if !r.Converged || r.Loop != nil {
			t.Errorf("%s: converged %v, loop %v", r.Name, r.Converged, r.Loop)
		}
	}
	if err := Print(os.Stdout, results); err != nil {
		t.Error(err)
	}
}
