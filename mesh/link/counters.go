package link

import (
	"errors"
	"sync"
	"time"
)

// counter is one of the Engine's counters.
type counter int

const (
	accepted counter = iota
	acceptFailed
	dialled
	evicted
	refusedSource
	refusedRate
	refusedBusy
	preambleMissing
	preambleWrong
	preambleReplayed
	established
	endedDuplicate
	endedRefused
	endedWrongNetwork
	endedWrongNode
	endedNoPath
	endedProtocol
	endedOtherwise
	stunAnswered
	stunRefused
	stunLimited
	counterCount
)

var counterNames = [counterCount]string{
	accepted:          "connections_accepted",
	acceptFailed:      "accepts_failed",
	dialled:           "sessions_dialled",
	evicted:           "connections_evicted",
	refusedSource:     "connections_refused_per_source",
	refusedRate:       "sessions_refused_too_often",
	refusedBusy:       "sessions_refused_busy",
	preambleMissing:   "preambles_missing",
	preambleWrong:     "preambles_wrong",
	preambleReplayed:  "preambles_replayed",
	established:       "sessions_established",
	endedDuplicate:    "sessions_duplicate",
	endedRefused:      "sessions_refused",
	endedWrongNetwork: "sessions_wrong_network",
	endedWrongNode:    "sessions_wrong_node",
	endedNoPath:       "sessions_without_path",
	endedProtocol:     "sessions_broke_protocol",
	endedOtherwise:    "sessions_failed",
	stunAnswered:      "stun_answered",
	stunRefused:       "stun_refused",
	stunLimited:       "stun_limited",
}

func (e *Engine) count(c counter) { e.counters[c].Add(1) }

// Counters returns how often what was done and what was refused since the start.
func (e *Engine) Counters() map[string]uint64 {
	m := make(map[string]uint64, counterCount)
	for c := range counterCount {
		m[counterNames[c]] = e.counters[c].Load()
	}
	return m
}

func outcome(err error) counter {
	switch {
	case err == nil:
		return established
	case errors.Is(err, ErrDuplicate):
		return endedDuplicate
	case errors.Is(err, ErrRefused):
		return endedRefused
	case errors.Is(err, ErrWrongNetwork):
		return endedWrongNetwork
	case errors.Is(err, ErrWrongNode):
		return endedWrongNode
	case errors.Is(err, ErrNoPath):
		return endedNoPath
	case errors.Is(err, errProtocol):
		return endedProtocol
	}
	return endedOtherwise
}

// quiet lets one log line through in a while: strangers must not fill the log.
type quiet struct {
	mu     sync.Mutex
	next   time.Time
	unsaid int
}

const quietFor = 10 * time.Second

// say reports whether to speak now, and how much was left unsaid before.
func (q *quiet) say(now time.Time) (speak bool, unsaid int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.next) {
		q.unsaid++
		return false, 0
	}
	unsaid, q.unsaid, q.next = q.unsaid, 0, now.Add(quietFor)
	return true, unsaid
}
