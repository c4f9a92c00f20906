package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab/netns"
)

// Pinger sends ICMPv6 echo requests (RFC 4443 section 4.1) from one namespace.
// Its methods may be called from several goroutines.
type Pinger struct {
	ns   *netns.Namespace
	conn net.PacketConn
	id   uint16

	mu      sync.Mutex
	seq     uint16
	waiting map[uint16]*echo
	done    chan struct{}
}

type echo struct {
	to    netip.Addr
	seq   uint16
	sent  time.Time
	reply chan time.Duration
}

const (
	echoRequest = 128
	echoReply   = 129
)

// NewPinger opens a pinger in a namespace. The caller closes it.
func NewPinger(ns *netns.Namespace) (*Pinger, error) {
	p := &Pinger{ns: ns, id: uint16(os.Getpid()), waiting: map[uint16]*echo{}, done: make(chan struct{})}
	err := ns.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip6:ipv6-icmp", "::")
		return err
	})
	if err == nil {
		err = p.filter()
	}
	if err != nil {
		return nil, fmt.Errorf("pinger in %s: %w", ns.Name, err)
	}
	go p.receive()
	return p, nil
}

// filter lets only echo replies through (RFC 3542 section 3.2).
func (p *Pinger) filter() error {
	raw, err := p.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var f unix.ICMPv6Filter
	for i := range f.Data {
		f.Data[i] = ^uint32(0)
	}
	f.Data[echoReply>>5] &^= 1 << (echoReply & 31)
	err2 := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptICMPv6Filter(int(fd), unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &f)
	})
	return errors.Join(err, err2)
}

// Close ends the pinger; pings under way fail.
func (p *Pinger) Close() error {
	err := p.conn.Close()
	<-p.done
	return err
}

func (p *Pinger) receive() {
	defer close(p.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 || buf[0] != echoReply || binary.BigEndian.Uint16(buf[4:]) != p.id {
			continue
		}
		addr, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		p.mu.Lock()
		seq := binary.BigEndian.Uint16(buf[6:])
		if e := p.waiting[seq]; e != nil && e.to == addr {
			delete(p.waiting, seq)
			e.reply <- time.Since(e.sent)
		}
		p.mu.Unlock()
	}
}

// Ping sends one echo request and waits for its reply, until ctx ends.
func (p *Pinger) Ping(ctx context.Context, to netip.Addr) (time.Duration, error) {
	e, err := p.send(to)
	if err != nil {
		return 0, err
	}
	return p.wait(ctx, e)
}

// send sends a request. Unless it fails, wait must follow.
func (p *Pinger) send(to netip.Addr) (*echo, error) {
	dst, err := p.resolve(to)
	if err != nil {
		return nil, fmt.Errorf("pinging %s: %w", to, err)
	}
	e := &echo{to: to.WithZone(""), sent: time.Now(), reply: make(chan time.Duration, 1)}
	p.mu.Lock()
	p.seq++
	e.seq = p.seq
	p.waiting[e.seq] = e
	p.mu.Unlock()
	msg := []byte{echoRequest, 0, 0, 0} // the kernel fills in the checksum
	msg = binary.BigEndian.AppendUint16(msg, p.id)
	msg = binary.BigEndian.AppendUint16(msg, e.seq)
	msg = append(msg, "globalnet lab ping"...)
	if _, err := p.conn.WriteTo(msg, dst); err != nil {
		p.forget(e)
		return nil, fmt.Errorf("pinging %s: %w", to, err)
	}
	return e, nil
}

func (p *Pinger) wait(ctx context.Context, e *echo) (time.Duration, error) {
	defer p.forget(e)
	select {
	case rtt := <-e.reply:
		return rtt, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("pinging %s: %w", e.to, ctx.Err())
	case <-p.done:
		return 0, fmt.Errorf("pinging %s: %w", e.to, net.ErrClosed)
	}
}

func (p *Pinger) forget(e *echo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[e.seq] == e {
		delete(p.waiting, e.seq)
	}
}

// resolve turns an interface name in a zone into its number: package net would
// look for the name outside the namespace.
func (p *Pinger) resolve(to netip.Addr) (*net.IPAddr, error) {
	dst := &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	if dst.Zone == "" {
		return dst, nil
	}
	if _, err := strconv.Atoi(dst.Zone); err == nil {
		return dst, nil
	}
	err := p.ns.Do(func() error {
		i, err := net.InterfaceByName(dst.Zone)
		if err == nil {
			dst.Zone = strconv.Itoa(i.Index)
		}
		return err
	})
	return dst, err
}

// Until pings every interval until a reply comes or ctx ends. An answer to an
// earlier request counts too.
func (p *Pinger) Until(ctx context.Context, to netip.Addr, interval time.Duration) (time.Duration, error) {
	return p.until(ctx, to, interval, interval)
}

// until pings after ever longer pauses, from shortest to longest. What could not
// be sent, as there is no route, costs nobody anything and lengthens no pause.
func (p *Pinger) until(ctx context.Context, to netip.Addr, shortest, longest time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	replies := make(chan time.Duration)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel()
	pause := shortest
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case rtt := <-replies:
			return rtt, nil
		case <-ctx.Done():
			return 0, fmt.Errorf("pinging %s: %w", to, ctx.Err())
		case <-timer.C:
		}
		timer.Reset(pause)
		e, err := p.send(to)
		if err != nil {
			continue
		}
		pause = min(pause*3/2, longest)
		pings.Go(func() {
			attempt, stop := context.WithTimeout(ctx, 10*time.Second)
			defer stop()
			if rtt, err := p.wait(attempt, e); err == nil {
				select {
				case replies <- rtt:
				case <-ctx.Done():
				}
			}
		})
	}
}
