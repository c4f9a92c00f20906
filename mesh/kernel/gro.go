package kernel

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maxRuns bounds the TCP flows that are put together at a time.
const maxRuns = 8

// run is packets of one TCP flow that follow each other without a gap: they are
// written to the TUN as one, so that the kernel routes one packet instead of fifty.
type run struct {
	first    []byte   // the first packet, its headers to be changed at the end
	payloads [][]byte // of the packets after it
	ipHeader int
	headers  int
	segment  int    // payload bytes of the first packet
	next     uint32 // the sequence number that would continue it
	length   int    // of the whole as one packet
	last     byte   // TCP flags of the last packet
	closed   bool   // nothing may follow
}

// coalescer puts the packets of one batch together. What it returns refers to the
// packets, so it lasts until the next batch. Packets of one flow keep their order.
type coalescer struct {
	runs []run
}

// tcpLayout finds the headers of a TCP packet that may be put together with others:
// no IP options or extension headers, no fragment, ACK and perhaps PSH, a payload,
// and nothing after the IP packet.
func tcpLayout(p []byte) (ipHeader, headers int, ok bool) {
	if len(p) < 20+tcpHeader {
		return 0, 0, false
	}
	switch p[0] >> 4 {
	case 4:
		if p[0] != 0x45 || p[9] != protoTCP || int(binary.BigEndian.Uint16(p[2:])) != len(p) ||
			binary.BigEndian.Uint16(p[6:])&0x3fff != 0 { // more fragments, or an offset
			return 0, 0, false
		}
		ipHeader = 20
	case 6:
		if len(p) < ipv6Header+tcpHeader || p[6] != protoTCP ||
			int(binary.BigEndian.Uint16(p[4:])) != len(p)-ipv6Header {
			return 0, 0, false
		}
		ipHeader = ipv6Header
	default:
		return 0, 0, false
	}
	t := p[ipHeader:]
	headers = ipHeader + int(t[tcpOffset]>>4)*4
	if headers < ipHeader+tcpHeader || headers >= len(p) || t[tcpFlags]&^flagPSH != flagACK {
		return 0, 0, false
	}
	return ipHeader, headers, true
}

// sameFlow tells whether two packets of equal layout may be in one run: they differ
// only in length, identification, checksums, sequence number, PSH and payload.
func sameFlow(a, b []byte, ipHeader, headers int) bool {
	if ipHeader == ipv6Header {
		if !bytes.Equal(a[:4], b[:4]) || !bytes.Equal(a[6:40], b[6:40]) {
			return false
		}
	} else if !bytes.Equal(a[:2], b[:2]) || !bytes.Equal(a[6:10], b[6:10]) || !bytes.Equal(a[12:20], b[12:20]) {
		return false
	}
	a, b = a[ipHeader:headers], b[ipHeader:headers]
	return bytes.Equal(a[:tcpSeq], b[:tcpSeq]) && bytes.Equal(a[tcpAck:tcpFlags], b[tcpAck:tcpFlags]) &&
		bytes.Equal(a[14:tcpChecksum], b[14:tcpChecksum]) && bytes.Equal(a[18:], b[18:])
}

// sameConnection tells whether two TCP packets have the same addresses and ports.
func sameConnection(a, b []byte, ipHeader int) bool {
	addrs := ipHeader - 8
	if ipHeader == ipv6Header {
		addrs = ipHeader - 32
	}
	return a[0]>>4 == b[0]>>4 && bytes.Equal(a[addrs:ipHeader+4], b[addrs:ipHeader+4])
}

// checksumValid verifies the TCP checksum. A packet whose checksum is wrong must
// not be put together with others, for it would get a right one.
func checksumValid(p []byte, ipHeader int) bool {
	addrs := p[8:40]
	if ipHeader != ipv6Header {
		addrs = p[12:20]
	}
	sum := checksum(addrs, protoTCP+uint64(len(p)-ipHeader))
	return fold(checksum(p[ipHeader:], sum)) == 0xffff
}

// add takes a packet. It returns false for one that must be written by itself, now;
// its flow's run, if any, is to be written before, which flush of it does.
func (c *coalescer) add(p []byte, write func(*run) error) error {
	ipHeader, headers, ok := tcpLayout(p)
	if !ok || !checksumValid(p, ipHeader) {
		return c.alone(p, write)
	}
	payload := p[headers:]
	seq := binary.BigEndian.Uint32(p[ipHeader+tcpSeq:])
	for i := range c.runs {
		r := &c.runs[i]
		if r.ipHeader != ipHeader || !sameConnection(r.first, p, ipHeader) {
			continue
		}
		if !r.closed && r.headers == headers && seq == r.next && len(payload) <= r.segment &&
			r.length+len(payload) <= maxIPPacket && sameFlow(r.first, p, ipHeader, headers) {
			r.payloads = append(r.payloads, payload)
			r.length += len(payload)
			r.next += uint32(len(payload))
			r.last = p[ipHeader+tcpFlags]
			r.closed = len(payload) < r.segment || r.last&flagPSH != 0
			return nil
		}
		err := write(r)
		r.begin(p, ipHeader, headers, seq)
		return err
	}
	var err error
	if len(c.runs) == maxRuns {
		err = c.flush(write)
	}
	if len(c.runs) == cap(c.runs) {
		c.runs = append(c.runs, run{})
	} else {
		c.runs = c.runs[:len(c.runs)+1]
	}
	c.runs[len(c.runs)-1].begin(p, ipHeader, headers, seq)
	return err
}

func (r *run) begin(p []byte, ipHeader, headers int, seq uint32) {
	*r = run{
		first: p, payloads: r.payloads[:0], ipHeader: ipHeader, headers: headers,
		segment: len(p) - headers, next: seq + uint32(len(p)-headers), length: len(p),
		last: p[ipHeader+tcpFlags],
	}
	r.closed = r.last&flagPSH != 0
}

// alone writes a packet by itself, after what there is of its connection.
func (c *coalescer) alone(p []byte, write func(*run) error) error {
	if len(c.runs) > 0 {
		// Rare beside runs, so all of them go: a FIN must not overtake its data.
		if err := c.flush(write); err != nil {
			return err
		}
	}
	return write(&run{first: p, length: len(p)})
}

// flush writes all runs.
func (c *coalescer) flush(write func(*run) error) error {
	var first error
	for i := range c.runs {
		if err := write(&c.runs[i]); err != nil && first == nil {
			first = err
		}
		c.runs[i].first = nil
	}
	c.runs = c.runs[:0]
	return first
}

// seal makes the headers of a run those of one long packet, and writes its virtio
// header to h, vnetHeader bytes.
func (r *run) seal(h []byte) {
	clear(h)
	if len(r.payloads) == 0 {
		return
	}
	p := r.first
	kind := byte(unix.VIRTIO_NET_HDR_GSO_TCPV6)
	addrs := p[8:40]
	if r.ipHeader == ipv6Header {
		binary.BigEndian.PutUint16(p[4:], uint16(r.length-ipv6Header))
	} else {
		kind = unix.VIRTIO_NET_HDR_GSO_TCPV4
		addrs = p[12:20]
		binary.BigEndian.PutUint16(p[2:], uint16(r.length))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^fold(checksum(p[:r.ipHeader], 0)))
	}
	t := p[r.ipHeader:]
	t[tcpFlags] = r.last
	// The kernel adds the rest to the sum of the pseudo header.
	binary.BigEndian.PutUint16(t[tcpChecksum:], fold(checksum(addrs, protoTCP+uint64(r.length-r.ipHeader))))
	h[0], h[1] = vnetNeedCsum, kind
	binary.NativeEndian.PutUint16(h[2:], uint16(r.headers))
	binary.NativeEndian.PutUint16(h[4:], uint16(r.segment))
	binary.NativeEndian.PutUint16(h[6:], uint16(r.ipHeader))
	binary.NativeEndian.PutUint16(h[8:], tcpChecksum)
}
