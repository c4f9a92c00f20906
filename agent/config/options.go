package config

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
)

// Defaults of the numbers. The paths' are in reader.paths.
const (
	DefaultNetwork        = "globalnet"
	DefaultListenPort     = 18245
	DefaultMaxNeighbours  = 32
	DefaultHelloInterval  = 4 * time.Second
	DefaultUpdateInterval = 16 * time.Second
)

// DefaultPortRange is one range, so that one firewall rule opens it.
var DefaultPortRange = PortRange{18250, 18313}

// option is a row of the table that reading, showing and comparing share: an option of a
// section, bound to the value that the section is read into or shown from.
type option struct {
	name  string
	list  bool
	live  bool // a reload applies it; else a restart is needed
	set   setter
	shown []string // what the value had when the table was made
}

// setter reads an option's text into the value; of a list, it adds one.
type setter func(r *reader, text string) error

// mainOptions are the options of `config globalnet`, in the order of reference.uci.
func mainOptions(c *Config) []option {
	return []option{
		{name: "network", set: c.setNetwork, shown: one(c.Network)},
		{name: "passphrase", set: c.setPassphrase, shown: one(c.Passphrase)},
		{name: "passphrase_file", set: c.setPassphraseFile},
		{name: "interface", list: true, live: true, set: addPattern(&c.Interfaces), shown: c.Interfaces},
		{name: "exclude", list: true, live: true, set: addPattern(&c.Exclude), shown: c.Exclude},
		{name: "listen_port", set: setPort(&c.ListenPort), shown: one(c.ListenPort)},
		{name: "port_range", set: c.setPortRange, shown: one(c.PortRange)},
		{name: "identity", set: setPath(&c.Identity), shown: one(c.Identity)},
		{name: "state_dir", set: setPath(&c.StateDir), shown: one(c.StateDir)},
		{name: "socket", set: setPath(&c.Socket), shown: one(c.Socket)},
		{name: "log_level", live: true, set: c.setLogLevel, shown: one(strings.ToLower(c.LogLevel.String()))},
		{name: "wireguard", set: setChoice(&c.WireGuard, WireGuardAuto, WireGuardKernel, WireGuardUser), shown: one(c.WireGuard)},
		{name: "memory", set: setChoice(&c.Memory, MemoryAuto, MemorySmall, MemoryLarge), shown: one(c.Memory)},
		{name: "dht", set: setChoice(&c.DHT, DHTFull, DHTClient, DHTOff), shown: one(c.DHT)},
		{name: "console_port", set: c.setConsolePort, shown: one(c.ConsolePort)},
		{name: "max_neighbours", live: true, set: setNumber(&c.MaxNeighbours, 1, 1000), shown: one(c.MaxNeighbours)},
		{name: "hello_interval", live: true, set: setSeconds(&c.HelloInterval), shown: one(c.HelloInterval.Seconds())},
		{name: "update_interval", live: true, set: setSeconds(&c.UpdateInterval), shown: one(c.UpdateInterval.Seconds())},
	}
}

// peerOptions are the options of `config peer`, for names; readPeer reads them.
var peerOptions = []string{"node", "address", "enabled"}

func one(v any) []string {
	if s := fmt.Sprint(v); s != "" {
		return []string{s}
	}
	return nil
}

func (c *Config) setNetwork(_ *reader, v string) error {
	if len(v) < 1 || len(v) > 64 {
		return fmt.Errorf("network name of %d bytes: want 1 to 64", len(v))
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return fmt.Errorf("network name %q: no control characters", v)
	}
	c.Network = v
	return nil
}

func (c *Config) setPassphrase(r *reader, v string) error {
	if r.passphrase != "" {
		return fmt.Errorf("%s gives the passphrase already: want one of the two", r.passphrase)
	}
	r.passphrase = "passphrase"
	return c.checkPassphrase(v)
}

func (c *Config) setPassphraseFile(r *reader, v string) error {
	if r.passphrase != "" {
		return fmt.Errorf("%s gives the passphrase already: want one of the two", r.passphrase)
	}
	r.passphrase = "passphrase_file"
	text, err := readSecret(r.abs(v))
	if err != nil {
		return err
	}
	return c.checkPassphrase(text)
}

// checkPassphrase never repeats the value in an error.
func (c *Config) checkPassphrase(v string) error {
	if len(v) < 8 || len(v) > 256 {
		return fmt.Errorf("passphrase of %d bytes: want 8 to 256", len(v))
	}
	c.Passphrase = NewSecret(v)
	return nil
}

func addPattern(to *[]string) setter {
	return func(_ *reader, v string) error {
		if _, err := path.Match(v, ""); err != nil || v == "" || len(v) > 64 || strings.ContainsAny(v, " /\t\n") {
			return fmt.Errorf("%q is no interface name or pattern: want one such as wlan0, eth* or mesh[0-3]", v)
		}
		*to = append(*to, v)
		return nil
	}
}

func parsePort(v string) (uint16, error) {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port: want 1 to 65535", v)
	}
	return uint16(n), nil
}

func setPort(to *uint16) setter {
	return func(_ *reader, v string) (err error) {
		*to, err = parsePort(v)
		return err
	}
}

func (c *Config) setConsolePort(_ *reader, v string) (err error) {
	if v == "0" {
		c.ConsolePort = 0
		return nil
	}
	c.ConsolePort, err = parsePort(v)
	return err
}

func (c *Config) setPortRange(_ *reader, v string) error {
	first, last, ok := strings.Cut(v, "-")
	a, err1 := parsePort(first)
	b, err2 := parsePort(last)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is no port range: want one such as %s", v, DefaultPortRange)
	}
	if n := int(b) - int(a) + 1; n < 4 {
		return fmt.Errorf("port range %s has %d ports: want 4 or more, each neighbour takes one", v, max(n, 0))
	}
	c.PortRange = PortRange{a, b}
	return nil
}

func setPath(to *string) setter {
	return func(r *reader, v string) error {
		if v == "" || strings.ContainsRune(v, 0) {
			return fmt.Errorf("%q is no path", v)
		}
		*to = r.abs(v)
		return nil
	}
}

func (c *Config) setLogLevel(_ *reader, v string) error {
	switch v {
	case "debug", "info", "warn", "error":
		return c.LogLevel.UnmarshalText([]byte(v))
	}
	return fmt.Errorf("%q: want debug, info, warn or error", v)
}

// setChoice takes one of three words.
func setChoice[T ~string](to *T, a, b, c T) setter {
	return func(_ *reader, v string) error {
		switch w := T(v); w {
		case a, b, c:
			*to = w
			return nil
		}
		return fmt.Errorf("%q: want %s, %s or %s", v, a, b, c)
	}
}

func setNumber(to *int, least, most int) setter {
	return func(_ *reader, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q: want a number from %d to %d", v, least, most)
		}
		*to = n
		return nil
	}
}

// setSeconds takes what a Babel interval can say: centiseconds in 16 bits.
func setSeconds(to *time.Duration) setter {
	return func(_ *reader, v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !(n >= 0.1 && n <= 600) {
			return fmt.Errorf("%q: want seconds, 0.1 to 600", v)
		}
		*to = time.Duration(n*100+0.5) * 10 * time.Millisecond
		return nil
	}
}

// ParseAddress reads "host:port", with brackets around an IPv6 address; without
// a port it is DefaultListenPort.
func ParseAddress(v string) (Address, error) {
	a := Address{Host: v, Port: DefaultListenPort}
	_, err := netip.ParseAddr(v)
	if i := strings.LastIndexByte(v, ':'); err != nil && i >= 0 && !strings.HasSuffix(v, "]") {
		a.Host = v[:i]
		if a.Port, err = parsePort(v[i+1:]); err != nil {
			return Address{}, err
		}
	}
	if inner, ok := strings.CutPrefix(a.Host, "["); ok {
		a.Host = strings.TrimSuffix(inner, "]")
		if !strings.Contains(a.Host, ":") {
			return Address{}, fmt.Errorf("%q: no IPv6 address between the brackets", v)
		}
	} else if a.Host != v && strings.Contains(a.Host, ":") {
		return Address{}, fmt.Errorf("%q: put an IPv6 address with a port in brackets, as in [2001:db8::1]:18245", v)
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
			return Address{}, fmt.Errorf("%q is the address of no single machine", v)
		}
		a.Host = ip.String()
	} else if !isHostname(a.Host) {
		return Address{}, fmt.Errorf("%q: want an IP address or a name, and :port", v)
	}
	return a, nil
}

func isHostname(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	digits := true // 1.2.3 is a mistyped address, not a name
	for label := range strings.SplitSeq(s, ".") {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '_'
			if !letter && (c < '0' || c > '9') {
				return false
			}
			digits = digits && !letter
		}
	}
	return !digits
}
