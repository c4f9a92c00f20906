package stream

import (
	"bytes"
	"slices"
	"syscall"

	"globalnet/onion/cell"
)

// maxDatagrams is how many may wait to be read; what comes then is dropped, as a
// socket does.
const maxDatagrams = 64

// onDatagram keeps a datagram until it is read.
func (s *Stream) onDatagram(p []byte) {
	s.mu.Lock()
	keep := s.packets && !s.isEnded && len(s.datagrams) < maxDatagrams
	if keep {
		s.datagrams = append(s.datagrams, bytes.Clone(p))
		signal(s.readable)
	}
	s.mu.Unlock()
	if keep {
		s.e.hold(len(p))
	}
}

// readDatagram takes the first datagram; what does not fit in p is lost.
func (s *Stream) readDatagram(p []byte) int {
	s.mu.Lock()
	if len(s.datagrams) == 0 {
		s.mu.Unlock()
		return 0 // somebody else took it
	}
	d := s.datagrams[0]
	s.datagrams = slices.Delete(s.datagrams, 0, 1)
	if len(s.datagrams) > 0 {
		signal(s.readable)
	}
	s.mu.Unlock()
	s.e.hold(-len(d))
	return copy(p, d)
}

// writeDatagram sends p as one message, or drops it if the circuit is congested:
// a datagram that comes late is worth less than one that does not come.
func (s *Stream) writeDatagram(p []byte) (int, error) {
	if len(p) > cell.MaxMessage {
		return 0, syscall.EMSGSIZE
	}
	if err := s.sendDatagram(p); err != nil {
		return 0, err
	}
	s.e.cfg.Sender.Flush()
	return len(p), nil
}

func (s *Stream) sendDatagram(p []byte) error {
	e := s.e
	e.out.Lock()
	defer e.out.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	if e.out.flow.room() <= 0 {
		return e.out.err
	}
	if err := e.add(cell.MsgDatagram, s.id, p); err != nil {
		return err
	}
	return e.finish()
}
