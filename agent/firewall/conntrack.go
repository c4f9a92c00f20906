package firewall

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// From linux/netfilter/nfnetlink_conntrack.h.
const (
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaTupleOrig = 1 // how the flow's first packet was, before any translation
	ctaTupleIP   = 1
)

// headerLength is that of struct nfgenmsg: family u8, version u8, resource u16.
const headerLength = 4

// forget removes the flows of a family from the kernel's table of connections.
func forget(family uint8, flows flowsOf) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{family, 0, 0, 0},
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range all {
		if src, dst, ok := parseFlow(m.Data); !ok || !flows.match(src, dst) {
			continue
		}
		_, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: ctDelete, Flags: netlink.Request | netlink.Acknowledge},
			Data:   m.Data, // with all that tells the flow apart
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// parseFlow reads between whom a flow was begun.
func parseFlow(b []byte) (src, dst netip.Addr, ok bool) {
	if len(b) < headerLength {
		return src, dst, false
	}
	ad, err := netlink.NewAttributeDecoder(b[headerLength:])
	if err != nil {
		return src, dst, false
	}
	addresses := func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			a, _ := netip.AddrFromSlice(ad.Bytes())
			switch ad.Type() {
			case 1, 3: // CTA_IP_V4_SRC, CTA_IP_V6_SRC
				src = a
			case 2, 4: // CTA_IP_V4_DST, CTA_IP_V6_DST
				dst = a
			}
		}
		return nil
	}
	for ad.Next() {
		if ad.Type() != ctaTupleOrig {
			continue
		}
		ad.Nested(func(tuple *netlink.AttributeDecoder) error {
			for tuple.Next() {
				if tuple.Type() == ctaTupleIP {
					tuple.Nested(addresses)
				}
			}
			return nil
		})
	}
	return src, dst, ad.Err() == nil && src.IsValid() && dst.IsValid()
}
