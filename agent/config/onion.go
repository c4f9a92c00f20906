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

func onionOptions(c *Onion) []option {
	return append([]option{
		{name: "enabled", set: setBool(&c.Enabled), shown: flag(c.Enabled)},
		{name: "relay", live: true, set: setBool(&c.Relay), shown: flag(c.Relay)},
		{name: "hops", live: true, set: setNumber(&c.Hops, 1, maxHops), shown: one(c.Hops)},
		{name: "min_hops", live: true, set: setNumber(&c.MinHops, 1, maxHops), shown: one(c.MinHops)},
		{name: "family", list: true, live: true, set: c.addFamily, shown: hidden(c.Families...)},
	}, limitOptions(&c.Limits)...)
}

func exitOptions(c *Exit) []option {
	return append([]option{
		{name: "policy", live: true, set: c.setPolicy, shown: one(c.Policy)},
		{name: "rule", list: true, live: true, set: c.addRule, shown: c.Rules},
		{name: "allow_private", list: true, live: true, set: c.addPrivate, shown: texts(c.AllowPrivate)},
		{name: "inside", live: true, set: setBool(&c.Inside), shown: flag(c.Inside)},
		{name: "serve_port", list: true, live: true, set: c.addServePort, shown: texts(c.ServePorts)},
		{name: "secret", live: true, set: setSecret(&c.Secret), shown: hidden(c.Secret)},
		{name: "connections", live: true, set: setNumber(&c.Connections, 1, 65536), shown: one(c.Connections)},
	}, limitOptions(&c.Limits)...)
}

// A proxy or a tunnel, as much else, can be left without effect: on.
func proxyOptions(p *Proxy, on *bool) []option {
	return []option{
		{name: "enabled", set: setBool(on), shown: flag(*on)},
		{name: "listen", set: p.setListen, shown: one(p.Listen)},
		{name: "path", set: p.setPath, shown: one(p.Path)},
		{name: "isolate_destination", set: setBool(&p.IsolateDestination), shown: flag(p.IsolateDestination)},
		{name: "wait", set: setBool(&p.Wait), shown: flag(p.Wait)},
	}
}

func tunnelOptions(t *Tunnel, on *bool) []option {
	return []option{
		{name: "enabled", set: setBool(on), shown: flag(*on)},
		{name: "path", set: t.setPath, shown: one(t.Path)},
	}
}

func nameOptions(n *Name) []option {
	return []option{
		{name: "name", set: func(_ *reader, v string) error {
			n.Name = v
			return nil
		}, shown: one(n.Name)},
		{name: "node", set: func(_ *reader, v string) (err error) {
			n.Node, err = identity.ParseNodeID(strings.TrimSuffix(v, ".gnet.alt"))
			return err
		}, shown: one(n.Node)},
	}
}

func exitSecretOptions(s *ExitSecret) []option {
	return []option{
		{name: "node", set: func(_ *reader, v string) (err error) {
			s.Node, err = identity.ParseNodeID(v)
			return err
		}, shown: one(s.Node)},
		{name: "secret", set: setSecret(&s.Secret), shown: hidden(s.Secret)},
	}
}

// limitOptions are rate, burst and quota.
func limitOptions(l *Limits) []option {
	limit := func(name string, unit, most int64, to *int64) option {
		return option{name: name, live: true,
			set: func(_ *reader, v string) error {
				n, err := strconv.ParseFloat(v, 64)
				if err != nil || !(n >= 0 && n <= float64(most)) {
					return fmt.Errorf("%q: want a number from 0 (no limit) to %d", v, most)
				}
				*to = int64(n*float64(unit) + 0.5)
				return nil
			},
			shown: one(float64(*to) / float64(unit))}
	}
	return []option{
		limit("rate", 1e6/8, 1e6, &l.Rate),
		limit("burst", 1e6, 1e4, &l.Burst),
		limit("quota", 1e9, 1e6, &l.Quota),
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

func setBool(to *bool) setter {
	return func(_ *reader, v string) (err error) {
		*to, err = parseBool(v)
		return err
	}
}

// maxHops is the longest circuit.
const maxHops = 8

// minSecret is how long secrets must be that strangers may guess at (exit.MinSecret).
const minSecret = 16

// parseSecret never repeats the value in an error.
func parseSecret(v string) (Secret, error) {
	if len(v) < minSecret || len(v) > 256 {
		return Secret{}, fmt.Errorf("secret of %d bytes: want %d to 256", len(v), minSecret)
	}
	return NewSecret(v), nil
}

func setSecret(to *Secret) setter {
	return func(_ *reader, v string) (err error) {
		*to, err = parseSecret(v)
		return err
	}
}

const maxFamilies = 4

func (c *Onion) addFamily(_ *reader, v string) error {
	s, err := parseSecret(v)
	if err == nil && len(c.Families) == maxFamilies {
		err = fmt.Errorf("more than %d families", maxFamilies)
	}
	c.Families = append(c.Families, s)
	return err
}

func (c *Exit) setPolicy(_ *reader, v string) error {
	c.Policy = v
	return checkPolicy(v)
}

const maxRules = 256

func (c *Exit) addRule(_ *reader, v string) error {
	if len(c.Rules) == maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	c.Rules = append(c.Rules, v)
	return checkRule(v)
}

func (c *Exit) addPrivate(_ *reader, v string) error {
	p, err := policy.ParsePrivate(v)
	c.AllowPrivate = append(c.AllowPrivate, p)
	return err
}

func (c *Exit) addServePort(_ *reader, v string) error {
	port, err := parsePort(v)
	c.ServePorts = append(c.ServePorts, port)
	return err
}

// setListen takes a port of loopback, or an address with a port.
func (p *Proxy) setListen(_ *reader, v string) error {
	if port, err := parsePort(v); err == nil {
		p.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		return nil
	}
	addr, err := netip.ParseAddrPort(v)
	if err != nil || addr.Port() == 0 {
		return fmt.Errorf("%q: want a port, or an address and a port such as 192.168.1.1:1080", v)
	}
	p.Listen = addr
	return nil
}
