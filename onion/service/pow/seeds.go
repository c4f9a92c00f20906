package pow

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// SeedLife is how long a seed is the newest; for as long again it is still taken, as
// clients hold older descriptors.
const SeedLife = 2 * time.Hour

// Params is what a descriptor says of the proof of work.
type Params struct {
	Effort  uint32 // that the service suggests; 0: none is needed
	Seed    Seed
	Expires uint64 // seconds since 1970 in mesh time; from then on Seed is not taken
}

// Solution is what an introduction shows.
type Solution struct {
	Effort uint32 // 0: none
	Seed   [4]byte
	Nonce  uint64
}

// Errors of Check.
var (
	ErrSeed = errors.New("proof of work for a seed that is not taken")
	ErrWork = errors.New("proof of work does not hold")
)

// Seeds are the seeds of one service.
type Seeds struct {
	service  [32]byte
	current  Seed
	previous Seed
	turn     time.Time // when current was drawn
}

// NewSeeds draws the first seed.
func NewSeeds(service [32]byte, now time.Time) *Seeds {
	s := &Seeds{service: service}
	s.draw(now)
	s.previous = s.current
	return s
}

func (s *Seeds) draw(now time.Time) {
	s.previous, s.turn = s.current, now
	rand.Read(s.current[:])
}

// NextTurn returns when Turn is due.
func (s *Seeds) NextTurn() time.Time { return s.turn.Add(SeedLife) }

// Turn draws a new seed if it is time, and reports whether it did: then the
// descriptors have to be published anew. A clock set back does not hold it up.
func (s *Seeds) Turn(now time.Time) bool {
	if since := now.Sub(s.turn); since >= 0 && since < SeedLife {
		return false
	}
	s.draw(now)
	return true
}

// Params returns what to publish with a suggested effort.
func (s *Seeds) Params(effort uint32) Params {
	return Params{effort, s.current, uint64(max(s.turn.Add(2*SeedLife).Unix(), 0))}
}

// Check judges the solution of the introduction with ephemeral key x, at the cost of
// one attempt.
func (s *Seeds) Check(x [32]byte, sol Solution) error {
	if sol.Effort == 0 {
		return nil
	}
	for _, seed := range []Seed{s.current, s.previous} {
		if seed.ID() != sol.Seed {
			continue
		}
		if !NewChallenge(s.service, seed, x, sol.Effort).Verify(sol.Nonce) {
			return fmt.Errorf("%w: effort %d", ErrWork, sol.Effort)
		}
		return nil
	}
	return ErrSeed
}
