package ntor

import "sync"

// replaySize is how many handshakes of a key are remembered at least: 16384
// take some 1.3 MiB when full.
const replaySize = 1 << 14

// Replay remembers the newest handshakes of one onion key: between size/2 and
// size of them. A handshake that is repeated after it was forgotten gets fresh
// keys that the repeater cannot compute; what it costs is the relay's time.
type Replay struct {
	mu       sync.Mutex
	size     int
	new, old map[[16]byte]struct{}
}

// NewReplay remembers size handshakes at most.
func NewReplay(size int) *Replay {
	return &Replay{size: size, new: make(map[[16]byte]struct{})}
}

// Add reports whether x, the client's ephemeral key, is new, and remembers it.
func (r *Replay) Add(x [32]byte) bool {
	// Half of a key is enough: who makes two keys with the same half spoils his own handshake.
	k := [16]byte(x[:16])
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.new[k]; ok {
		return false
	}
	if _, ok := r.old[k]; ok {
		return false
	}
	if len(r.new) >= r.size/2 {
		r.old, r.new = r.new, make(map[[16]byte]struct{})
	}
	r.new[k] = struct{}{}
	return true
}
