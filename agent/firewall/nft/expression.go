package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Expression is a step of a rule. It loads something into the one register that is used
// here, changes or compares what is there, or says what becomes of the packet. A comparison
// that fails ends the rule.
type Expression []byte

// attribute is one of netlink: length u16, type u16, data, and zeros to a multiple of four.
func attribute(typ uint16, data ...[]byte) []byte {
	b := make([]byte, unix.SizeofNlAttr)
	for _, d := range data {
		b = append(b, d...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	return append(b, make([]byte, -len(b)&3)...)
}

func nested(typ uint16, attributes ...[]byte) []byte {
	return attribute(unix.NLA_F_NESTED|typ, attributes...)
}

// number is in network order, as all of nftables'.
func number(typ uint16, n uint32) []byte {
	return attribute(typ, binary.BigEndian.AppendUint32(nil, n))
}

func text(typ uint16, s string) []byte { return attribute(typ, append([]byte(s), 0)) }

func expression(name string, attributes ...[]byte) Expression {
	return append(text(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, attributes...)...)
}

func value(typ uint16, b []byte) []byte { return nested(typ, attribute(unix.NFTA_DATA_VALUE, b)) }

const register = unix.NFT_REG_1

// Meta loads what the kernel knows beside the packet: unix.NFT_META_IIFNAME and the like.
func Meta(key uint32) Expression {
	return expression("meta", number(unix.NFTA_META_KEY, key), number(unix.NFTA_META_DREG, register))
}

// SetMeta stores it.
func SetMeta(key uint32) Expression {
	return expression("meta", number(unix.NFTA_META_KEY, key), number(unix.NFTA_META_SREG, register))
}

// Payload loads bytes of the packet; base is unix.NFT_PAYLOAD_NETWORK_HEADER and the like.
func Payload(base, offset, length uint32) Expression {
	return expression("payload", number(unix.NFTA_PAYLOAD_DREG, register), number(unix.NFTA_PAYLOAD_BASE, base),
		number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, length))
}

// CT loads what is known of the packet's flow: unix.NFT_CT_STATE and the like.
func CT(key uint32) Expression {
	return expression("ct", number(unix.NFTA_CT_KEY, key), number(unix.NFTA_CT_DREG, register))
}

// FIB loads a result (unix.NFT_FIB_RESULT_OIF …) of looking up a route by what flags say
// (unix.NFTA_FIB_F_DADDR …).
func FIB(flags, result uint32) Expression {
	return expression("fib", number(unix.NFTA_FIB_DREG, register), number(unix.NFTA_FIB_FLAGS, flags), number(unix.NFTA_FIB_RESULT, result))
}

// Load loads a constant.
func Load(b []byte) Expression {
	return expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, register), value(unix.NFTA_IMMEDIATE_DATA, b))
}

// Equal goes on if the register is b, or begins so.
func Equal(b []byte) Expression { return compare(unix.NFT_CMP_EQ, b) }

// Differs goes on if it is not.
func Differs(b []byte) Expression { return compare(unix.NFT_CMP_NEQ, b) }

func compare(op uint32, b []byte) Expression {
	return expression("cmp", number(unix.NFTA_CMP_SREG, register), number(unix.NFTA_CMP_OP, op), value(unix.NFTA_CMP_DATA, b))
}

// Bitwise makes the register (register & mask) ^ xor.
func Bitwise(mask, xor []byte) Expression {
	return expression("bitwise", number(unix.NFTA_BITWISE_SREG, register), number(unix.NFTA_BITWISE_DREG, register),
		number(unix.NFTA_BITWISE_LEN, uint32(len(mask))), value(unix.NFTA_BITWISE_MASK, mask), value(unix.NFTA_BITWISE_XOR, xor))
}

// Count counts with a counter of the table.
func Count(name string) Expression {
	return expression("objref", number(unix.NFTA_OBJREF_IMM_TYPE, unix.NFT_OBJECT_COUNTER), attribute(unix.NFTA_OBJREF_IMM_NAME, []byte(name)))
}

// Verdicts from linux/netfilter.h.
const (
	drop   = 0 // NF_DROP
	accept = 1 // NF_ACCEPT
)

// Accept lets the packet go on to the next hook.
func Accept() Expression { return verdict(number(unix.NFTA_VERDICT_CODE, accept)) }

// Drop ends the packet.
func Drop() Expression { return verdict(number(unix.NFTA_VERDICT_CODE, drop)) }

// GoTo goes on in another chain, for good.
func GoTo(chain string) Expression {
	code := int32(unix.NFT_GOTO)
	return verdict(number(unix.NFTA_VERDICT_CODE, uint32(code)), text(unix.NFTA_VERDICT_CHAIN, chain))
}

func verdict(attributes ...[]byte) Expression {
	return expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT, attributes...)))
}

// Reject ends the packet and tells its sender: unix.NFT_REJECT_ICMPX_UNREACH and a code, or
// unix.NFT_REJECT_TCP_RST.
func Reject(typ uint32, code byte) Expression {
	return expression("reject", number(unix.NFTA_REJECT_TYPE, typ), attribute(unix.NFTA_REJECT_ICMP_CODE, []byte{code}))
}

// Redirect sends the packet's flow to the port of this machine that was loaded.
func Redirect() Expression {
	return expression("redir", number(unix.NFTA_REDIR_REG_PROTO_MIN, register))
}

// TProxy gives the packet to the socket at the port that was loaded.
func TProxy() Expression {
	const family, port = 1, 3 // NFTA_TPROXY_FAMILY, NFTA_TPROXY_REG_PORT
	return expression("tproxy", number(family, unix.NFPROTO_UNSPEC), number(port, register))
}

// SourceNAT makes the address that was loaded the source of the packet's flow.
func SourceNAT(family uint32) Expression {
	return expression("nat", number(unix.NFTA_NAT_TYPE, unix.NFT_NAT_SNAT), number(unix.NFTA_NAT_FAMILY, family),
		number(unix.NFTA_NAT_REG_ADDR_MIN, register))
}
