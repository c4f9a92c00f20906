package kernel

import (
	"context"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
)

// Interfaces implements mesh.Kernel.
func (k *Kernel) Interfaces(ctx context.Context) ([]mesh.Interface, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	links, err := rtnl.Links()
	if err != nil {
		return nil, explain(err)
	}
	addrs, err := rtnl.Addresses(0)
	if err != nil {
		return nil, explain(err)
	}
	usable := make(map[int][]netip.Prefix)
	for _, a := range addrs {
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0 {
			usable[a.Index] = append(usable[a.Index], a.Prefix)
		}
	}
	var out []mesh.Interface
	for _, l := range links {
		if strings.HasPrefix(l.Name, mesh.LinkPrefix) {
			continue
		}
		out = append(out, mesh.Interface{
			Index:     l.Index,
			Name:      l.Name,
			Up:        l.Flags&usableFlags == usableFlags,
			Multicast: l.Flags&unix.IFF_MULTICAST != 0,
			Loopback:  l.Flags&unix.IFF_LOOPBACK != 0,
			Radio:     l.Alias == RadioAlias || isRadio(l.Name, l.Index),
			MTU:       l.MTU,
			Addresses: usable[l.Index],
		})
	}
	return out, nil
}

// usableFlags are those of an interface that carries packets. The kernel learns of a missing
// carrier late by RUNNING, of a Wi-Fi that has not joined late by LOWER_UP.
const usableFlags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP

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
