package kernel

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

const tunPath = "/dev/net/tun"

// tunDevice is a TUN interface as wireguard-go's tun.Device. The interface lives as
// long as the descriptor, so it vanishes with the process, however that ends.
type tunDevice struct {
	file     *os.File
	name     string
	mtu      atomic.Int32
	events   chan tun.Event
	once     sync.Once
	received atomic.Uint64 // bytes of authenticated packets written to it
	batch    int
	flow     *flow

	scratch  [vnetHeader + maxIPPacket]byte // of Read
	segments segmenter

	writing sync.Mutex
	writer  *fileWriter
	header  [vnetHeader]byte
	group   coalescer
}

var _ tun.Device = (*tunDevice)(nil)

func openTUN(name string, mtu, batch int, f *flow) (*tunDevice, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			return nil, fmt.Errorf("opening %s: %w (load the tun module, or allow %[1]s in this container)", tunPath, err)
		}
		return nil, fmt.Errorf("opening %s: %w", tunPath, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("creating TUN interface: %w", err)
	}
	// Best effort: without it, packets come one by one and with checksums.
	_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	t := &tunDevice{file: os.NewFile(uintptr(fd), tunPath), name: name, batch: batch, flow: f, events: make(chan tun.Event, 4)}
	raw, err := t.file.SyscallConn()
	if err != nil {
		t.file.Close()
		return nil, err
	}
	t.writer = newFileWriter(raw)
	t.mtu.Store(int32(mtu))
	return t, nil
}

func (t *tunDevice) File() *os.File           { return t.file }
func (t *tunDevice) MTU() (int, error)        { return int(t.mtu.Load()), nil }
func (t *tunDevice) Name() (string, error)    { return t.name, nil }
func (t *tunDevice) Events() <-chan tun.Event { return t.events }
func (t *tunDevice) BatchSize() int           { return t.batch }

// setMTU tells wireguard-go that the MTU has changed.
func (t *tunDevice) setMTU(mtu int) {
	if t.mtu.Swap(int32(mtu)) != int32(mtu) {
		select {
		case t.events <- tun.EventMTUUpdate:
		default: // one waits already
		}
	}
}

func (t *tunDevice) Close() (err error) {
	t.once.Do(func() {
		err = t.file.Close()
		close(t.events)
	})
	return err
}

// Read reads what the kernel sends, at most 64 KiB of one TCP flow, and returns
// it as packets; what does not fit the batch is returned by the next call.
func (t *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for !t.segments.more() {
		t.flow.waitSend()
		n, err := t.file.Read(t.scratch[:])
		if err != nil {
			return 0, err
		}
		// A packet that makes no sense is dropped; an error would end the device.
		_ = t.segments.load(t.scratch[:n])
	}
	n := 0
	for n < len(bufs) && t.segments.more() {
		size, err := t.segments.take(bufs[n][offset:])
		if err != nil {
			break
		}
		sizes[n] = size
		n++
	}
	t.flow.sending(n)
	return n, nil
}

// Write writes decrypted packets, TCP flows put together.
func (t *tunDevice) Write(bufs [][]byte, offset int) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	var first error
	for _, b := range bufs {
		t.received.Add(uint64(len(b) - offset))
		if err := t.group.add(b[offset:], t.writeRun); err != nil && first == nil {
			first = err
		}
	}
	if err := t.group.flush(t.writeRun); err != nil && first == nil {
		first = err
	}
	t.flow.delivered(len(bufs))
	return len(bufs), first
}

func (t *tunDevice) writeRun(r *run) error {
	r.seal(t.header[:])
	t.writer.add(t.header[:])
	t.writer.add(r.first)
	for _, p := range r.payloads {
		t.writer.add(p)
	}
	return t.writer.write()
}
