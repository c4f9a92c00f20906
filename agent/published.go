package agent

import (
	"bytes"
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht"
)

const (
	maxPublished = 64       // names of `dht put`, and the node record
	maxKept      = 48 << 10 // octets of their values: all fit into a small flash

	// withdrawnFor is how long the withdrawal of a name is published: a little longer
	// than any holder keeps a value of which it hears no more.
	withdrawnFor = 70 * time.Minute

	saveBurst    = 4 // writes of the state file at once, then one each saveInterval
	saveInterval = 15 * time.Minute
	saveNumbers  = 24 * time.Hour // how often it is written for the sake of sequence numbers alone
)

// published is a record of ours that is kept stored: our node record, a value under
// a name, or the withdrawal of one.
type published struct {
	dht.Publication
	name      string
	value     []byte
	withdrawn time.Time // zero: it is not
}

// shelf is what we publish, and its state file. Its methods may be called by anybody.
type shelf struct {
	id   *identity.Identity
	path string // "": nothing is kept
	log  *slog.Logger

	mu    sync.Mutex
	items map[dht.Key]*published
	fresh bool // a value changed since the last write

	writing sync.Mutex
	file    stateFile
	written []byte    // what the file holds
	wroteAt time.Time // zero: not in this run
	budget  time.Time // when the next write would be within the rate
}

func newShelf(id *identity.Identity, path string, log *slog.Logger) *shelf {
	return &shelf{id: id, path: path, file: stateFile{path: path, what: "what is published", log: log}, log: log, items: make(map[dht.Key]*published)}
}

// load takes over what an earlier run published. A damaged file is no reason not to
// start.
func (s *shelf) load() {
	if s.path == "" {
		return
	}
	list, damaged, text, err := loadRecords(s.path)
	if err != nil {
		s.log.Warn("what was published before is not known", "err", err)
		return
	}
	if damaged > 0 {
		s.log.Warn("records of the state file are lost: publish them again", "path", s.path, "lines", damaged)
	}
	s.written = text
	for _, k := range list {
		p := s.item(k.name, k.value, k.withdrawn)
		p.Seq = k.seq
		s.items[keyOf(p.Publication)] = p
	}
}

func (s *shelf) item(name string, value []byte, withdrawn bool) *published {
	p := &published{Publication: publication(s.id, name, value), name: name, value: bytes.Clone(value)}
	if withdrawn {
		p.Value, p.withdrawn = nil, time.Now()
	}
	return p
}

// put takes a value, or a withdrawal, in place of what has its name. It returns false
// if there is no room.
func (s *shelf) put(p *published) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(p.Publication)
	old := s.items[key]
	count, octets := 1, len(p.value)
	var oldest *published // of the withdrawn
	gone := 0
	for k, x := range s.items {
		switch {
		case k == key:
		case x.withdrawn.IsZero():
			count++
			octets += len(x.value)
		default:
			if gone++; oldest == nil || x.withdrawn.Before(oldest.withdrawn) {
				oldest = x
			}
		}
	}
	if p.withdrawn.IsZero() && (count > maxPublished || octets > maxKept) {
		return false
	}
	if !p.withdrawn.IsZero() && gone >= maxPublished {
		delete(s.items, keyOf(oldest.Publication))
	}
	if old != nil {
		p.Seq = max(p.Seq, old.Seq)
	}
	s.items[key] = p
	s.fresh = s.fresh || p.name != ""
	return true
}

// get returns what is published at a key now.
func (s *shelf) get(key dht.Key) (dht.Publication, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.items[key]
	if p == nil {
		return dht.Publication{}, false
	}
	return p.Publication, true
}

// all lists what is published, by name; withdrawals too.
func (s *shelf) all() []published {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]published, 0, len(s.items))
	for _, p := range s.items {
		list = append(list, *p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

// signed notes which sequence number a record has now.
func (s *shelf) signed(key dht.Key, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.items[key]; p != nil {
		p.Seq = max(p.Seq, seq)
	}
}

// expired forgets the withdrawals that everybody has learnt, and returns their keys.
func (s *shelf) expired() (keys []dht.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, p := range s.items {
		if !p.withdrawn.IsZero() && time.Since(p.withdrawn) > withdrawnFor {
			delete(s.items, key)
			keys = append(keys, key)
		}
	}
	return keys
}

// save writes the state file if it is out of date and the flash may bear another
// write; last says that there will be no other opportunity.
func (s *shelf) save(last bool) {
	if s.path == "" {
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	fresh := s.fresh
	s.mu.Unlock()
	var list []kept
	for _, p := range s.all() {
		list = append(list, kept{name: p.name, seq: p.Seq, withdrawn: !p.withdrawn.IsZero(), value: p.value})
	}
	for i := range list {
		if list[i].name == "" {
			list[i].value = nil // it is made anew at each start
		}
	}
	text := appendRecords(nil, list)
	now := time.Now()
	if bytes.Equal(text, s.written) || !last && !s.due(now, fresh) {
		return
	}
	if !s.file.write(text) {
		return
	}
	s.written, s.wroteAt = text, now
	s.mu.Lock()
	s.fresh = false
	s.mu.Unlock()
}

// due tells whether a write is within the rate.
func (s *shelf) due(now time.Time, fresh bool) bool {
	if !fresh {
		if s.wroteAt.IsZero() {
			s.wroteAt = now // what the file has is recent enough
		}
		return now.Sub(s.wroteAt) >= saveNumbers
	}
	at := s.budget
	if earliest := now.Add(-saveBurst * saveInterval); at.Before(earliest) {
		at = earliest
	}
	if at.Add(saveInterval).After(now) {
		return false
	}
	s.budget = at.Add(saveInterval)
	return true
}

// run keeps the state file up to date until ctx ends.
func (s *shelf) run(ctx context.Context, node *dht.Node) {
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.save(true)
			return
		case <-ticker.C:
		}
		list, err := node.Publications(ctx)
		if err != nil {
			continue
		}
		for _, p := range list {
			s.signed(p.Key, p.Seq)
		}
		for _, key := range s.expired() {
			node.Withdraw(ctx, key)
		}
		s.save(false)
	}
}
