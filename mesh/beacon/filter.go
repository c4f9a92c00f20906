package beacon

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
)

// The kernel judges a datagram before it wakes us: other software is talkative
// on this port, and what is not for us costs nothing. A filter on a UDP socket
// sees the UDP header, then the DNS message (RFC 1035 section 4.1.1).
const (
	udpHeader  = 8
	dnsFlags   = udpHeader + 2
	dnsCounts  = udpHeader + 4 // questions
	dnsAnswers = udpHeader + 6
	dnsNames   = udpHeader + 12
	accept     = 0xffff
)

// wireService and wireEnumeration are names as they stand in a message.
var (
	wireService     = wireName("_globalnet", "_udp", "local")
	wireEnumeration = wireName("_services", "_dns-sd", "_udp", "local")
)

func wireName(labels ...string) []byte {
	var w []byte
	for _, l := range labels {
		w = append(append(w, byte(len(l))), l...)
	}
	return append(w, 0)
}

// responseFilter passes responses whose first name is our service type: the
// announcements of our nodes, and their answers.
func responseFilter() ([]bpf.RawInstruction, error) {
	var p program
	p.size()
	p.load(dnsFlags, 1)
	p.require(bpf.JumpBitsSet, 0x80)
	p.match(dnsNames, wireService)
	p.ret(accept)
	return p.assemble()
}

// questionFilter passes the questions that the responder of tag may answer:
// those that begin with one of its names, or have more names than one.
func questionFilter(tag Tag) ([]bpf.RawInstruction, error) {
	var p program
	p.size()
	p.load(dnsFlags, 1)
	p.require(bpf.JumpBitsNotSet, 0x80)
	p.load(dnsAnswers, 2) // known answers; many are no question of an ordinary querier
	p.require(bpf.JumpLessOrEqual, maxRecords)
	p.load(dnsCounts, 2)
	p.require(bpf.JumpLessOrEqual, maxRecords)
	p.require(bpf.JumpGreaterThan, 0)
	p.acceptIf(bpf.JumpGreaterThan, 1)
	p.alternative(dnsNames, wireService)
	p.alternative(dnsNames, wireEnumeration)
	p.alternative(dnsNames, append([]byte{byte(len(tag.String()))}, tag.String()...))
	p.ret(0)
	return p.assemble()
}

// A program is a filter being written.
type program struct{ code []bpf.Instruction }

func (p *program) assemble() ([]bpf.RawInstruction, error) {
	raw, err := bpf.Assemble(p.code)
	if err != nil {
		return nil, fmt.Errorf("assembling packet filter: %w", err)
	}
	return raw, nil
}

func (p *program) load(off uint32, size int) {
	p.code = append(p.code, bpf.LoadAbsolute{Off: off, Size: size})
}

func (p *program) ret(n uint32) { p.code = append(p.code, bpf.RetConstant{Val: n}) }

// require drops the packet unless the test holds.
func (p *program) require(test bpf.JumpTest, val uint32) {
	p.code = append(p.code, bpf.JumpIf{Cond: test, Val: val, SkipTrue: 1}, bpf.RetConstant{Val: 0})
}

// acceptIf takes the packet if the test holds.
func (p *program) acceptIf(test bpf.JumpTest, val uint32) {
	p.code = append(p.code, bpf.JumpIf{Cond: test, Val: val, SkipFalse: 1}, bpf.RetConstant{Val: accept})
}

func (p *program) size() {
	p.code = append(p.code, bpf.LoadExtension{Num: bpf.ExtLen})
	p.require(bpf.JumpLessOrEqual, udpHeader+maxMessage)
}

// match drops the packet unless it has name at off, letters in either case.
func (p *program) match(off uint32, name []byte) {
	for len(name) > 0 {
		size, mask, want := word(name)
		p.load(off, size)
		p.code = append(p.code, bpf.ALUOpConstant{Op: bpf.ALUOpOr, Val: mask})
		p.require(bpf.JumpEqual, want)
		off, name = off+uint32(size), name[size:]
	}
}

// alternative takes the packet if it has name at off, letters in either case.
func (p *program) alternative(off uint32, name []byte) {
	const step = 3 // instructions a word
	words := 0
	for rest := name; len(rest) > 0; words++ {
		size, _, _ := word(rest)
		rest = rest[size:]
	}
	for ; len(name) > 0; words-- {
		size, mask, want := word(name)
		p.load(off, size)
		p.code = append(p.code,
			bpf.ALUOpConstant{Op: bpf.ALUOpOr, Val: mask},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: want, SkipFalse: uint8(step*(words-1) + 1)})
		off, name = off+uint32(size), name[size:]
	}
	p.ret(accept)
}

// word takes the next 4, 2 or 1 bytes of name, as large as the rest allows; mask
// has the bit that distinguishes capital letters.
func word(name []byte) (size int, mask, want uint32) {
	size = 4
	for size > len(name) {
		size /= 2
	}
	w, m := make([]byte, 4), make([]byte, 4)
	for i, c := range name[:size] {
		if c >= 'a' && c <= 'z' {
			m[4-size+i] = 0x20
		}
		w[4-size+i] = c
	}
	return size, binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(w)
}
