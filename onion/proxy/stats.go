package proxy

import (
	"sync/atomic"

	"globalnet/onion/cell"
)

// reasons is how many reasons are counted apart; later ones count as EndMisc.
const reasons = int(cell.EndCircuit) + 1

// counters is what a Server counts.
type counters struct {
	accepted, full, invalid, loops, left atomic.Uint64
	streams, broken, questions           atomic.Uint64
	sent, received                       atomic.Uint64
	failed                               [reasons]atomic.Uint64
	datagrams                            struct{ out, in, dropped, flows atomic.Uint64 }
}

func (c *counters) fail(r cell.EndReason) {
	if int(r) >= reasons {
		r = cell.EndMisc
	}
	c.failed[r].Add(1)
}

// Stats is what a Server has counted.
type Stats struct {
	Open         int // connections now
	Associations int // of them, for UDP

	Accepted  uint64 // connections
	Full      uint64 // refused: too many
	Invalid   uint64 // ended without a valid request
	Loops     uint64 // requests for the proxy itself
	Left      uint64 // clients that left before they had asked or had an answer
	Questions uint64 // for names and addresses

	Streams        uint64          // begun for connections
	Failed         [reasons]uint64 // by cell.EndReason: did not reach the target, or no answer
	Broken         uint64          // reached it, and ended in an error
	Sent, Received uint64          // bytes of streams that have ended

	Flows                            uint64 // of datagrams
	DatagramsSent, DatagramsReceived uint64
	DatagramsDropped                 uint64 // malformed, too long, of strangers, for full tables
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := Stats{
		Open: s.conns, Associations: s.associations,
		Accepted: s.accepted.Load(), Full: s.full.Load(), Invalid: s.invalid.Load(),
		Loops: s.loops.Load(), Left: s.left.Load(), Questions: s.questions.Load(),
		Streams: s.streams.Load(), Broken: s.broken.Load(),
		Sent: s.sent.Load(), Received: s.received.Load(),
		Flows: s.datagrams.flows.Load(), DatagramsSent: s.datagrams.out.Load(),
		DatagramsReceived: s.datagrams.in.Load(), DatagramsDropped: s.datagrams.dropped.Load(),
	}
	for i := range x.Failed {
		x.Failed[i] = s.failed[i].Load()
	}
	return x
}
