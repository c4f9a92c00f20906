package stream

import (
	"net"
	"time"
)

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return address{} }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return address{} }

// address stands where an address would only be guessed.
type address struct{}

func (address) Network() string { return "onion" }
func (address) String() string  { return "onion" }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readLimit.set(t)
	signal(s.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLimit.set(t)
	signal(s.writable)
	return nil
}

// deadline closes a channel at a time. Its lock is the stream's.
type deadline struct {
	timer   *time.Timer
	expired chan struct{}
}

// channel is closed when the deadline has passed; nil where there is none.
func (d *deadline) channel() <-chan struct{} { return d.expired }

func (d *deadline) set(t time.Time) {
	d.stop()
	d.expired = nil
	if t.IsZero() {
		return
	}
	expired := make(chan struct{})
	d.expired = expired
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(expired) })
	} else {
		close(expired)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
