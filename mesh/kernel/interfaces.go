package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// Interfaces implements mesh.Kernel.
func (k *Kernel) Interfaces(ctx context.Context) ([]mesh.Interface, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	links, err := listLinks()
	if err != nil {
		return nil, explain(err)
	}
	var addrs []netlink.Addr
	err = retryDump(func() (err error) {
		addrs, err = netlink.AddrList(nil, netlink.FAMILY_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", explain(err))
	}
	usable := make(map[int][]netip.Prefix)
	for _, a := range addrs {
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0 {
			usable[a.LinkIndex] = append(usable[a.LinkIndex], prefixOf(a.IPNet))
		}
	}
	var out []mesh.Interface
	for _, l := range links {
		a := l.Attrs()
		if strings.HasPrefix(a.Name, mesh.LinkPrefix) {
			continue
		}
		out = append(out, mesh.Interface{
			Index: a.Index,
			Name:  a.Name,
			// The kernel learns of a missing carrier late by RUNNING, of a Wi-Fi that has
			// not joined late by LOWER_UP.
			Up:        a.Flags&net.FlagUp != 0 && a.Flags&net.FlagRunning != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0,
			Multicast: a.Flags&net.FlagMulticast != 0,
			Loopback:  a.Flags&net.FlagLoopback != 0,
			Radio:     a.Alias == RadioAlias || isRadio(a.Name, a.Index),
			MTU:       a.MTU,
			Addresses: usable[a.Index],
		})
	}
	return out, nil
}

// sysfs shows the interfaces of the namespace it was mounted in.
const sysfs = "/sys/class/net/"

// isRadio tells whether an interface is 802.11: by phy80211, or by the wireless
// directory of drivers that have no cfg80211.
func isRadio(ifname string, index int) bool {
	for _, entry := range []string{"phy80211", "wireless"} {
		if _, err := os.Stat(sysfs + ifname + "/" + entry); err == nil {
			// It may be one of another namespace that has the same name.
			b, err := os.ReadFile(sysfs + ifname + "/ifindex")
			return err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(index)
		}
	}
	return false
}
