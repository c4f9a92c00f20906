// Package conntrack removes flows from the kernel's table of connections: by the netlink
// protocol of nf_conntrack_netlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h), and
// where that is missing, as OpenWrt has it by default, through /proc. It keeps no state: each call
// opens what it needs, and works in the current network namespace.
package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// together is how many flows are removed by one call of the kernel: some 12 KiB.
	together = 128
	// header is the length of struct nfgenmsg.
	header = 4
)

// Remove removes the flows of a family, unix.AF_INET or unix.AF_INET6, that doomed says yes
// to. Src is the address of who began a flow, dst of whom it was for, before any translation.
// However large the table is, little of it is in memory at a time. What ends or begins
// meanwhile may be missed. Where there is /proc alone, all flows of a src go that has one to go.
func Remove(family int, doomed func(src, dst netip.Addr) bool) error {
	err := byNetlink(family, doomed)
	if !errors.Is(err, unix.EINVAL) { // a part of nfnetlink that is not there
		return err
	}
	if err := byFile(file, family, doomed); err != nil {
		return fmt.Errorf("the kernel cannot be told to forget connections (kmod-nf-conntrack-netlink): %w", err)
	}
	return nil
}

func byNetlink(family int, doomed func(src, dst netip.Addr) bool) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	var pending []netlink.Message
	// The kernel does what it is told before sending returns. That a flow has ended by then it
	// says unasked for, to nobody.
	send := func() {
		if err == nil && len(pending) > 0 {
			_, err = c.SendMessages(pending)
		}
		pending = pending[:0]
	}
	r := nl.NewNetlinkRequest(message(nl.IPCTNL_MSG_CT_GET), unix.NLM_F_DUMP)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: nl.NFNETLINK_V0})
	errList := r.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
		f, ok := parse(m)
		if !ok || !doomed(f.src, f.dst) {
			return true
		}
		pending = append(pending, netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(message(nl.IPCTNL_MSG_CT_DELETE)), Flags: netlink.Request},
			Data:   f.handle,
		})
		if len(pending) == together {
			send()
		}
		return err == nil
	})
	send()
	if errors.Is(errList, nl.ErrDumpInterrupted) {
		errList = nil // it has changed: it always does
	}
	return errors.Join(err, errList)
}

func message(typ int) int { return unix.NFNL_SUBSYS_CTNETLINK<<8 | typ }

// flow is what is known of a flow.
type flow struct {
	src, dst netip.Addr
	handle   []byte // the message that names it: nfgenmsg and attributes
}

// parse reads a flow of the table. What is malformed, or newer than we are, is none.
func parse(m []byte) (f flow, ok bool) {
	if len(m) < header {
		return f, false
	}
	f.handle = append(make([]byte, 0, 96), m[:header]...)
	for typ, whole := range attributes(m[header:]) {
		switch typ {
		case nl.CTA_TUPLE_ORIG:
			f.src, f.dst = addresses(whole[unix.SizeofNlAttr:])
			f.handle = append(f.handle, whole...)
		case nl.CTA_ZONE, nl.CTA_ID: // the second, lest another one with the same addresses and ports is meant
			f.handle = append(f.handle, whole...)
		}
	}
	return f, f.src.IsValid() && f.dst.IsValid()
}

// addresses reads those of a tuple.
func addresses(tuple []byte) (src, dst netip.Addr) {
	for typ, whole := range attributes(tuple) {
		if typ != nl.CTA_TUPLE_IP {
			continue
		}
		for typ, whole := range attributes(whole[unix.SizeofNlAttr:]) {
			addr, _ := netip.AddrFromSlice(whole[unix.SizeofNlAttr:])
			switch typ {
			case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
				src = addr
			case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
				dst = addr
			}
		}
	}
	return src, dst
}

// attributes are those of a message, by type, each with its head and what pads it.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofNlAttr || n > len(b) {
				return
			}
			n = min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b))
			if typ := binary.NativeEndian.Uint16(b[2:]); !yield(typ&nl.NLA_TYPE_MASK, b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}
