package proxy

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/onion/cell"
)

const maxPending = 8 // datagrams that wait for a flow's circuit

// Packets is what a Flow needs of a *stream.Stream.
type Packets interface {
	net.Conn // a datagram each Write and Read
	Err() error
}

// Flow is datagrams to and from one target: a stream, once there is one. Its zero value
// is ready.
type Flow struct {
	used atomic.Int64 // nanoseconds since epoch

	mu      sync.Mutex
	stream  Packets // nil while dialling and after the end
	pending [][]byte
	over    bool
}

var epoch = time.Now()

// Touch says that the flow is used now.
func (f *Flow) Touch() { f.used.Store(int64(time.Since(epoch))) }

// idleAt is when the flow ends if nothing happens.
func (f *Flow) idleAt(idle time.Duration) time.Time {
	return epoch.Add(time.Duration(f.used.Load()) + idle)
}

// Send sends a datagram, or keeps it until there is a stream. It reports whether there
// was room.
func (f *Flow) Send(data []byte) bool {
	f.Touch()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over || f.stream == nil && len(f.pending) >= maxPending:
		return false
	case f.stream == nil:
		f.pending = append(f.pending, bytes.Clone(data))
		return true
	}
	_, err := f.stream.Write(data)
	return err == nil
}

// Begin sends what has waited for st.
func (f *Flow) Begin(st Packets) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stream = st
	for _, p := range f.pending {
		st.Write(p)
	}
	f.pending = nil
}

// End lets no more datagrams pass.
func (f *Flow) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stream, f.pending, f.over = nil, nil, true
}

// Receive reads datagrams of st into b, and tells how long each is, until the stream is
// over or nothing has passed either way for idle. It returns why the stream ended.
func (f *Flow) Receive(st Packets, idle time.Duration, b []byte, took func(n int)) error {
	for {
		st.SetReadDeadline(f.idleAt(idle))
		n, err := st.Read(b)
		switch {
		case err == nil:
		case time.Now().Before(f.idleAt(idle)) && st.Err() == nil:
			continue // something was sent meanwhile
		default:
			return st.Err()
		}
		f.Touch()
		took(n)
	}
}

// Await waits until the target of a stream is reached. Where it is not, the stream has
// ended when Await returns.
func Await(ctx context.Context, st Stream) error {
	select {
	case <-st.Connected():
	case <-ctx.Done():
		st.CloseWith(cell.EndTimeout)
		return ctx.Err()
	case <-st.Ended():
		if !isClosed(st.Connected()) {
			return st.Err()
		}
	}
	return nil
}
