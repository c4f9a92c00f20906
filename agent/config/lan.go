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
	on := true
	return l.Name == m.Name && slices.EqualFunc(lanOptions(&l, &on), lanOptions(&m, &on), option.equal)
}

const (
	maxLANs       = 16
	maxLANClients = 256
)

func lanOptions(l *LAN, on *bool) []option {
	return []option{
		{name: "enabled", set: setBool(on), shown: flag(*on)},
		{name: "mode", set: l.setMode, shown: one(l.mode())},
		{name: "interface", list: true, set: l.addInterface, shown: l.Interfaces},
		{name: "dns", set: setBool(&l.DNS), shown: flag(l.DNS)},
		{name: "udp", set: setBool(&l.UDP), shown: flag(l.UDP)},
		{name: "block_doh", set: setBool(&l.BlockDoH), shown: flag(l.BlockDoH)},
		{name: "mesh", set: setBool(&l.Mesh), shown: flag(l.Mesh)},
		{name: "client_rate", set: l.setClientRate, shown: one(float64(l.ClientRate) * 8 / 1e6)},
		{name: "client", list: true, set: l.addClient, shown: texts(l.Clients)},
	}
}

func (l *LAN) mode() LANMode {
	if l.Mode == "" {
		return LANNames
	}
	return l.Mode
}

// readLAN reads a section.
func (r *reader) readLAN(c *Config, s Section) {
	var l LAN
	on := true
	name, ok := r.readRepeated(s, lanOptions(&l, &on), maxLANs, "interface")
	if !ok {
		return
	}
	l.Name, l.Mode = name, l.mode()
	for _, other := range c.LANs {
		for _, i := range l.Interfaces {
			if slices.Contains(other.Interfaces, i) {
				r.fail(s.Line, "interface", "%s is in lan '%s' already", i, other.Name)
				return
			}
		}
	}
	if on {
		c.LANs = append(c.LANs, l)
	}
}

// compareLAN adds what a reload changes of the LANs.
func (d *Diff) compareLAN(from, to *Config) {
	if !slices.EqualFunc(from.LANs, to.LANs, LAN.Equal) {
		d.Live = append(d.Live, "lan")
	}
}

// lanFile shows the sections.
func (c *Config) lanFile() (list []Section) {
	on := true
	for _, l := range c.LANs {
		list = append(list, shown("lan", l.Name, lanOptions(&l, &on)))
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

func (l *LAN) setMode(_ *reader, v string) (err error) {
	l.Mode, err = parseLANMode(v)
	return err
}

// maxInterfaceName is what the kernel takes, less the final zero.
const maxInterfaceName = 15

func (l *LAN) addInterface(_ *reader, v string) error {
	switch ours, _ := path.Match("gn-*", v); {
	case v == "" || len(v) > maxInterfaceName || strings.ContainsAny(v, "/*?[ \t\""):
		return fmt.Errorf("%q is no name of an interface, such as br-lan", v)
	case ours || v == "lo":
		return fmt.Errorf("%q is no LAN", v)
	case slices.Contains(l.Interfaces, v):
		return fmt.Errorf("%q is given twice", v)
	case len(l.Interfaces) == maxLANs:
		return fmt.Errorf("more than %d interfaces", maxLANs)
	}
	l.Interfaces = append(l.Interfaces, v)
	return nil
}

func (l *LAN) setClientRate(_ *reader, v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n == 0 || n >= 0.01 && n <= 1e6) {
		return fmt.Errorf("%q: want a number of Mbit/s from 0.01, or 0 (no limit)", v)
	}
	l.ClientRate = int64(n*1e6/8 + 0.5)
	return nil
}

func (l *LAN) addClient(_ *reader, v string) error {
	text, mode, _ := strings.Cut(v, "=")
	var c LANClient
	var err error
	if c.Mode, err = parseLANMode(mode, LANBlock); err != nil {
		return fmt.Errorf("%q: want an address = a mode, such as 192.168.1.20=off: %w", v, err)
	}
	if mac, err := net.ParseMAC(text); err == nil && len(mac) == 6 {
		c.MAC = [6]byte(mac)
	} else if c.Addr, err = netip.ParseAddr(text); err != nil || c.Addr.Zone() != "" || c.Addr.Is4In6() {
		return fmt.Errorf("%q: want a MAC or IP address before the =", v)
	}
	if len(l.Clients) == maxLANClients {
		return fmt.Errorf("more than %d clients", maxLANClients)
	}
	l.Clients = append(l.Clients, c)
	return nil
}
