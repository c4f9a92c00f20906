package dhttest

import (
	"net/netip"
	"os"
	"sync"
	"time"
)

// Deaf is a dht.PacketConn on which nobody answers, for tests of what a Node does
// alone. It works in a bubble of synctest.
type Deaf struct {
	once sync.Once
	stop chan struct{}
}

// NewDeaf returns one.
func NewDeaf() *Deaf { return &Deaf{stop: make(chan struct{})} }

// ReadFromUDPAddrPort waits for the deadline.
func (d *Deaf) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	<-d.stop
	return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
}

// WriteToUDPAddrPort sends nowhere.
func (d *Deaf) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) { return len(p), nil }

// SetReadDeadline ends reading, whatever the time.
func (d *Deaf) SetReadDeadline(time.Time) error {
	d.once.Do(func() { close(d.stop) })
	return nil
}
