// Package inside is the part of the virtual laboratory that runs in the machine:
// radios simulated by mac80211_hwsim, each in a namespace of its own, and tests of
// whole agents on them. Package vm boots the machine and starts the tests, which
// skip anywhere else.
//
// A Radio owns its namespace; Close ends it and the kernel takes the radio back.
package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/lab/netns"
	"globalnet/mesh"
	"globalnet/mesh/kernel"
)

// frequency is where all radios are, in MHz.
const frequency = 2412

// Radio is a simulated 802.11 radio in a namespace of its own.
type Radio struct {
	*netns.Namespace
	Ifname string
	phy    string
	index  int
}

// OpenRadios takes the first n radios of the machine and puts each into a new
// namespace. It waits for radios that are on the way back from an earlier one.
func OpenRadios(n int) ([]*Radio, error) {
	var phys []string
	if !until(3*time.Minute, func() bool {
		phys, _ = filepath.Glob("/sys/class/ieee80211/phy*")
		return len(phys) >= n
	}) {
		return nil, fmt.Errorf("%d radios wanted, the machine has %d (mac80211_hwsim radios=…)", n, len(phys))
	}
	var radios []*Radio
	for i, phy := range phys[:n] {
		r, err := openRadio(phy, fmt.Sprintf("n%d", i))
		if err != nil {
			CloseRadios(radios)
			return nil, fmt.Errorf("radio %s: %w", filepath.Base(phy), err)
		}
		radios = append(radios, r)
	}
	return radios, nil
}

// CloseRadios closes radios.
func CloseRadios(radios []*Radio) {
	for _, r := range radios {
		_ = r.Close()
	}
}

func openRadio(phy, name string) (*Radio, error) {
	nets, err := filepath.Glob(phy + "/device/net/*")
	if err != nil || len(nets) != 1 {
		return nil, errors.New("not one interface")
	}
	index, err := readNumber(phy + "/index")
	if err != nil {
		return nil, err
	}
	ns, err := netns.New(netns.Config{Name: name})
	if err != nil {
		return nil, err
	}
	// What agents leave in flight would keep the namespace, and the radio, for minutes.
	if err := ns.Sysctl("net/ipv4/tcp_orphan_retries", "1"); err != nil {
		ns.Close()
		return nil, err
	}
	r := &Radio{Namespace: ns, Ifname: filepath.Base(nets[0]), phy: filepath.Base(phy), index: index}
	err = wireless(unix.NL80211_CMD_SET_WIPHY_NETNS, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.NL80211_ATTR_WIPHY, uint32(index))
		ae.Uint32(unix.NL80211_ATTR_NETNS_FD, uint32(ns.Fd()))
	})
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("moving it: %w", err)
	}
	if err := r.SetGroups(1); err != nil { // it may have been in others, and so deaf to the next
		ns.Close()
		return nil, err
	}
	return r, nil
}

// Close takes the radio off the air and ends its namespace. The kernel may take its time over that.
func (r *Radio) Close() error {
	if h, err := r.Netlink(); err == nil {
		if l, err := h.LinkByName(r.Ifname); err == nil {
			_ = h.LinkSetDown(l)
		}
		h.Close()
	}
	return r.Namespace.Close()
}

// Join puts the radio on the air and brings it up, as `globalnet radio join` does.
func (r *Radio) Join(mode kernel.RadioMode) error { return r.JoinAt(mode, frequency) }

// JoinAt is Join on another frequency.
func (r *Radio) JoinAt(mode kernel.RadioMode, frequency int) error {
	return r.Do(func() error {
		return kernel.JoinRadio(context.Background(), kernel.Radio{Ifname: r.Ifname, Mode: mode, Frequency: frequency})
	})
}

// Remove removes the radio's interface, as OpenWrt does at `wifi down`.
func (r *Radio) Remove() error {
	return r.Do(func() error {
		i, err := net.InterfaceByName(r.Ifname)
		if err != nil {
			return err
		}
		return wireless(unix.NL80211_CMD_DEL_INTERFACE, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(unix.NL80211_ATTR_IFINDEX, uint32(i.Index))
		})
	})
}

// Add makes the interface again, with a new number and the old name.
func (r *Radio) Add() error {
	return r.Do(func() error {
		return wireless(unix.NL80211_CMD_NEW_INTERFACE, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(unix.NL80211_ATTR_WIPHY, uint32(r.index))
			ae.String(unix.NL80211_ATTR_IFNAME, r.Ifname)
			ae.Uint32(unix.NL80211_ATTR_IFTYPE, unix.NL80211_IFTYPE_STATION)
		})
	})
}

// LinkLocal is the radio's own address, once it may be used.
func (r *Radio) LinkLocal() (netip.Addr, bool) {
	h, err := r.Netlink()
	if err != nil {
		return netip.Addr{}, false
	}
	defer h.Close()
	l, err := h.LinkByName(r.Ifname)
	if err != nil {
		return netip.Addr{}, false
	}
	addrs, err := h.AddrList(l, unix.AF_INET6)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		addr, _ := netip.AddrFromSlice(a.IP)
		if addr.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			return addr.WithZone(r.Ifname), true
		}
	}
	return netip.Addr{}, false
}

// Links counts the WireGuard interfaces of an agent in the radio's namespace.
func (r *Radio) Links() (n int) {
	h, err := r.Netlink()
	if err != nil {
		return 0
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return 0
	}
	for _, l := range links {
		if l.Type() == "wireguard" && strings.HasPrefix(l.Attrs().Name, mesh.LinkPrefix) {
			n++
		}
	}
	return n
}

// SetGroups says which radios hear each other: those whose masks share a bit. It
// acts at once, also on radios that have moved to a namespace.
func (r *Radio) SetGroups(mask uint64) error {
	return os.WriteFile(r.groups(), []byte(strconv.FormatUint(mask, 10)), 0)
}

// groups is the file with the mask.
func (r *Radio) groups() string { return "/sys/kernel/debug/ieee80211/" + r.phy + "/hwsim/group" }

// Chain lets each radio hear only the one before and the one after it.
func Chain(radios []*Radio) error {
	for i, r := range radios {
		var mask uint64
		if i > 0 {
			mask |= 1 << (i - 1)
		}
		if i < len(radios)-1 {
			mask |= 1 << i
		}
		if err := r.SetGroups(mask); err != nil {
			return err
		}
	}
	return nil
}

// wireless sends one nl80211 request.
func wireless(command uint8, attributes func(*netlink.AttributeEncoder)) error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := c.GetFamily(unix.NL80211_GENL_NAME)
	if err != nil {
		return err
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.NativeEndian
	attributes(ae)
	data, err := ae.Encode()
	if err != nil {
		return err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command}, Data: data}
	_, err = c.Execute(m, f.ID, netlink.Request|netlink.Acknowledge)
	return err
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// until polls until a condition holds, and tells whether it did in time.
func until(patience time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
