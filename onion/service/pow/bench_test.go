package pow

import "testing"

// BenchmarkAttempt is what verifying costs, and one try at solving.
func BenchmarkAttempt(b *testing.B) {
	s := NewSolver(NewChallenge([32]byte{1}, Seed{2}, [32]byte{3}, 1<<31), 0)
	for b.Loop() {
		s.Try(1)
	}
}
