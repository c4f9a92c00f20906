package stream

import (
	"io"
	"sync"
	"syscall"
)

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// Metered is a socket that wants to know what ReadFrom takes past its Read.
type Metered interface {
	syscall.Conn
	// Took is told of n bytes. It may wait before more are taken; an error ends it.
	Took(n int) error
}

// ReadFrom implements io.ReaderFrom. Where r is a socket, no buffer is held while
// nothing is there to be read: a thousand idle streams cost no memory.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	var raw syscall.RawConn
	if socket, ok := r.(syscall.Conn); ok {
		if raw, err = socket.SyscallConn(); err != nil {
			return 0, err
		}
	}
	meter, _ := r.(Metered)
	for {
		p, n, err := readSome(r, raw)
		if n > 0 && meter != nil {
			if merr := meter.Took(n); merr != nil {
				readBuffers.Put(p)
				return total, merr
			}
		}
		if n > 0 {
			var m int
			var werr error
			m, werr = s.Write((*p)[:n])
			total += int64(m)
			if werr != nil {
				err = werr
			}
		}
		readBuffers.Put(p)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// readSome reads what is there, at least a byte, into a buffer of the pool.
func readSome(r io.Reader, raw syscall.RawConn) (p *[]byte, n int, err error) {
	if raw == nil {
		p = readBuffers.Get().(*[]byte)
		n, err = r.Read(*p)
		return p, n, err
	}
	waitErr := raw.Read(func(fd uintptr) bool {
		p = readBuffers.Get().(*[]byte)
		for {
			n, err = syscall.Read(int(fd), *p)
			if err != syscall.EINTR {
				break
			}
		}
		if err == syscall.EAGAIN {
			readBuffers.Put(p)
			p = nil
			return false
		}
		return true
	})
	if p == nil {
		p = readBuffers.Get().(*[]byte)
	}
	switch {
	case waitErr != nil:
		return p, 0, waitErr
	case err != nil:
		return p, 0, err
	case n == 0:
		return p, 0, io.EOF
	}
	return p, n, nil
}
