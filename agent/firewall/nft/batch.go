// Package nft writes tables of family inet by nftables' netlink protocol, and reads chains
// and counters, as far as the firewall needs it. It keeps no state; a Batch has one owner.
// Errors wrap the kernel's number (unix.ENOENT …).
package nft

import (
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long the kernel may take for a batch.
const patience = 10 * time.Second

// Batch is a list of changes that the kernel makes all, or none.
type Batch struct{ messages []netlink.Message }

// message is one of nftables, struct nfgenmsg and attributes:
//
//	family u8, version u8, resource u16
func message(typ, family uint8, flags netlink.HeaderFlags, attributes ...[]byte) netlink.Message {
	data := []byte{family, unix.NFNETLINK_V0, 0, 0}
	for _, a := range attributes {
		data = append(data, a...)
	}
	return netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   data,
	}
}

func (b *Batch) add(typ uint8, flags netlink.HeaderFlags, attributes ...[]byte) {
	b.messages = append(b.messages, message(typ, unix.NFPROTO_INET, flags, attributes...))
}

// AddTable makes a table unless there is one.
func (b *Batch) AddTable(name string) {
	b.add(unix.NFT_MSG_NEWTABLE, netlink.Create, text(unix.NFTA_TABLE_NAME, name), number(unix.NFTA_TABLE_FLAGS, 0))
}

// DeleteTable removes a table with all that is in it.
func (b *Batch) DeleteTable(name string) {
	b.add(unix.NFT_MSG_DELTABLE, 0, text(unix.NFTA_TABLE_NAME, name))
}

// AddCounter makes a counter that rules of the table count with.
func (b *Batch) AddCounter(table, name string) {
	b.add(unix.NFT_MSG_NEWOBJ, netlink.Create,
		text(unix.NFTA_OBJ_TABLE, table), text(unix.NFTA_OBJ_NAME, name), number(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER),
		nested(unix.NFTA_OBJ_DATA, attribute(unix.NFTA_COUNTER_BYTES, make([]byte, 8)), attribute(unix.NFTA_COUNTER_PACKETS, make([]byte, 8))))
}

// AddChain makes a chain that rules lead to.
func (b *Batch) AddChain(table, name string) {
	b.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, name))
}

// Hook is where packets come into a chain: unix.NF_INET_FORWARD and the like.
type Hook struct {
	Number   uint32
	Kind     string // filter or nat
	Priority int32  // lower ones see packets first
}

// AddBase makes a chain of a hook, that accepts what no rule judges.
func (b *Batch) AddBase(table, name string, h Hook) {
	b.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, name),
		nested(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, h.Number), number(unix.NFTA_HOOK_PRIORITY, uint32(h.Priority))),
		number(unix.NFTA_CHAIN_POLICY, accept), text(unix.NFTA_CHAIN_TYPE, h.Kind))
}

// AddRule adds a rule at the end of a chain.
func (b *Batch) AddRule(table, chain string, expressions ...Expression) {
	list := make([][]byte, len(expressions))
	for i, e := range expressions {
		list[i] = nested(unix.NFTA_LIST_ELEM, e)
	}
	b.add(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, text(unix.NFTA_RULE_TABLE, table), text(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, list...))
}

// Commit makes the changes. The error is that of the first that is not possible.
func (b *Batch) Commit() error {
	if len(b.messages) == 0 {
		return nil
	}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	size := 0
	for _, m := range b.messages {
		size += unix.NLMSG_HDRLEN + len(m.Data)
	}
	// Without the right to more it keeps what it has, enough for some 400 rules.
	_ = c.SetWriteBuffer(2 * size)
	all := append([]netlink.Message{limit(unix.NFNL_MSG_BATCH_BEGIN)}, b.messages...)
	// Errors are told unasked for; that of the last comes after all others'.
	all[len(all)-1].Header.Flags |= netlink.Acknowledge
	if _, err := c.SendMessages(append(all, limit(unix.NFNL_MSG_BATCH_END))); err != nil {
		return err
	}
	_, err = c.Receive()
	return err
}

// limit begins or ends a batch.
func limit(typ netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: typ, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}
