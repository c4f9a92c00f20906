package beacon

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A forger sends frames with any source address.
type forger struct {
	t  testing.TB
	fd int
	to unix.SockaddrLinklayer
}

func (st *station) forger() *forger {
	st.t.Helper()
	f := &forger{t: st.t, to: unix.SockaddrLinklayer{Protocol: 0xdd86, Ifindex: st.index, Halen: 6}}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		f.to.Protocol = unix.ETH_P_IPV6
	}
	copy(f.to.Addr[:], []byte{0x33, 0x33, 0, 0, 0, 0xfb})
	err := st.ns.Do(func() (err error) {
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { unix.Close(f.fd) })
	return f
}

// send sends msg as if src had.
func (f *forger) send(src netip.Addr, msg []byte) {
	udp := binary.BigEndian.AppendUint16(nil, mdnsPort)
	udp = binary.BigEndian.AppendUint16(udp, mdnsPort)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(msg)))
	udp = append(udp, 0, 0)
	udp = append(udp, msg...)
	dst := group6.As16()
	from := src.As16()
	sum := checksum(from[:]) + checksum(dst[:]) + uint32(len(udp)) + 17 + checksum(udp)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], uint16(sum))
	ip := []byte{0x60, 0, 0, 0, byte(len(udp) >> 8), byte(len(udp)), 17, 255}
	ip = append(append(ip, from[:]...), dst[:]...)
	if err := unix.Sendto(f.fd, append(ip, udp...), 0, &f.to); err != nil && err != unix.ENOBUFS {
		f.t.Errorf("sending a forged frame: %v", err)
	}
}

func checksum(b []byte) (sum uint32) {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A stranger sends 100 000 announcements of nodes that are not there, each
// with a tag of its own, while a real neighbour comes.
//
//	a (listens) ─┬─ br ─┬─ flooder
//	             └──────┴─ b (comes)
func TestFlood(t *testing.T) {
	const messages = 100_000
	var x [4]byte
	for _, c := range []struct {
		name   string
		source func(i int, own netip.Addr) netip.Addr
	}{
		{"one source", func(_ int, own netip.Addr) netip.Addr { return own }},
		{"forged sources", func(i int, _ netip.Addr) netip.Addr {
			binary.BigEndian.PutUint32(x[:], uint32(i)*2654435761)
			return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 12: x[0], 13: x[1], 14: x[2], 15: x[3]})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSegment(t)
			a := s.station("").run(1, "net")
			a.SetPace(Connected)
			bStation, flooder := s.station(""), s.station("")
			forge := flooder.forger()
			eventually(t, "a to speak", func() bool { return a.Counters()["own"] > 0 })
			before := heap()

			var flood sync.WaitGroup
			half := make(chan struct{})
			flood.Go(func() {
				for i := range messages {
					fake := &announcement{port: 7, addrs: []netip.Addr{c.source(i, flooder.ll.WithZone(""))}}
					binary.BigEndian.PutUint32(fake.tag[:], uint32(i))
					forge.send(fake.addrs[0], encode(t, fake))
					if i == messages/4 {
						close(half)
					}
				}
			})
			<-half
			b := bStation.run(2, "net")
			if got := a.seen.wait(t, b.cfg.Tag); got.Addr != bStation.ll || !got.SameNetwork {
				t.Errorf("the neighbour was seen as %+v", got)
			}
			flood.Wait()
			n := a.Counters()
			t.Logf("%v", n)
			if n["received"]-n["own"] < messages/200 {
				t.Errorf("the flood was not heard: %v", n)
			}
			if limit := uint64(messages / 10); n["sightings"] > limit {
				t.Errorf("%d sightings", n["sightings"])
			}
			a.seen.mu.Lock()
			a.seen.list, a.seen.at = nil, nil
			a.seen.mu.Unlock()
			if after := heap(); after > before+2<<20 {
				t.Errorf("the heap grew from %d to %d", before, after)
			}
		})
	}
}

// Questions by the thousand are answered at a bounded rate.
func TestQuestionFlood(t *testing.T) {
	s := newSegment(t)
	a := s.station("10.9.0.1/24").run(1, "net")
	a.SetPace(Connected)
	forge := s.station("").forger()
	query, err := appendQuery(nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a to speak", func() bool { return a.Counters()["own"] > 0 })
	for i := range 20_000 {
		forge.send(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)}), query)
	}
	eventually(t, "the gate to close", func() bool { return a.Counters()["questions_throttled"] > 0 })
	if n := a.Counters(); n["own"] > 1000 {
		t.Errorf("answered a flood of questions with a flood: %v", n)
	}
}

// The library opens two sockets of its own on all interfaces; what strangers
// send there must reach nothing.
func TestStrayDatagramsReachNothing(t *testing.T) {
	s := newSegment(t)
	st := s.station("10.9.0.1/24")
	a := st.run(1, "net")
	ports := openPorts(t, st)
	if len(ports) == 0 {
		t.Skip("the library opens no socket of its own any more")
	}
	c := s.station("10.9.0.2/24").dialer()
	junk := encode(t, example())
	eventually(t, "a reader of the library to end", func() bool {
		for _, p := range ports {
			c.WriteToUDPAddrPort(junk, netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), p))
		}
		return a.Counters()["strayed"] > 0
	})
	for range 100 {
		for _, p := range ports {
			c.WriteToUDPAddrPort(junk, netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), p))
		}
	}
	a.stop()
	if n := a.Counters(); n["strayed"] > 2 {
		t.Errorf("%d datagrams came through", n["strayed"])
	}
}

func (st *station) dialer() (c *net.UDPConn) {
	st.t.Helper()
	err := st.ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", nil)
		return err
	})
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { c.Close() })
	return c
}
