package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"globalnet/internal/identity"
)

// Web is the page for the people of the LAN.
type Web struct {
	Enabled bool
	Name    string           // of the router, as the page shows it; empty: the host's
	Listen  []netip.AddrPort // beside what the LAN's proxy takes
	Public  bool             // guests may see the status
	Metrics bool             // guests may read /metrics
}

const maxWebListen = 8

func defaultWeb() Web { return Web{Enabled: true, Public: true} }

func webOptions(w *Web) []option {
	return []option{
		{name: "enabled", live: true, set: setBool(&w.Enabled), shown: flag(w.Enabled)},
		{name: "name", live: true, set: w.setName, shown: one(w.Name)},
		{name: "listen", list: true, live: true, set: w.addListen, shown: texts(w.Listen)},
		{name: "public_status", live: true, set: setBool(&w.Public), shown: flag(w.Public)},
		{name: "metrics", live: true, set: setBool(&w.Metrics), shown: flag(w.Metrics)},
	}
}

func (w *Web) setName(_ *reader, v string) error {
	if len(v) > 64 || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%q: want at most 64 bytes without control characters", v)
	}
	w.Name = v
	return nil
}

// addListen refuses what cannot be of a LAN; that an address is, the agent finds out.
func (w *Web) addListen(_ *reader, v string) error {
	listen, err := netip.ParseAddrPort(v)
	addr := listen.Addr()
	switch {
	case err != nil || listen.Port() == 0:
		return fmt.Errorf("%q: want an address and a port, such as 127.0.0.1:8080 or 192.168.1.1:80", v)
	case identity.MeshPrefix.Contains(addr):
		return fmt.Errorf("%q is an address of the mesh: the page is for the LAN only", v)
	case addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" || addr.Is4In6():
		return fmt.Errorf("%q: want one address of the LAN, or of loopback", v)
	case slices.Contains(w.Listen, listen):
		return fmt.Errorf("%q is given twice", v)
	case len(w.Listen) == maxWebListen:
		return fmt.Errorf("more than %d addresses", maxWebListen)
	}
	w.Listen = append(w.Listen, listen)
	return nil
}
