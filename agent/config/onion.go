package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"globalnet/internal/identity"
	"globalnet/onion/policy"
)

// Onion is how the node takes part in the onion, and uses it.
type Onion struct {
	Enabled bool
	Relay   bool // carries circuits of others
	Hops    int  // relays of a circuit
	MinHops int  // where there are not so many relays

	Families []Secret // groups of relays of one owner
	Limits   Limits   // of what is carried for others
}

// Exit is what streams may reach that end at this node.
type Exit struct {
	Policy       string         // none, web, reduced, all
	Rules        []string       // before the policy, the first that fits holds
	AllowPrivate []netip.Prefix // private addresses that rules may open
	Inside       bool           // to other nodes of the mesh
	ServePorts   []uint16       // of this node itself
	Secret       Secret         // only clients that know it
	Connections  int            // at a time
	Limits       Limits
}

// Limits bound traffic; zero is no limit.
type Limits struct {
	Rate  int64 // bytes a second
	Burst int64 // bytes
	Quota int64 // bytes a month
}

// Proxy is a door for programs: SOCKS5 and HTTP CONNECT.
type Proxy struct {
	Name               string
	Listen             netip.AddrPort
	Path               string // by hand, from the first hop to internet; empty: chosen
	IsolateDestination bool
	Wait               bool // answer only when the target has
}

// Tunnel leads one local port along a path.
type Tunnel struct {
	Name string
	Path string // localhost:1000>peer>rand>host:port
}

// Name is a name that holds on this router, for a node or a service.
type Name struct {
	Name string
	Node identity.NodeID
}

// ExitSecret is what an exit wants to hear of those it trusts.
type ExitSecret struct {
	Node   identity.NodeID
	Secret Secret
}

// DefaultProxy is there when no proxy section is.
var DefaultProxy = Proxy{Name: "socks", Listen: netip.MustParseAddrPort("127.0.0.1:18248")}

func defaultOnion() Onion { return Onion{Enabled: true, Relay: true, Hops: 3, MinHops: 1} }

// ExitConnections is the default: as many as the streams of one circuit, so that one client
// with many tabs finds room.
const ExitConnections = 2048

func defaultExit() Exit { return Exit{Policy: "none", Inside: true, Connections: ExitConnections} }

var onionOptions = append([]option[Onion]{
	{name: "enabled", set: setBool(func(c *Onion) *bool { return &c.Enabled }), get: func(c *Onion) []string { return flag(c.Enabled) }},
	{name: "relay", live: true, set: setBool(func(c *Onion) *bool { return &c.Relay }), get: func(c *Onion) []string { return flag(c.Relay) }},
	{name: "hops", live: true, set: setHops(func(c *Onion) *int { return &c.Hops }), get: func(c *Onion) []string { return one(c.Hops) }},
	{name: "min_hops", live: true, set: setHops(func(c *Onion) *int { return &c.MinHops }), get: func(c *Onion) []string { return one(c.MinHops) }},
	{name: "family", list: true, live: true, set: addFamily, get: func(c *Onion) []string { return hidden(c.Families...) }},
}, limitOptions(func(c *Onion) *Limits { return &c.Limits })...)

var exitOptions = append([]option[Exit]{
	{name: "policy", live: true, set: setPolicy, get: func(c *Exit) []string { return one(c.Policy) }},
	{name: "rule", list: true, live: true, set: addRule, get: func(c *Exit) []string { return c.Rules }},
	{name: "allow_private", list: true, live: true, set: addPrivate, get: func(c *Exit) []string { return texts(c.AllowPrivate) }},
	{name: "inside", live: true, set: setBool(func(c *Exit) *bool { return &c.Inside }), get: func(c *Exit) []string { return flag(c.Inside) }},
	{name: "serve_port", list: true, live: true, set: addServePort, get: func(c *Exit) []string { return texts(c.ServePorts) }},
	{name: "secret", live: true, set: setExitSecret, get: func(c *Exit) []string { return hidden(c.Secret) }},
	{name: "connections", live: true, set: setConnections, get: func(c *Exit) []string { return one(c.Connections) }},
}, limitOptions(func(c *Exit) *Limits { return &c.Limits })...)

var proxyOptions = []option[enabled[Proxy]]{
	enabledOption[Proxy](),
	{name: "listen", set: setListen, get: func(c *enabled[Proxy]) []string { return one(c.section.Listen) }},
	{name: "path", set: setProxyPath, get: func(c *enabled[Proxy]) []string { return one(c.section.Path) }},
	{name: "isolate_destination", set: setBool(func(c *enabled[Proxy]) *bool { return &c.section.IsolateDestination }),
		get: func(c *enabled[Proxy]) []string { return flag(c.section.IsolateDestination) }},
	{name: "wait", set: setBool(func(c *enabled[Proxy]) *bool { return &c.section.Wait }), get: func(c *enabled[Proxy]) []string { return flag(c.section.Wait) }},
}

var tunnelOptions = []option[enabled[Tunnel]]{
	enabledOption[Tunnel](),
	{name: "path", set: setTunnelPath, get: func(c *enabled[Tunnel]) []string { return one(c.section.Path) }},
}

var nameOptions = []option[Name]{
	{name: "name", set: func(_ *reader, n *Name, v string) error {
		n.Name = v
		return nil
	}, get: func(n *Name) []string { return one(n.Name) }},
	{name: "node", set: func(_ *reader, n *Name, v string) (err error) {
		n.Node, err = identity.ParseNodeID(strings.TrimSuffix(v, ".gnet.alt"))
		return err
	}, get: func(n *Name) []string { return one(n.Node) }},
}

var exitSecretOptions = []option[ExitSecret]{
	{name: "node", set: func(_ *reader, s *ExitSecret, v string) (err error) {
		s.Node, err = identity.ParseNodeID(v)
		return err
	}, get: func(s *ExitSecret) []string { return one(s.Node) }},
	{name: "secret", set: func(_ *reader, s *ExitSecret, v string) (err error) {
		s.Secret, err = parseSecret(v)
		return err
	}, get: func(s *ExitSecret) []string { return hidden(s.Secret) }},
}

// enabled is a section that can be left without effect.
type enabled[T any] struct {
	off     bool
	section T
}

func enabledOption[T any]() option[enabled[T]] {
	return option[enabled[T]]{name: "enabled", set: func(_ *reader, e *enabled[T], v string) error {
		on, err := parseBool(v)
		e.off = !on
		return err
	}, get: func(e *enabled[T]) []string { return flag(!e.off) }}
}

// limitOptions are rate, burst and quota.
func limitOptions[T any](field func(*T) *Limits) []option[T] {
	limit := func(name string, unit, most int64, value func(*Limits) *int64) option[T] {
		return option[T]{name: name, live: true,
			set: func(_ *reader, c *T, v string) error {
				n, err := strconv.ParseFloat(v, 64)
				if err != nil || !(n >= 0 && n <= float64(most)) {
					return fmt.Errorf("%q: want a number from 0 (no limit) to %d", v, most)
				}
				*value(field(c)) = int64(n*float64(unit) + 0.5)
				return nil
			},
			get: func(c *T) []string { return one(float64(*value(field(c))) / float64(unit)) }}
	}
	return []option[T]{
		limit("rate", 1e6/8, 1e6, func(l *Limits) *int64 { return &l.Rate }),
		limit("burst", 1e6, 1e4, func(l *Limits) *int64 { return &l.Burst }),
		limit("quota", 1e9, 1e6, func(l *Limits) *int64 { return &l.Quota }),
	}
}

func flag(v bool) []string {
	if v {
		return []string{"1"}
	}
	return []string{"0"}
}

// hidden shows that there are secrets.
func hidden(secrets ...Secret) (shown []string) {
	for _, s := range secrets {
		shown = append(shown, one(s)...)
	}
	return shown
}

func texts[T any](values []T) (shown []string) {
	for _, v := range values {
		shown = append(shown, fmt.Sprint(v))
	}
	return shown
}

func setBool[T any](field func(*T) *bool) func(*reader, *T, string) error {
	return func(_ *reader, c *T, v string) (err error) {
		*field(c), err = parseBool(v)
		return err
	}
}

func setHops[T any](field func(*T) *int) func(*reader, *T, string) error {
	return func(_ *reader, c *T, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 8 {
			return fmt.Errorf("%q: want a number from 1 to 8", v)
		}
		*field(c) = n
		return nil
	}
}

// minSecret is how long secrets must be that strangers may guess at (exit.MinSecret).
const minSecret = 16

// parseSecret never repeats the value in an error.
func parseSecret(v string) (Secret, error) {
	if len(v) < minSecret || len(v) > 256 {
		return Secret{}, fmt.Errorf("secret of %d bytes: want %d to 256", len(v), minSecret)
	}
	return NewSecret(v), nil
}

const maxFamilies = 4

func addFamily(_ *reader, c *Onion, v string) error {
	s, err := parseSecret(v)
	if err == nil && len(c.Families) == maxFamilies {
		err = fmt.Errorf("more than %d families", maxFamilies)
	}
	c.Families = append(c.Families, s)
	return err
}

func setPolicy(_ *reader, c *Exit, v string) error {
	c.Policy = v
	return checkPolicy(v)
}

const maxRules = 256

func addRule(_ *reader, c *Exit, v string) error {
	if len(c.Rules) == maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	c.Rules = append(c.Rules, v)
	return checkRule(v)
}

func addPrivate(_ *reader, c *Exit, v string) error {
	p, err := policy.ParsePrivate(v)
	c.AllowPrivate = append(c.AllowPrivate, p)
	return err
}

func addServePort(_ *reader, c *Exit, v string) error {
	port, err := parsePort(v)
	c.ServePorts = append(c.ServePorts, port)
	return err
}

func setExitSecret(_ *reader, c *Exit, v string) (err error) {
	c.Secret, err = parseSecret(v)
	return err
}

func setConnections(_ *reader, c *Exit, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 65536 {
		return fmt.Errorf("%q: want a number from 1 to 65536", v)
	}
	c.Connections = n
	return nil
}

// setListen takes a port of loopback, or an address with a port.
func setListen(_ *reader, c *enabled[Proxy], v string) error {
	if port, err := parsePort(v); err == nil {
		c.section.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		return nil
	}
	addr, err := netip.ParseAddrPort(v)
	if err != nil || addr.Port() == 0 {
		return fmt.Errorf("%q: want a port, or an address and a port such as 192.168.1.1:1080", v)
	}
	c.section.Listen = addr
	return nil
}
