package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Chain is what is told of a chain.
type Chain struct {
	Table, Name string
	Base        bool // it has a hook:
	Hook        uint32
	Drops       bool // what no rule accepts
}

// header is the length of struct nfgenmsg.
const header = 4

var errMalformed = errors.New("malformed answer of nftables")

// list asks for all objects of a kind and passes each one's attributes to visit.
func list(typ, family uint8, visit func(*netlink.AttributeDecoder), attributes ...[]byte) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	msgs, err := c.Execute(message(typ, family, netlink.Dump, attributes...))
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if err := decode(m.Data, visit); err != nil {
			return err
		}
	}
	return nil
}

func decode(b []byte, visit func(*netlink.AttributeDecoder)) error {
	if len(b) < header {
		return errMalformed
	}
	ad, err := netlink.NewAttributeDecoder(b[header:])
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	ad.ByteOrder = binary.BigEndian
	visit(ad)
	if err := ad.Err(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// Chains lists the chains of all tables, of every family.
func Chains() (chains []Chain, err error) {
	err = list(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC, func(ad *netlink.AttributeDecoder) {
		var c Chain
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_CHAIN_TABLE:
				c.Table = ad.String()
			case unix.NFTA_CHAIN_NAME:
				c.Name = ad.String()
			case unix.NFTA_CHAIN_POLICY:
				c.Drops = ad.Uint32() == drop
			case unix.NFTA_CHAIN_HOOK:
				c.Base = true
				ad.Nested(func(hook *netlink.AttributeDecoder) error {
					for hook.Next() {
						if hook.Type() == unix.NFTA_HOOK_HOOKNUM {
							c.Hook = hook.Uint32()
						}
					}
					return nil
				})
			}
		}
		chains = append(chains, c)
	})
	return chains, err
}

// HasTable tells whether there is a table.
func HasTable(name string) (has bool, err error) {
	err = list(unix.NFT_MSG_GETTABLE, unix.NFPROTO_INET, func(ad *netlink.AttributeDecoder) {
		for ad.Next() {
			has = has || ad.Type() == unix.NFTA_TABLE_NAME && ad.String() == name
		}
	})
	return has, err
}

// HasRules tells whether there is a chain that has rules.
func HasRules(table, chain string) (has bool, err error) {
	err = list(unix.NFT_MSG_GETRULE, unix.NFPROTO_INET, func(*netlink.AttributeDecoder) { has = true },
		text(unix.NFTA_RULE_TABLE, table), text(unix.NFTA_RULE_CHAIN, chain))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return has, err
}

// Counters reads how many packets the counters of a table have seen, by name.
func Counters(table string) (map[string]uint64, error) {
	counters := make(map[string]uint64)
	err := list(unix.NFT_MSG_GETOBJ, unix.NFPROTO_INET, func(ad *netlink.AttributeDecoder) {
		var name string
		var typ uint32
		var packets uint64
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_OBJ_NAME:
				name = ad.String()
			case unix.NFTA_OBJ_TYPE:
				typ = ad.Uint32()
			case unix.NFTA_OBJ_DATA:
				ad.Nested(func(data *netlink.AttributeDecoder) error {
					for data.Next() {
						if b := data.Bytes(); data.Type() == unix.NFTA_COUNTER_PACKETS && len(b) == 8 {
							packets = binary.BigEndian.Uint64(b)
						}
					}
					return nil
				})
			}
		}
		if typ == unix.NFT_OBJECT_COUNTER {
			counters[name] = packets
		}
	}, text(unix.NFTA_OBJ_TABLE, table))
	return counters, err
}
