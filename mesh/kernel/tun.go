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
}

var _ tun.Device = (*tunDevice)(nil)

func openTUN(name string, mtu int, small bool) (*tunDevice, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			return nil, fmt.Errorf("opening %s: %w (load the tun module, or allow %[1]s in this container)", tunPath, err)
		}
		return nil, fmt.Errorf("opening %s: %w", tunPath, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("creating TUN interface: %w", err)
	}
	t := &tunDevice{file: os.NewFile(uintptr(fd), tunPath), name: name, events: make(chan tun.Event, 4)}
	t.mtu.Store(int32(mtu))
	return t, nil
}

func (t *tunDevice) File() *os.File           { return t.file }
func (t *tunDevice) MTU() (int, error)        { return int(t.mtu.Load()), nil }
func (t *tunDevice) Name() (string, error)    { return t.name, nil }
func (t *tunDevice) Events() <-chan tun.Event { return t.events }
func (t *tunDevice) BatchSize() int           { return 1 }

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

func (t *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.file.Read(bufs[0][offset:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}

func (t *tunDevice) Write(bufs [][]byte, offset int) (int, error) {
	var errs error
	n := 0
	for _, b := range bufs {
		if _, err := t.file.Write(b[offset:]); err != nil {
			errs = err
			continue
		}
		t.received.Add(uint64(len(b) - offset))
		n++
	}
	return n, errs
}
