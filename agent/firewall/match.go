package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"globalnet/agent/firewall/nft"
)

// part is a piece of a rule: matches and statements in a row.
type part []nft.Expression

func joined(parts []part) []nft.Expression { return slices.Concat(parts...) }

// from matches the interface that a packet came in by; begins, one whose name begins so.
func from(ifname string) part {
	return part{nft.Meta(unix.NFT_META_IIFNAME), nft.Equal(name(ifname))}
}

func fromBeginning(start string) part {
	return part{nft.Meta(unix.NFT_META_IIFNAME), nft.Equal([]byte(start))}
}

func to(ifname string) part {
	return part{nft.Meta(unix.NFT_META_OIFNAME), nft.Equal(name(ifname))}
}

func toBeginning(start string) part {
	return part{nft.Meta(unix.NFT_META_OIFNAME), nft.Equal([]byte(start))}
}

func name(ifname string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, ifname)
	return b
}

func transport(proto byte) part {
	return part{nft.Meta(unix.NFT_META_L4PROTO), nft.Equal([]byte{proto})}
}

// port matches the destination port of TCP or UDP.
func port(proto byte, port uint16) part {
	return append(transport(proto), nft.Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
		nft.Equal(binary.BigEndian.AppendUint16(nil, port)))
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
	return append(part{nft.Meta(unix.NFT_META_NFPROTO), nft.Equal([]byte{family})},
		masked(p, unix.NFT_PAYLOAD_NETWORK_HEADER, offset, inside)...)
}

// masked matches an address of p at an offset of a packet.
func masked(p netip.Prefix, base, offset uint32, inside bool) part {
	size := p.Addr().BitLen() / 8
	mask, zero := make([]byte, size), make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	cmp := nft.Equal(p.Masked().Addr().AsSlice())
	if !inside {
		cmp = nft.Differs(p.Masked().Addr().AsSlice())
	}
	return part{
		nft.Payload(base, offset, uint32(size)),
		nft.Bitwise(mask, zero),
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
	match := append(transport(proto), nft.Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1), nft.Equal([]byte{kind}))
	return append(match, masked(p, unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, true)...)
}

// strays matches what comes from an address to which answers leave by another interface.
func strays() part {
	return part{nft.FIB(unix.NFTA_FIB_F_SADDR|unix.NFTA_FIB_F_IIF, unix.NFT_FIB_RESULT_OIF), nft.Equal(make([]byte, 4))}
}

// client matches what a client sends.
func client(c Client) part {
	if c.Addr.IsValid() {
		return came(netip.PrefixFrom(c.Addr, c.Addr.BitLen()))
	}
	return part{
		nft.Meta(unix.NFT_META_IIFTYPE), nft.Equal(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)),
		nft.Payload(unix.NFT_PAYLOAD_LL_HEADER, 6, 6), nft.Equal(c.MAC[:]),
	}
}

// route matches the kind of route to the destination: unix.RTN_LOCAL and the like.
func route(kind uint32) part {
	return part{nft.FIB(unix.NFTA_FIB_F_DADDR, unix.NFT_FIB_RESULT_ADDRTYPE), nft.Equal(word(kind))}
}

const dstNAT = 1 << 5 // IPS_DST_NAT of the kernel

// direct matches packets whose destination was not changed.
func direct() part {
	return part{nft.CT(unix.NFT_CT_STATUS), bits(dstNAT), nft.Equal(word(0))}
}

// States of a flow, NF_CT_STATE_BIT of the kernel.
const (
	stateInvalid = 1
	stateNew     = 8
)

// fresh matches what belongs to no known flow.
func fresh() part {
	return part{nft.CT(unix.NFT_CT_STATE), bits(stateNew | stateInvalid),
		nft.Differs(word(0))}
}

func bits(mask uint32) nft.Expression { return nft.Bitwise(word(mask), word(0)) }

// word is a number as the kernel itself keeps it.
func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// mark sets our bits of the mark, and leaves those of others.
func mark(value uint32) part {
	return part{
		nft.Meta(unix.NFT_META_MARK),
		nft.Bitwise(word(^uint32(markMask)), word(value)),
		nft.SetMeta(unix.NFT_META_MARK),
	}
}

func count(reason string) part { return part{nft.Count(reason)} }

func goTo(chain string) part { return part{nft.GoTo(chain)} }

var (
	accept = part{nft.Accept()}
	drop   = part{nft.Drop()}

	// rejected tells the sender at once, so that it tries something else.
	rejected = part{nft.Reject(unix.NFT_REJECT_ICMPX_UNREACH, unix.NFT_REJECT_ICMPX_PORT_UNREACH)}
	resetTCP = part{nft.Reject(unix.NFT_REJECT_TCP_RST, 0)}
)

func redirect(port uint16) part {
	return part{nft.Load(binary.BigEndian.AppendUint16(nil, port)), nft.Redirect()}
}

// tproxy hands a datagram to the socket at port as it is.
func tproxy(port uint16) part {
	return append(part{nft.Load(binary.BigEndian.AppendUint16(nil, port)), nft.TProxy()}, mark(markProxy)...)
}

func sourceNAT(addr netip.Addr) part {
	return part{nft.Load(addr.AsSlice()), nft.SourceNAT(unix.NFPROTO_IPV6)}
}
