package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// part is a piece of a rule: matches and statements in a row.
type part []expr.Any

func joined(parts []part) []expr.Any { return slices.Concat(parts...) }

func equal(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }

func differs(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: b} }

// from matches the interface that a packet came in by; begins, one whose name begins so.
func from(ifname string) part {
	return part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(name(ifname))}
}

func fromBeginning(start string) part {
	return part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal([]byte(start))}
}

func to(ifname string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(name(ifname))}
}

func toBeginning(start string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal([]byte(start))}
}

func name(ifname string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, ifname)
	return b
}

func transport(proto byte) part {
	return part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{proto})}
}

// port matches the destination port of TCP or UDP.
func port(proto byte, port uint16) part {
	return append(transport(proto), &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		equal(binary.BigEndian.AppendUint16(nil, port)))
}

// addressed matches packets to a prefix; came, from an address.
func addressed(p netip.Prefix) part { return inPrefix(p, 16, 24, true) }

func came(p netip.Prefix) part { return inPrefix(p, 12, 8, true) }

func cameElsewhere(p netip.Prefix) part { return inPrefix(p, 12, 8, false) }

func inPrefix(p netip.Prefix, offset4, offset6 uint32, inside bool) part {
	family, offset := byte(unix.NFPROTO_IPV4), offset4
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, offset6
	}
	return append(part{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{family})},
		masked(p, expr.PayloadBaseNetworkHeader, offset, inside)...)
}

// masked matches an address of p at an offset of a packet.
func masked(p netip.Prefix, base expr.PayloadBase, offset uint32, inside bool) part {
	size := p.Addr().BitLen() / 8
	mask, zero := make([]byte, size), make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	cmp := equal(p.Masked().Addr().AsSlice())
	if !inside {
		cmp = differs(p.Masked().Addr().AsSlice())
	}
	return part{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(size)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: zero},
		cmp,
	}
}

// about matches ICMP errors, which say that a destination is not reachable, about packets
// to a prefix.
func about(p netip.Prefix) part {
	proto, kind, offset := byte(unix.IPPROTO_ICMP), byte(3), uint32(8+16) // RFC 792
	if p.Addr().Is6() {
		proto, kind, offset = unix.IPPROTO_ICMPV6, 1, 8+24 // RFC 4443
	}
	match := append(transport(proto), &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1}, equal([]byte{kind}))
	return append(match, masked(p, expr.PayloadBaseTransportHeader, offset, true)...)
}

// strays matches what comes from an address to which answers leave by another interface.
func strays() part {
	return part{&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true}, equal(make([]byte, 4))}
}

// client matches what a client sends.
func client(c Client) part {
	if c.Addr.IsValid() {
		return came(netip.PrefixFrom(c.Addr, c.Addr.BitLen()))
	}
	return part{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1}, equal(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6}, equal(c.MAC[:]),
	}
}

// route matches the kind of route to the destination: unix.RTN_LOCAL and the like.
func route(kind uint32) part {
	return part{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, equal(binaryutil.NativeEndian.PutUint32(kind))}
}

const dstNAT = 1 << 5 // IPS_DST_NAT of the kernel

// direct matches packets whose destination was not changed.
func direct() part {
	return part{&expr.Ct{Key: expr.CtKeySTATUS, Register: 1}, bits(dstNAT), equal(binaryutil.NativeEndian.PutUint32(0))}
}

// fresh matches what belongs to no known flow.
func fresh() part {
	return part{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, bits(expr.CtStateBitNEW | expr.CtStateBitINVALID),
		differs(binaryutil.NativeEndian.PutUint32(0))}
}

func bits(mask uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4)}
}

// mark sets our bits of the mark, and leaves those of others.
func mark(value uint32) part {
	return part{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(^uint32(markMask)), Xor: binaryutil.NativeEndian.PutUint32(value)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

func count(reason string) part {
	return part{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: reason}}
}

func verdict(kind expr.VerdictKind) part { return part{&expr.Verdict{Kind: kind}} }

func goTo(chain string) part { return part{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}} }

var (
	accept = verdict(expr.VerdictAccept)
	drop   = verdict(expr.VerdictDrop)

	// rejected tells the sender at once, so that it tries something else.
	rejected = part{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
	resetTCP = part{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
)

func redirect(port uint16) part {
	return part{&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)}, &expr.Redir{RegisterProtoMin: 1}}
}

// tproxy hands a datagram to the socket at port as it is.
func tproxy(port uint16) part {
	return append(part{&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)}, &expr.TProxy{RegPort: 1}}, mark(markProxy)...)
}

func sourceNAT(addr netip.Addr) part {
	return part{&expr.Immediate{Register: 1, Data: addr.AsSlice()}, &expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV6, RegAddrMin: 1}}
}
