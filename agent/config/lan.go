package config

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// LANMode says what clients of a LAN get of the network without any program of theirs.
type LANMode string

// Values of option mode, and of a client.
const (
	LANOff   LANMode = "off"   // nothing
	LANNames LANMode = "names" // names of the zone
	LANAll   LANMode = "all"   // everything goes through circuits; what cannot, nowhere
	LANBlock LANMode = "block" // of a client: nothing passes the router
)

// LAN is a network of clients.
type LAN struct {
	Name       string
	Interfaces []string
	Mode       LANMode
	DNS        bool // take the clients' DNS in mode names too
	UDP        bool // in mode all: datagrams travel; else they are rejected
	BlockDoH   bool
	Mesh       bool  // clients may reach mesh addresses through the router
	ClientRate int64 // bytes a second of one client, each way; 0: no bound
	Clients    []LANClient
}

// LANClient is a client with a mode of its own, by exactly one of its addresses.
type LANClient struct {
	MAC  [6]byte
	Addr netip.Addr
	Mode LANMode
}

// String is a client as the configuration has it.
func (c LANClient) String() string {
	if c.Addr.IsValid() {
		return fmt.Sprintf("%s=%s", c.Addr, c.Mode)
	}
	return fmt.Sprintf("%s=%s", net.HardwareAddr(c.MAC[:]), c.Mode)
}

// Equal reports whether two sections say the same.
func (l LAN) Equal(m LAN) bool {
	return l.Name == m.Name && slices.EqualFunc(lanOptions, lanOptions, func(o, _ option[enabled[LAN]]) bool {
		return slices.Equal(o.get(&enabled[LAN]{section: l}), o.get(&enabled[LAN]{section: m}))
	})
}

const (
	maxLANs       = 16
	maxLANClients = 256
)

var lanOptions = []option[enabled[LAN]]{
	enabledOption[LAN](),
	{name: "mode", set: setLANMode, get: func(c *enabled[LAN]) []string { return one(c.section.mode()) }},
	{name: "interface", list: true, set: addLANInterface, get: func(c *enabled[LAN]) []string { return c.section.Interfaces }},
	{name: "dns", set: setBool(func(c *enabled[LAN]) *bool { return &c.section.DNS }), get: func(c *enabled[LAN]) []string { return flag(c.section.DNS) }},
	{name: "udp", set: setBool(func(c *enabled[LAN]) *bool { return &c.section.UDP }), get: func(c *enabled[LAN]) []string { return flag(c.section.UDP) }},
	{name: "block_doh", set: setBool(func(c *enabled[LAN]) *bool { return &c.section.BlockDoH }), get: func(c *enabled[LAN]) []string { return flag(c.section.BlockDoH) }},
	{name: "mesh", set: setBool(func(c *enabled[LAN]) *bool { return &c.section.Mesh }), get: func(c *enabled[LAN]) []string { return flag(c.section.Mesh) }},
	{name: "client_rate", set: setClientRate, get: func(c *enabled[LAN]) []string { return one(float64(c.section.ClientRate) * 8 / 1e6) }},
	{name: "client", list: true, set: addLANClient, get: func(c *enabled[LAN]) []string { return texts(c.section.Clients) }},
}

func (l *LAN) mode() LANMode {
	if l.Mode == "" {
		return LANNames
	}
	return l.Mode
}

// readLAN reads a section.
func (r *reader) readLAN(c *Config, s Section) {
	readRepeated(r, s, lanOptions, maxLANs, func(e enabled[LAN], name string) {
		l := e.section
		l.Name, l.Mode = name, l.mode()
		for _, other := range c.LANs {
			for _, i := range l.Interfaces {
				if slices.Contains(other.Interfaces, i) {
					r.fail(s.Line, "interface", "%s is in lan '%s' already", i, other.Name)
					return
				}
			}
		}
		if !e.off {
			c.LANs = append(c.LANs, l)
		}
	}, "interface")
}

// compareLAN adds what a reload changes of the LANs.
func (d *Diff) compareLAN(from, to *Config) {
	if !slices.EqualFunc(from.LANs, to.LANs, LAN.Equal) {
		d.Live = append(d.Live, "lan")
	}
}

// lanFile shows the sections.
func (c *Config) lanFile() (list []Section) {
	for _, l := range c.LANs {
		list = append(list, shown("lan", l.Name, lanOptions, &enabled[LAN]{section: l}))
	}
	return list
}

func parseLANMode(v string, more ...LANMode) (LANMode, error) {
	known := append([]LANMode{LANOff, LANNames, LANAll}, more...)
	if m := LANMode(v); slices.Contains(known, m) {
		return m, nil
	}
	return "", fmt.Errorf("%q: want one of %v", v, known)
}

func setLANMode(_ *reader, c *enabled[LAN], v string) (err error) {
	c.section.Mode, err = parseLANMode(v)
	return err
}

// maxInterfaceName is what the kernel takes, less the final zero.
const maxInterfaceName = 15

func addLANInterface(_ *reader, c *enabled[LAN], v string) error {
	switch ours, _ := path.Match("gn-*", v); {
	case v == "" || len(v) > maxInterfaceName || strings.ContainsAny(v, "/*?[ \t\""):
		return fmt.Errorf("%q is no name of an interface, such as br-lan", v)
	case ours || v == "lo":
		return fmt.Errorf("%q is no LAN", v)
	case slices.Contains(c.section.Interfaces, v):
		return fmt.Errorf("%q is given twice", v)
	case len(c.section.Interfaces) == maxLANs:
		return fmt.Errorf("more than %d interfaces", maxLANs)
	}
	c.section.Interfaces = append(c.section.Interfaces, v)
	return nil
}

func setClientRate(_ *reader, c *enabled[LAN], v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n == 0 || n >= 0.01 && n <= 1e6) {
		return fmt.Errorf("%q: want a number of Mbit/s from 0.01, or 0 (no limit)", v)
	}
	c.section.ClientRate = int64(n*1e6/8 + 0.5)
	return nil
}

func addLANClient(_ *reader, c *enabled[LAN], v string) error {
	text, mode, _ := strings.Cut(v, "=")
	var l LANClient
	var err error
	if l.Mode, err = parseLANMode(mode, LANBlock); err != nil {
		return fmt.Errorf("%q: want an address = a mode, such as 192.168.1.20=off: %w", v, err)
	}
	if mac, err := net.ParseMAC(text); err == nil && len(mac) == 6 {
		l.MAC = [6]byte(mac)
	} else if l.Addr, err = netip.ParseAddr(text); err != nil || l.Addr.Zone() != "" || l.Addr.Is4In6() {
		return fmt.Errorf("%q: want a MAC or IP address before the =", v)
	}
	if len(c.section.Clients) == maxLANClients {
		return fmt.Errorf("more than %d clients", maxLANClients)
	}
	c.section.Clients = append(c.section.Clients, l)
	return nil
}
