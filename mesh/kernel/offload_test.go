package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// tcpPacket builds a TCP packet with right checksums.
func tcpPacket(v6 bool, seq uint32, flags byte, options, payload []byte) []byte {
	var p []byte
	ipHeader := 20
	if v6 {
		ipHeader = ipv6Header
		p = append(p, 0x60, 0, 0, 1, 0, 0, protoTCP, 64)
		p = append(p, bytes.Repeat([]byte{0xfd}, 16)...)
		p = append(p, bytes.Repeat([]byte{0x47}, 16)...)
	} else {
		p = append(p, 0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protoTCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2)
	}
	p = binary.BigEndian.AppendUint16(p, 4747)
	p = binary.BigEndian.AppendUint16(p, 80)
	p = binary.BigEndian.AppendUint32(p, seq)
	p = binary.BigEndian.AppendUint32(p, 99)
	p = append(p, byte(tcpHeader+len(options))<<2, flags, 1, 0, 0, 0, 0, 0)
	p = append(append(p, options...), payload...)
	fix(p, ipHeader)
	return p
}

// fix makes lengths and checksums right, by the plain textbook sum.
func fix(p []byte, ipHeader int) {
	pseudo := make([]byte, 0, 40)
	if ipHeader == ipv6Header {
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-ipv6Header))
		pseudo = append(pseudo, p[8:40]...)
	} else {
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^plainSum(p[:20]))
		pseudo = append(pseudo, p[12:20]...)
	}
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(p)-ipHeader))
	pseudo = binary.BigEndian.AppendUint32(pseudo, protoTCP)
	t := p[ipHeader:]
	t[tcpChecksum], t[tcpChecksum+1] = 0, 0
	binary.BigEndian.PutUint16(t[tcpChecksum:], ^plainSum(append(pseudo, t...)))
}

// plainSum is RFC 1071, word by word.
func plainSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		if sum += word; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestChecksum(t *testing.T) {
	for n := range 300 {
		b := randomBytes(n)
		if got, want := fold(checksum(b, 0)), plainSum(b); got != want && (got%0xffff != 0 || want%0xffff != 0) {
			t.Fatalf("%d bytes: %#x, %#x expected", n, got, want)
		}
	}
	// All ones: every addition carries.
	ones := bytes.Repeat([]byte{0xff}, 65535)
	if got, want := fold(checksum(ones, 0xfffe)), plainSum(append([]byte{0xff, 0xfe}, ones...)); got != want {
		t.Errorf("carries are lost: %#x, %#x expected", got, want)
	}
}

// collect lets a coalescer put packets together, and returns what it writes with
// the virtio headers.
func collect(t testing.TB, packets ...[]byte) (out [][]byte) {
	t.Helper()
	var c coalescer
	write := func(r *run) error {
		b := make([]byte, vnetHeader)
		r.seal(b)
		b = append(b, r.first...)
		for _, p := range r.payloads {
			b = append(b, p...)
		}
		out = append(out, b)
		return nil
	}
	for _, p := range packets {
		if err := c.add(bytes.Clone(p), write); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.flush(write); err != nil {
		t.Fatal(err)
	}
	return out
}

// split lets a segmenter cut what came from a TUN.
func split(t testing.TB, b []byte) (packets [][]byte) {
	t.Helper()
	var s segmenter
	if err := s.load(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	for s.more() {
		buf := make([]byte, 2000)
		n, err := s.take(buf)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, buf[:n])
	}
	return packets
}

// stream is packets of one flow that can all be put together.
func stream(v6 bool, n, size int) (packets [][]byte) {
	options := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	for i := range n {
		payload, flags := randomBytes(size), byte(flagACK)
		if i == n-1 {
			payload, flags = payload[:size/2], flagACK|flagPSH
		}
		p := tcpPacket(v6, 0xfffff000+uint32(i*size), flags, options, payload)
		if !v6 {
			binary.BigEndian.PutUint16(p[4:], uint16(0x1234+i))
			fix(p, 20)
		}
		packets = append(packets, p)
	}
	return packets
}

// TestThereAndBack puts packets together and cuts them again: the packets are the
// same, to the last bit.
func TestThereAndBack(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		packets := stream(v6, 40, 1348)
		long := collect(t, packets...)
		if len(long) != 1 {
			t.Fatalf("v6=%v: %d packets written, 1 expected", v6, len(long))
		}
		back := split(t, long[0])
		if len(back) != len(packets) {
			t.Fatalf("v6=%v: %d packets, %d expected", v6, len(back), len(packets))
		}
		for i := range back {
			if !bytes.Equal(back[i], packets[i]) {
				t.Fatalf("v6=%v: packet %d differs:\n%x\n%x", v6, i, back[i][:80], packets[i][:80])
			}
		}
	}
}

// TestNotPutTogether changes the second of three packets so that it must not follow
// the first; nothing may be lost or change its order.
func TestNotPutTogether(t *testing.T) {
	set := func(at int, v byte) func([]byte) []byte {
		return func(p []byte) []byte { p[at] = v; fix(p, ipv6Header); return p }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		groups int
	}{
		"nothing":         {func(p []byte) []byte { return p }, 1},
		"traffic class":   {set(1, 0x20), 3},
		"flow label":      {set(3, 9), 3},
		"hop limit":       {set(7, 63), 3},
		"another source":  {set(8, 1), 3}, // the third does not follow the first
		"another port":    {set(40, 1), 3},
		"gap":             {set(46, 1), 3},
		"acknowledgement": {set(48, 1), 3},
		"SYN":             {set(53, 0x12), 3},
		"FIN":             {set(53, 0x11), 3},
		"ECE":             {set(53, 0x50), 3},
		"window":          {set(54, 9), 3},
		"urgent pointer":  {set(58, 9), 3},
		"wrong checksum":  {func(p []byte) []byte { p[56] ^= 1; return p }, 3},
		"damaged payload": {func(p []byte) []byte { p[100] ^= 1; return p }, 3},
		"PSH":             {set(53, 0x18), 2}, // nothing may follow it
		"trailing bytes":  {func(p []byte) []byte { return append(p, 0) }, 3},
		"UDP":             {func(p []byte) []byte { p[6] = 17; return p }, 3},
		"IPv4":            {func(p []byte) []byte { p[0] = 0x45; return p }, 3},
	} {
		packets := [][]byte{
			tcpPacket(true, 1000, flagACK, nil, randomBytes(500)),
			c.change(tcpPacket(true, 1500, flagACK, nil, randomBytes(500))),
			tcpPacket(true, 2000, flagACK, nil, randomBytes(500)),
		}
		out := collect(t, packets...)
		if len(out) != c.groups {
			t.Errorf("%s: %d packets written, %d expected", name, len(out), c.groups)
			continue
		}
		var back [][]byte
		for _, b := range out {
			back = append(back, split(t, b)...)
		}
		for i := range packets {
			if c.groups == 3 && name != "another source" && name != "another port" && !bytes.Equal(back[i], packets[i]) {
				t.Errorf("%s: packet %d changed", name, i)
			}
		}
	}
}

// TestFlows mixes more flows than are put together at a time.
func TestFlows(t *testing.T) {
	var packets [][]byte
	for i := range 10 {
		for flow := range maxRuns + 2 {
			p := tcpPacket(true, uint32(1000+i*100), flagACK, nil, randomBytes(100))
			p[41] = byte(flow)
			fix(p, ipv6Header)
			packets = append(packets, p)
		}
	}
	next := make(map[byte]uint32)
	total := 0
	for _, b := range collect(t, packets...) {
		for _, p := range split(t, b) {
			total++
			if !checksumValid(p, ipv6Header) {
				t.Fatal("wrong checksum")
			}
			seq := binary.BigEndian.Uint32(p[ipv6Header+tcpSeq:])
			if want := next[p[41]]; want != 0 && seq != want {
				t.Fatalf("flow %d: sequence number %d, %d expected", p[41], seq, want)
			}
			next[p[41]] = seq + 100
		}
	}
	if total != len(packets) {
		t.Errorf("%d packets, %d expected", total, len(packets))
	}
}

// TestLongest fills an IP packet to its limit.
func TestLongest(t *testing.T) {
	var packets [][]byte
	for i := range 60 {
		packets = append(packets, tcpPacket(true, uint32(i*1400), flagACK, nil, randomBytes(1400)))
	}
	out := collect(t, packets...)
	if len(out) != 2 || len(out[0]) > vnetHeader+maxIPPacket || len(out[0]) < 60000 {
		t.Errorf("%d packets, the first of %d bytes", len(out), len(out[0]))
	}
}

// TestPartialChecksum completes the checksum that the kernel leaves to the card.
func TestPartialChecksum(t *testing.T) {
	p := tcpPacket(true, 1, flagACK, nil, []byte("hello"))
	b := append(make([]byte, vnetHeader), p...)
	b[0] = vnetNeedCsum
	binary.NativeEndian.PutUint16(b[6:], ipv6Header)
	binary.NativeEndian.PutUint16(b[8:], tcpChecksum)
	q := b[vnetHeader:]
	binary.BigEndian.PutUint16(q[56:], fold(checksum(q[8:40], protoTCP+uint64(len(q)-ipv6Header))))
	if got := split(t, b); len(got) != 1 || !bytes.Equal(got[0], p) {
		t.Errorf("%x\n%x expected", got, p)
	}
}

func TestMalformedOffload(t *testing.T) {
	good := collect(t, stream(true, 3, 500)...)[0]
	for name, spoil := range map[string]func([]byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"header only":      func(b []byte) []byte { return b[:vnetHeader] },
		"UDP segments":     func(b []byte) []byte { b[1] = unix.VIRTIO_NET_HDR_GSO_UDP_L4; return b },
		"wrong version":    func(b []byte) []byte { b[1] = unix.VIRTIO_NET_HDR_GSO_TCPV4; return b },
		"no segment size":  func(b []byte) []byte { b[4], b[5] = 0, 0; return b },
		"short":            func(b []byte) []byte { return b[:vnetHeader+50] },
		"start outside":    func(b []byte) []byte { b[6], b[7] = 0xff, 0xff; return b },
		"start at zero":    func(b []byte) []byte { b[6], b[7] = 0, 0; return b },
		"short TCP header": func(b []byte) []byte { b[vnetHeader+52] = 0x10; return b },
		"checksum outside": func(b []byte) []byte { b[0], b[1], b[8], b[9] = 1, 0, 0xff, 0xff; return b },
	} {
		var s segmenter
		if err := s.load(spoil(bytes.Clone(good))); !errors.Is(err, errOffload) || s.more() {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A packet longer than the buffer is dropped, and the next is read.
	var s segmenter
	if err := s.load(append(make([]byte, vnetHeader), make([]byte, 3000)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.take(make([]byte, 2000)); err == nil || s.more() {
		t.Error("a packet was cut off")
	}
}

func FuzzSegmenter(f *testing.F) {
	f.Add(collect(f, stream(true, 3, 500)...)[0])
	f.Add(collect(f, stream(false, 3, 100)...)[0])
	f.Add(append(make([]byte, vnetHeader), 0x60))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s segmenter
		if s.load(b) != nil {
			return
		}
		buf := make([]byte, 1500)
		for n := 0; s.more(); n++ {
			if n > len(b) {
				t.Fatal("more packets than bytes")
			}
			if _, err := s.take(buf); err != nil {
				return
			}
		}
	})
}

// FuzzCoalescer feeds packets as a neighbour might send them, each behind a length;
// what is written must hold all bytes and never be longer than an IP packet.
func FuzzCoalescer(f *testing.F) {
	seed := func(packets ...[]byte) {
		var b []byte
		for _, p := range packets {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		f.Add(b)
	}
	seed(stream(true, 3, 100)...)
	seed(stream(false, 3, 100)...)
	seed([]byte{0x60}, nil, []byte{0x45, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var packets [][]byte
		total := 0
		for len(b) >= 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			if n > 0 {
				packets = append(packets, b[2:2+n])
				total += n
			}
			b = b[2+n:]
		}
		written := 0
		for _, w := range collect(t, packets...) {
			if len(w) > vnetHeader+maxIPPacket {
				t.Fatalf("%d bytes written", len(w))
			}
			for _, p := range splitAny(t, w) {
				written += len(p)
			}
		}
		if written != total {
			t.Fatalf("%d bytes written of %d", written, total)
		}
	})
}

// splitAny is split for packets that need not make sense.
func splitAny(t testing.TB, b []byte) [][]byte {
	if b[1] == unix.VIRTIO_NET_HDR_GSO_NONE {
		return [][]byte{b[vnetHeader:]}
	}
	var s segmenter
	if err := s.load(b); err != nil {
		t.Fatalf("what was put together cannot be cut: %v", err)
	}
	var out [][]byte
	for s.more() {
		buf := make([]byte, maxIPPacket)
		n, err := s.take(buf)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, buf[:n])
	}
	return out
}

func BenchmarkChecksum(b *testing.B) {
	p := randomBytes(1420)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		checksum(p, 0)
	}
}
