package kernel

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file holds the system calls on vectors of buffers, which the standard
// library offers only with an allocation a call or not at all. Each type belongs to
// one goroutine at a time and waits in the runtime's poller.

// vector is a list of buffers for one system call.
type vector struct{ iov []unix.Iovec }

func (v *vector) reset() {
	clear(v.iov) // the collector must see no stale pointers
	v.iov = v.iov[:0]
}

// add adds a buffer; an empty one adds nothing.
func (v *vector) add(b []byte) {
	if len(b) == 0 {
		return
	}
	i := unix.Iovec{Base: &b[0]}
	i.SetLen(len(b))
	v.iov = append(v.iov, i)
}

// fileWriter writes vectors to a file, each with one call.
type fileWriter struct {
	vector
	raw   syscall.RawConn
	errno syscall.Errno
	try   func(fd uintptr) bool
}

func newFileWriter(raw syscall.RawConn) *fileWriter {
	w := &fileWriter{raw: raw}
	w.try = func(fd uintptr) bool {
		_, _, w.errno = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(len(w.iov)))
		return !again(w.errno)
	}
	return w
}

// write writes the vector and empties it.
func (w *fileWriter) write() error {
	err := w.raw.Write(w.try)
	w.reset()
	if err != nil {
		return err
	}
	if w.errno != 0 {
		return w.errno
	}
	return nil
}

func again(e syscall.Errno) bool { return e == unix.EAGAIN || e == unix.EINTR }

// controlSize has room for one control message with a number in it.
const controlSize = 64

// datagram is a UDP socket's next message to send or to receive.
type datagram struct {
	vector
	msg     unix.Msghdr
	name    unix.RawSockaddrInet6
	control [controlSize / 8]uint64 // aligned for the header of a control message
	raw     syscall.RawConn
	n       int
	errno   syscall.Errno
	try     func(fd uintptr) bool
}

func newSender(raw syscall.RawConn) *datagram {
	d := &datagram{raw: raw}
	d.try = func(fd uintptr) bool {
		n, _, e := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&d.msg)), 0)
		d.n, d.errno = int(n), e
		return !again(e)
	}
	return d
}

func newReceiver(raw syscall.RawConn) *datagram {
	d := &datagram{raw: raw}
	d.try = func(fd uintptr) bool {
		d.msg.SetControllen(controlSize)
		d.msg.Namelen = unix.SizeofSockaddrInet6
		n, _, e := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&d.msg)), 0)
		d.n, d.errno = int(n), e
		return !again(e)
	}
	return d
}

// data is where the content of the control message is; it is aligned as its header is.
func (d *datagram) data() unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(&d.control[0]), unix.CmsgLen(0))
}

func (d *datagram) prepare() {
	d.msg.Name = (*byte)(unsafe.Pointer(&d.name))
	d.msg.Namelen = unix.SizeofSockaddrInet6
	d.msg.Iov = &d.iov[0]
	d.msg.SetIovlen(len(d.iov))
}

// send sends the vector to d.name and empties it. With a segment size, the kernel
// or the network card cuts it into datagrams of that size.
func (d *datagram) send(segment int) error {
	d.prepare()
	d.msg.Control = nil
	d.msg.SetControllen(0)
	if segment > 0 {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&d.control[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		*(*uint16)(d.data()) = uint16(segment)
		d.msg.Control = (*byte)(unsafe.Pointer(&d.control[0]))
		d.msg.SetControllen(unix.CmsgSpace(2))
	}
	err := d.raw.Write(d.try)
	d.reset()
	if err != nil {
		return err
	}
	if d.errno != 0 {
		return d.errno
	}
	return nil
}

// receive fills the vector, which stays as it is, and d.name. The segment size is
// that of the datagrams the kernel has put together, zero if there is one only.
func (d *datagram) receive() (n, segment int, err error) {
	d.prepare()
	d.msg.Control = (*byte)(unsafe.Pointer(&d.control[0]))
	err = d.raw.Read(d.try)
	runtime.KeepAlive(d)
	if err != nil {
		return 0, 0, err
	}
	if d.errno != 0 {
		return 0, 0, d.errno
	}
	if int(d.msg.Controllen) >= unix.CmsgLen(4) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&d.control[0]))
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO {
			segment = int(*(*int32)(d.data()))
		}
	}
	if segment >= d.n {
		segment = 0
	}
	return d.n, segment, nil
}
