package pow

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/bits"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

var (
	service = [32]byte{1, 31: 2}
	x       = [32]byte{5, 31: 6}
	start   = time.Unix(1_800_000_000, 0)
)

func solve(t testing.TB, c Challenge) uint64 {
	t.Helper()
	nonce, ok := NewSolver(c, 1000).Try(1 << 20)
	if !ok {
		t.Fatal("no solution in a million attempts")
	}
	return nonce
}

// A solution holds for its service, seed, introduction and effort, and for no other.
func TestSolutionIsBound(t *testing.T) {
	const effort = 4096
	nonce := solve(t, NewChallenge(service, Seed{7}, x, effort))
	if !NewChallenge(service, Seed{7}, x, effort).Verify(nonce) {
		t.Fatal("the solution does not hold")
	}
	for name, c := range map[string]Challenge{
		"other service": NewChallenge([32]byte{9}, Seed{7}, x, effort),
		"other seed":    NewChallenge(service, Seed{8}, x, effort),
		"other key":     NewChallenge(service, Seed{7}, [32]byte{6}, effort),
		"less effort":   NewChallenge(service, Seed{7}, x, effort-1),
		"more effort":   NewChallenge(service, Seed{7}, x, effort*100),
	} {
		if c.Verify(nonce) {
			t.Errorf("%s: the solution holds", name)
		}
	}
	if NewChallenge(service, Seed{7}, x, effort).Verify(nonce ^ 1<<40) {
		t.Error("another nonce holds")
	}
}

func TestEffortIsTheMeanNumberOfAttempts(t *testing.T) {
	const effort, solutions = 64, 400
	total, next := uint64(0), uint64(0)
	for range solutions {
		nonce, ok := NewSolver(NewChallenge(service, Seed{byte(next), byte(next >> 8)}, x, effort), 0).Try(1 << 20)
		if !ok {
			t.Fatal("no solution")
		}
		total, next = total+nonce+1, next+1
	}
	if mean := total / solutions; mean < effort*3/4 || mean > effort*5/4 { // five standard deviations
		t.Errorf("%d attempts in the mean, want %d", mean, effort)
	}
	if nonce, ok := NewSolver(NewChallenge(service, Seed{}, x, 1<<32-1), 5).Try(10); ok {
		t.Errorf("nonce %d solves the hardest", nonce)
	}
	if !NewChallenge(service, Seed{}, x, 1).Verify(rand.Uint64()) {
		t.Error("effort 1 is not met by anything")
	}
}

// One bit of the nonce changes half of the word.
func TestAttemptsAreIndependent(t *testing.T) {
	var w walk
	key := [32]byte{3}
	changed := 0
	for n := range uint64(256) {
		changed += bits.OnesCount32(w.attempt(&key, n) ^ w.attempt(&key, n^1<<(n%64)))
	}
	if changed < 256*16*9/10 || changed > 256*16*11/10 {
		t.Errorf("%d of %d bits change", changed, 256*32)
	}
}

type vector struct {
	Service string `json:"service"`
	Seed    string `json:"seed"`
	X       string `json:"x"`
	Effort  uint32 `json:"effort"`
	Key     string `json:"challenge"`
	Nonce   uint64 `json:"nonce"`
	Word    uint32 `json:"word"`
}

func makeVector(t *testing.T, effort uint32) vector {
	seed := Seed{7, 31: 8}
	c := NewChallenge(service, seed, x, effort)
	nonce := solve(t, c)
	var w walk
	h := hex.EncodeToString
	return vector{h(service[:]), h(seed[:]), h(x[:]), effort, h(c.key[:]), nonce, w.attempt(&c.key, nonce)}
}

func TestVectors(t *testing.T) {
	const name = "testdata/work.json"
	all := []vector{makeVector(t, 1), makeVector(t, 1000), makeVector(t, DefaultEffort)}
	if *update {
		text, err := json.MarshalIndent(all, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []vector
	if err := json.Unmarshal(text, &want); err != nil || len(want) != len(all) {
		t.Fatalf("%d vectors, %v", len(want), err)
	}
	for i := range want {
		if all[i] != want[i] {
			t.Errorf("%+v, want %+v", all[i], want[i])
		}
	}
}

func TestSeeds(t *testing.T) {
	s := NewSeeds(service, start)
	solution := func(p Params) Solution {
		return Solution{256, p.Seed.ID(), solve(t, NewChallenge(service, p.Seed, x, 256))}
	}
	first := s.Params(99)
	sol := solution(first)
	if err := s.Check(x, sol); err != nil || first.Effort != 99 || first.Expires != uint64(start.Add(2*SeedLife).Unix()) {
		t.Errorf("%v, %+v", err, first)
	}
	if err := s.Check(x, Solution{}); err != nil {
		t.Errorf("no work: %v", err)
	}
	if err := s.Check([32]byte{9}, sol); !errors.Is(err, ErrWork) {
		t.Errorf("for another introduction: %v", err)
	}
	more := sol
	more.Effort *= 1 << 16
	if err := s.Check(x, more); !errors.Is(err, ErrWork) {
		t.Errorf("more effort than was made: %v", err)
	}
	if s.Turn(start.Add(SeedLife-1)) || !s.Turn(s.NextTurn()) || s.Turn(start.Add(SeedLife+1)) {
		t.Error("seeds turn at the wrong time")
	}
	if err := s.Check(x, sol); err != nil {
		t.Errorf("with the seed before: %v", err)
	}
	if err := s.Check(x, solution(s.Params(0))); err != nil {
		t.Errorf("with the new seed: %v", err)
	}
	if !s.Turn(start.Add(-time.Hour)) {
		t.Error("a clock that was set back holds the seed up")
	}
	if err := s.Check(x, sol); !errors.Is(err, ErrSeed) {
		t.Errorf("with the seed before the one before: %v", err)
	}
}

func TestQueueOrder(t *testing.T) {
	var q Queue[string]
	for _, in := range []struct {
		name       string
		authorised bool
		effort     uint32
	}{{"idle", false, 0}, {"some", false, 10}, {"friend", true, 0}, {"later", false, 10}, {"much", false, 99}, {"friend with work", true, 1}} {
		if !q.Push(start, in.name, in.authorised, in.effort) {
			t.Errorf("%s has no place", in.name)
		}
	}
	for _, want := range []string{"friend with work", "friend", "much", "some", "later", "idle"} {
		if got, ok := q.Pop(start); got != want || !ok {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, ok := q.Pop(start); ok || got != "" {
		t.Errorf("%q from an empty queue", got)
	}
}

// Under a flood of strangers the friend comes first, those who worked come next, and
// the queue does not grow.
func TestFlood(t *testing.T) {
	var q Queue[int]
	now := start
	for i := range 10000 {
		q.Push(now, i, false, 0)
		if q.Len() > QueueSize {
			t.Fatalf("%d wait", q.Len())
		}
	}
	if q.Push(now, -9, false, 0) {
		t.Error("a newcomer without work pushed others out")
	}
	if !q.Push(now, -2, false, 1) || !q.Push(now, -1, true, 0) {
		t.Error("no place for who worked, or for the friend")
	}
	for _, want := range []int{-1, -2, 0, 1} {
		if got, ok := q.Pop(now); got != want || !ok {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if got, ok := q.Pop(now.Add(MaxWait + time.Second)); ok || q.Len() != 0 {
		t.Errorf("%d came out too old; %d wait", got, q.Len())
	}
}

func TestSuggest(t *testing.T) {
	var q Queue[int]
	now := start
	if e := q.Suggest(now); e != 0 {
		t.Errorf("effort %d without load", e)
	}
	overload := func(effort uint32) {
		for i := range QueueSize + 50 {
			q.Push(now, i, false, effort)
		}
	}
	overload(0)
	if e := q.Suggest(now); e != DefaultEffort {
		t.Errorf("effort %d when it begins", e)
	}
	overload(0)
	if e := q.Suggest(now.Add(time.Second)); e != DefaultEffort {
		t.Errorf("effort %d changes after a second", e)
	}
	now = now.Add(interval)
	overload(100000)
	for range 100 {
		q.Pop(now)
	}
	if e := q.Suggest(now); e != 100000 {
		t.Errorf("effort %d where 100000 get through", e)
	}
	for range 20 {
		now = now.Add(interval)
		overload(1 << 31)
		q.Suggest(now)
	}
	if e := q.Suggest(now); e != MaxEffort {
		t.Errorf("effort %d has no end", e)
	}
	for q.Len() > 0 {
		q.Pop(now)
	}
	now = now.Add(interval)
	q.Suggest(now) // still counts what was lost before
	falling := q.Suggest(now)
	for range 40 {
		now = now.Add(interval)
		e := q.Suggest(now)
		if e > falling {
			t.Errorf("effort rises from %d to %d without load", falling, e)
		}
		falling = e
	}
	if falling != 0 || !q.NextThought().Equal(now.Add(interval)) {
		t.Errorf("effort %d remains", falling)
	}
}

// Whatever is pushed, what comes out is in order, and nobody with less stays while
// somebody with more is pushed out.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{1, 2, 3, 255, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		var q Queue[int]
		for i, b := range in {
			q.Push(start, int(b), b&1 == 1, uint32(b>>1))
			if i%7 == 6 {
				q.Pop(start)
			}
		}
		last := 1 << 20
		for {
			v, ok := q.Pop(start)
			if !ok {
				break
			}
			rank := v>>1 + v&1<<10
			if rank > last {
				t.Fatalf("%d after %d", rank, last)
			}
			last = rank
		}
	})
}

func TestNext(t *testing.T) {
	var q Queue[int]
	if _, _, ok := q.Next(); ok {
		t.Error("an empty queue has a next")
	}
	now := time.Now()
	q.Push(now, 1, false, 7)
	if authorised, effort, ok := q.Next(); authorised || effort != 7 || !ok {
		t.Errorf("%v, %d, %v", authorised, effort, ok)
	}
	q.Push(now, 2, true, 0)
	if authorised, effort, ok := q.Next(); !authorised || effort != 0 || !ok || q.Len() != 2 {
		t.Errorf("%v, %d, %v", authorised, effort, ok)
	}
}
