package client

import (
	"errors"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

// Purpose is what a circuit is for, as its owner reads it.
type Purpose string

// The purposes.
const (
	General Purpose = "general" // streams to wherever
	Stub    Purpose = "stub"    // waits for its last hop
	ByHand  Purpose = "tunnel"  // a path that somebody wrote
	Service Purpose = "service" // introduction, rendezvous, descriptors
)

// entry is a circuit and what it is used for.
type entry struct {
	id      uint32
	circuit *circuit.Circuit
	relays  []netdir.Relay

	// Guarded by Client.mu.
	purpose Purpose
	who     Isolation // whose streams, once used
	used    time.Time // of the first stream; zero: clean
	idle    time.Time // when the last stream ended; zero: none did, or one is open
	stale   bool      // takes no new streams
	held    bool      // belongs to somebody else, who closes it
	streams int

	bytes     uint64 // when the rate was last taken
	bytesTime time.Time
}

// takes reports whether the last hop takes streams to the target.
func (e *entry) takes(t cell.Target) bool { return relayTakes(e.relays[len(e.relays)-1], t) }

func relayTakes(r netdir.Relay, t cell.Target) bool {
	if t.Node != (identity.NodeID{}) {
		return r.Flags&netdir.FlagRelay != 0
	}
	return r.Exit.Allows(t)
}

// alive reports whether the circuit is there.
func (e *entry) alive() bool {
	select {
	case <-e.circuit.Done():
		return false
	default:
		return true
	}
}

// serves reports whether a stream of who may go to the target in it, now.
func (e *entry) serves(now time.Time, who Isolation, t cell.Target) bool {
	return e.purpose == General && !e.stale && !e.held && (e.used.IsZero() || e.who == who && now.Sub(e.used) < dirtyTime) &&
		e.streams < stream.MaxStreams && e.alive() && e.takes(t)
}

// opened counts a stream that was opened in e.
func (c *Client) opened(e *entry, s *stream.Stream) {
	c.mu.Lock()
	e.streams++
	e.idle = time.Time{}
	c.mu.Unlock()
	c.counters.streams.Add(1)
	s.AfterEnd(func() {
		var end *stream.EndError
		if errors.As(s.Err(), &end) && end.Reason != cell.EndDone {
			c.counters.failed.Add(1)
		}
		c.mu.Lock()
		e.streams--
		if e.streams == 0 {
			e.idle = time.Now()
		}
		last := e.streams == 0 && e.stale
		c.mu.Unlock()
		if last {
			c.nudge()
		}
	})
}

// retire has e take no more streams.
func (c *Client) retire(e *entry) {
	c.mu.Lock()
	e.stale = true
	c.mu.Unlock()
	c.nudge()
}

// counters count since the start.
type counters struct {
	built, broken, streams, failed atomic.Uint64
}

// Counters returns what was counted, by metric name.
func (c *Client) Counters() map[string]uint64 {
	return map[string]uint64{
		"onion_circuits_built_total":        c.counters.built.Load(),
		"onion_circuits_build_failed_total": c.counters.broken.Load(),
		"onion_streams_total":               c.counters.streams.Load(),
		"onion_streams_failed_total":        c.counters.failed.Load(),
	}
}

// Info describes a circuit to its owner.
type Info struct {
	ID             uint32
	Purpose        Purpose
	Path           []identity.NodeID
	Age            time.Duration
	Used           bool
	Closing        bool // takes no new streams
	Streams        int
	Received, Sent uint64        // octets of cells
	RTT            time.Duration // the last measured; 0: none yet
}

// Circuits lists the circuits, the oldest first.
func (c *Client) Circuits() []Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Info, 0, len(c.entries))
	for _, e := range c.entries {
		if !e.alive() {
			continue
		}
		in, out := e.circuit.Bytes()
		rtt, _ := e.circuit.RTT()
		list = append(list, Info{ID: e.id, Purpose: e.purpose, Path: nodes(e.relays), Age: e.circuit.Age(), Used: !e.used.IsZero(),
			Closing: e.stale, Streams: e.circuit.Streams(), Received: in, Sent: out, RTT: rtt})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// CloseCircuit closes a circuit and its streams; false if there is none of that number.
func (c *Client) CloseCircuit(id uint32) bool {
	c.mu.Lock()
	e := c.entries[id]
	c.mu.Unlock()
	if e == nil || !e.alive() {
		return false
	}
	e.circuit.Close()
	c.nudge()
	return true
}

// State tells how well paths can be chosen.
type State struct {
	Hops    int         // wanted
	Short   int         // hops of the last circuit that had to be shorter; 0: none had
	Relaxed []path.Rule // rules that the last path could not keep
	Ready   int         // unused circuits and stubs
	Used    int
}

// State returns the state.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Hops: c.settings.Hops, Short: c.short, Relaxed: slices.Clone(c.relaxed)}
	for _, e := range c.entries {
		switch {
		case !e.alive():
		case e.used.IsZero():
			s.Ready++
		default:
			s.Used++
		}
	}
	return s
}

func nodes(relays []netdir.Relay) []identity.NodeID {
	ids := make([]identity.NodeID, len(relays))
	for i, r := range relays {
		ids[i] = r.Node
	}
	return ids
}
