// Package config reads the agent's configuration: a file in the syntax of
// OpenWrt's UCI becomes one validated Config, with every default filled in.
//
// reference.uci documents every option. A Config is a value; who holds it owns it.
package config

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"globalnet/internal/identity"
)

// DefaultPath is where the configuration is on a router.
const DefaultPath = "/etc/config/globalnet"

// Config is everything an owner decides, valid and complete.
type Config struct {
	Network    string
	Passphrase Secret

	// Interfaces and Exclude are patterns of path.Match; ask UsesInterface.
	Interfaces []string
	Exclude    []string

	ListenPort uint16
	PortRange  PortRange

	Identity string // path of the key file
	StateDir string
	Socket   string

	LogLevel  slog.Level
	WireGuard WireGuard
	Memory    Memory

	DHT DHT

	ConsolePort uint16 // of loopback; 0: no console

	MaxNeighbours  int
	HelloInterval  time.Duration
	UpdateInterval time.Duration

	Peers []Peer // the enabled ones

	Onion       Onion
	Exit        Exit
	Proxies     []Proxy  // the enabled ones
	Tunnels     []Tunnel // the enabled ones
	Names       []Name
	ExitSecrets []ExitSecret
	LANs        []LAN // the enabled ones

	Services    []Service // the enabled ones
	ServiceKeys []ServiceKey

	Web Web
}

// Peer is a node that is reached over the internet.
type Peer struct {
	Node      identity.NodeID
	Addresses []Address
}

// Address is where a peer may be reached: an IP address or a name, and a port.
type Address struct {
	Host string // IP literal without brackets, or a DNS name
	Port uint16
}

// String returns host:port, with brackets around IPv6.
func (a Address) String() string {
	if strings.Contains(a.Host, ":") {
		return fmt.Sprintf("[%s]:%d", a.Host, a.Port)
	}
	return fmt.Sprintf("%s:%d", a.Host, a.Port)
}

// AddrPort returns the address if Host is an IP literal.
func (a Address) AddrPort() (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(a.Host)
	return netip.AddrPortFrom(ip, a.Port), err == nil
}

// PortRange is a range of UDP ports, both ends included.
type PortRange struct{ First, Last uint16 }

// String returns "first-last".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// WireGuard says which implementation carries the links.
type WireGuard string

// Values of option wireguard.
const (
	WireGuardAuto   WireGuard = "auto" // kernel where it can, else user space
	WireGuardKernel WireGuard = "kernel"
	WireGuardUser   WireGuard = "user"
)

// Memory says how generously buffers are sized.
type Memory string

// Values of option memory.
const (
	MemoryAuto  Memory = "auto" // small below 256 MiB of RAM
	MemorySmall Memory = "small"
	MemoryLarge Memory = "large"
)

// DHT says what the node does in the hash table.
type DHT string

// Values of option dht.
const (
	DHTFull   DHT = "full"   // holds records for others
	DHTClient DHT = "client" // asks and publishes only
	DHTOff    DHT = "off"
)

// Secret is a passphrase. It never prints itself; Reveal is the one way to it.
type Secret struct {
	// A function, because fmt prints unexported fields whatever methods they have.
	value func() string
}

// NewSecret wraps a passphrase.
func NewSecret(s string) Secret { return Secret{func() string { return s }} }

// Reveal returns the passphrase itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return s.value()
}

// IsZero reports whether there is no passphrase.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal reports whether two secrets are the same.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// String hides the passphrase.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "[secret]"
}

// Format hides the passphrase from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText hides the passphrase from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the passphrase from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// alwaysExcluded: loopback, and our own WireGuard interfaces, which would make
// a link inside a link.
var alwaysExcluded = []string{"lo", "gn-*"}

// defaultExclude is what a machine has beside segments: the LAN of the clients,
// bridges and pipes of containers and virtual machines, other tunnels.
var defaultExclude = []string{
	"br-*", "docker*", "veth*", "virbr*", "vnet*", "tun*", "wg*", "tailscale*", "zt*", "ygg*",
}

// UsesInterface reports whether neighbours are to be looked for on ifname.
func (c *Config) UsesInterface(ifname string) bool {
	return matches(c.Interfaces, ifname) && !matches(c.Exclude, ifname) && !matches(alwaysExcluded, ifname)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}

// Problem is a wrong value, or a thing in a file that has no effect.
type Problem struct {
	File   string
	Line   int    // 0 if it concerns the file as a whole
	Option string // may be empty
	Text   string
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Option != "" {
		fmt.Fprintf(&b, "%s: ", p.Option)
	}
	b.WriteString(p.Text)
	return b.String()
}

// Default returns the configuration of an empty file. The paths are those of a
// router for root, and under the home directory for others.
func Default() Config {
	c, _, err := Parse("default", nil)
	if err != nil {
		panic(err) // the defaults are constants
	}
	return c
}

// Load reads the file at name. Warnings have no effect on the result; an error
// joins one *Problem for each wrong value.
func Load(name string) (Config, []*Problem, error) {
	if name == "" {
		return Config{}, nil, errors.New("reading configuration: there is no file, the agent runs with the defaults")
	}
	f, err := os.Open(name)
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading configuration: %w", err)
	}
	c, warnings, err := Parse(name, text)
	if info, statErr := f.Stat(); err == nil && statErr == nil &&
		!c.Passphrase.IsZero() && info.Mode().IsRegular() && info.Mode().Perm()&0o044 != 0 {
		warnings = append(warnings, &Problem{File: name, Text: "others can read the passphrase: chmod 600 " + name})
	}
	return c, warnings, err
}

// Parse reads text; name is the file it came from: messages name it, and
// relative paths start in its folder.
func Parse(name string, text []byte) (Config, []*Problem, error) {
	file, err := ParseFile(text)
	if err != nil {
		p := &Problem{File: name, Text: err.Error()}
		if s, ok := errors.AsType[*SyntaxError](err); ok {
			p.Line, p.Text = s.Line, s.Problem
		}
		return Config{}, nil, p
	}
	r := reader{file: name, dir: filepath.Dir(name)}
	c := r.read(file)
	if len(r.errs) > 0 {
		return Config{}, r.warnings, errors.Join(r.errs...)
	}
	return c, r.warnings, nil
}
