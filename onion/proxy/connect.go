package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

const (
	// patience is how long a request takes before it is looked whether the client is
	// still there.
	patience = 50 * time.Millisecond
	// mostCircuits is how many circuits may break under a stream that the client still waits for.
	mostCircuits = 3
)

// connect opens a stream for conn and carries it to its end. rest came with the request.
func (s *Server) connect(ctx context.Context, conn Socket, who client.Isolation, req *request, rest []byte) {
	early, body := rest, int64(forever)
	if f := req.fetch; f != nil {
		n := min(f.body, uint64(len(rest)))
		early, body = append(f.head, rest[:n]...), int64(f.body-n)
	}
	// A server that has not been reached yet can still be refused in plain HTTP.
	wait := s.cfg.Wait || req.fetch != nil
	st, err := s.open(ctx, conn, who, req, early, wait)
	if err != nil {
		s.fail(reasonOf(err))
		hangUp(conn, req.refuse(reasonOf(err)))
		return
	}
	s.streams.Add(1)
	if _, err := conn.Write(req.accept()); err != nil {
		st.CloseWith(cell.EndReset)
	}
	sent, received, err := relay(conn, st, body)
	s.sent.Add(uint64(sent))
	s.received.Add(uint64(received))
	switch {
	case !isClosed(st.Connected()) && err != nil:
		s.fail(reasonOf(st.Err()))
	case err != nil:
		s.broken.Add(1)
	}
}

// open begins a stream, and awaits the target's answer if wait is set: should the circuit
// break before, another one is tried, unless something has been said that may have arrived.
// It is given up when the client leaves.
func (s *Server) open(ctx context.Context, conn Socket, who client.Isolation, req *request, early []byte, wait bool) (*stream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTime)
	defer cancel()
	// Who has sent all it has may have closed its way already.
	stop := s.watch(conn, len(early) > 0, cancel)
	defer stop()
	for try := 1; ; try++ {
		st, err := s.cfg.Dialer.Dial(ctx, who, req.target, early)
		if err != nil || !wait {
			return st, err
		}
		if err = Await(ctx, st); err == nil {
			return st, nil
		}
		if reasonOf(err) != cell.EndCircuit || len(early) > 0 || try == mostCircuits {
			return nil, err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// watch calls gone if the client leaves before stop is called. A client that only
// closes its way has left unless halfClose is set.
func (s *Server) watch(conn Socket, halfClose bool, gone func()) (stop func()) {
	done := make(chan struct{})
	timer := time.AfterFunc(patience, func() {
		defer close(done)
		if awaitLeave(conn, halfClose) {
			s.left.Add(1)
			gone()
		}
	})
	return func() {
		if timer.Stop() {
			return
		}
		conn.SetReadDeadline(time.Unix(1, 0)) // ends awaitLeave
		<-done
		conn.SetReadDeadline(time.Time{})
	}
}

// awaitLeave waits until the client closes or breaks the connection; false if it
// says something or the read deadline passes before.
func awaitLeave(conn Socket, halfClose bool) (left bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return false
		}
		left = err != nil || n == 0 && !halfClose
		return true
	})
	return left
}

// resolve answers a question for a name or for an address.
func (s *Server) resolve(ctx context.Context, conn Socket, who client.Isolation, req *request) {
	s.questions.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTime)
	defer cancel()
	stop := s.watch(conn, false, cancel)
	answer, err := s.lookUp(ctx, who, req)
	stop()
	if err != nil {
		s.fail(reasonOf(err))
		hangUp(conn, req.refuse(reasonOf(err)))
		return
	}
	hangUp(conn, append([]byte{5, replyDone, 0}, appendSocksAddr(nil, answer)...))
}

// lookUp asks an exit. The first IPv4 address is preferred, as by Tor.
func (s *Server) lookUp(ctx context.Context, who client.Isolation, req *request) (answer cell.Target, err error) {
	name := req.target.Name
	switch {
	case req.command == resolvePTR:
		name = reverseName(req.target.Addr)
	case name == "":
		return cell.Target{Addr: req.target.Addr}, nil
	}
	r, err := s.cfg.Dialer.Resolve(ctx, who, name)
	if err != nil {
		return answer, err
	}
	if r.Reason != cell.EndDone {
		return answer, &stream.EndError{Reason: r.Reason}
	}
	if req.command == resolvePTR {
		if len(r.Names) > 0 {
			return cell.Target{Name: r.Names[0]}, nil
		}
		return answer, &stream.EndError{Reason: cell.EndResolve}
	}
	for _, a := range r.Addrs {
		if !answer.Addr.IsValid() || a.Is4() && !answer.Addr.Is4() {
			answer.Addr = a
		}
	}
	if !answer.Addr.IsValid() {
		return answer, &stream.EndError{Reason: cell.EndResolve}
	}
	return answer, nil
}

// reverseName is the name that asks for the names of a, RFC 1035 section 3.5 and
// RFC 3596 section 2.5.
func reverseName(a netip.Addr) string {
	const hex = "0123456789abcdef"
	b := a.AsSlice()
	var name []byte
	for i := len(b) - 1; i >= 0; i-- {
		if a.Is6() {
			name = append(name, hex[b[i]&15], '.', hex[b[i]>>4], '.')
			continue
		}
		name = append(strconv.AppendUint(name, uint64(b[i]), 10), '.')
	}
	if a.Is6() {
		return string(name) + "ip6.arpa"
	}
	return string(name) + "in-addr.arpa"
}

// reasonOf tells what to answer for an error of the Dialer or of a stream.
func reasonOf(err error) cell.EndReason {
	if end := (*stream.EndError)(nil); errors.As(err, &end) {
		return end.Reason
	}
	switch {
	case err == nil:
		return cell.EndDone
	case errors.Is(err, context.DeadlineExceeded):
		return cell.EndTimeout
	case errors.Is(err, path.ErrNoExit):
		return cell.EndPolicy
	case errors.Is(err, stream.ErrTooMany), errors.Is(err, client.ErrFull):
		return cell.EndResource
	}
	return cell.EndCircuit
}
