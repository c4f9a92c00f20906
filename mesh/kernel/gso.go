package kernel

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// A TUN with offloads carries each packet behind a virtio_net_hdr: flags, GSO type,
// header length, segment size, where the checksum begins and where it goes, the
// numbers in the byte order of the machine.
const vnetHeader = 10

const (
	ipv6Header   = 40
	tcpHeader    = 20 // without options
	tcpSeq       = 4
	tcpAck       = 8
	tcpOffset    = 12
	tcpFlags     = 13
	tcpChecksum  = 16
	flagFIN      = 0x01
	flagPSH      = 0x08
	flagACK      = 0x10
	protoTCP     = unix.IPPROTO_TCP
	maxIPPacket  = 65535
	vnetNeedCsum = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
)

var errOffload = errors.New("TUN packet with a malformed offload header")

// segmenter cuts what was read from a TUN with offloads into packets that fit the
// MTU, with their checksums.
type segmenter struct {
	packet    []byte // what was read, less the virtio header
	ipHeader  int    // length; zero if packet is to be taken as it is
	headers   int    // length of IP and TCP header
	segment   int    // TCP payload bytes a packet
	next      int    // where the payload of the next packet begins
	index     uint16
	checksums uint64 // of the parts that all packets share
}

// load takes what was read.
func (s *segmenter) load(b []byte) error {
	s.packet = nil
	if len(b) < vnetHeader+1 {
		return errOffload
	}
	flags, kind := b[0], b[1]&^unix.VIRTIO_NET_HDR_GSO_ECN
	size := int(binary.NativeEndian.Uint16(b[4:]))
	start := int(binary.NativeEndian.Uint16(b[6:]))
	offset := int(binary.NativeEndian.Uint16(b[8:]))
	p := b[vnetHeader:]
	if kind == unix.VIRTIO_NET_HDR_GSO_NONE {
		if flags&vnetNeedCsum != 0 {
			if start+offset+2 > len(p) {
				return errOffload
			}
			// The field holds the sum of the pseudo header.
			sum := ^fold(checksum(p[start:], 0))
			if sum == 0 {
				sum = 0xffff // the same number; zero would mean that UDP has no checksum
			}
			binary.BigEndian.PutUint16(p[start+offset:], sum)
		}
		s.packet, s.ipHeader, s.next = p, 0, 0
		return nil
	}
	version := p[0] >> 4
	switch {
	case kind == unix.VIRTIO_NET_HDR_GSO_TCPV4 && version == 4:
	case kind == unix.VIRTIO_NET_HDR_GSO_TCPV6 && version == 6:
	default:
		return errOffload
	}
	if size == 0 || start < 20 || start+tcpHeader > len(p) {
		return errOffload
	}
	// hdr_len of the kernel may count the first packet's payload when it forwards.
	headers := start + int(p[start+tcpOffset]>>4)*4
	if headers < start+tcpHeader || headers > len(p) {
		return errOffload
	}
	s.packet, s.ipHeader, s.headers, s.segment, s.next, s.index = p, start, headers, size, headers, 0
	// The parts of the checksum that do not change: addresses and protocol.
	addrs := p[8:40]
	if version == 4 {
		addrs = p[12:20]
	}
	s.checksums = checksum(addrs, protoTCP)
	return nil
}

// more tells whether there are packets to take.
func (s *segmenter) more() bool { return s.packet != nil }

// take writes the next packet to dst and returns its length.
func (s *segmenter) take(dst []byte) (int, error) {
	p := s.packet
	if s.ipHeader == 0 {
		s.packet = nil
		if len(dst) < len(p) {
			return 0, errOffload
		}
		return copy(dst, p), nil
	}
	payload := p[s.next:min(s.next+s.segment, len(p))]
	n := s.headers + len(payload)
	if len(dst) < n {
		s.packet = nil
		return 0, errOffload
	}
	copy(dst, p[:s.headers])
	copy(dst[s.headers:n], payload)
	s.finish(dst[:n], s.next+len(payload) >= len(p))
	return n, nil
}

// finish makes the headers of the packet at hand right, and moves to the next.
func (s *segmenter) finish(d []byte, last bool) {
	if d[0]>>4 == 4 {
		binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
		binary.BigEndian.PutUint16(d[4:], binary.BigEndian.Uint16(d[4:])+s.index)
		d[10], d[11] = 0, 0
		binary.BigEndian.PutUint16(d[10:], ^fold(checksum(d[:s.ipHeader], 0)))
	} else {
		binary.BigEndian.PutUint16(d[4:], uint16(len(d)-ipv6Header))
	}
	t := d[s.ipHeader:]
	seq := binary.BigEndian.Uint32(t[tcpSeq:]) + uint32(s.next-s.headers)
	binary.BigEndian.PutUint32(t[tcpSeq:], seq)
	if !last {
		t[tcpFlags] &^= flagFIN | flagPSH
	}
	t[tcpChecksum], t[tcpChecksum+1] = 0, 0
	binary.BigEndian.PutUint16(t[tcpChecksum:], ^fold(checksum(t, s.checksums+uint64(len(t)))))
	s.next += s.segment
	s.index++
	if last {
		s.packet = nil
	}
}
