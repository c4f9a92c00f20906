package config

import (
	"fmt"
	"slices"
	"strings"

	"globalnet/onion/path"
	"globalnet/onion/policy"
)

// Bounds of the sections that may be repeated.
const (
	maxProxies = 32
	maxTunnels = 64
	maxNames   = 4096
	maxSecrets = 256
)

// sectionTypes are the types that readSection and read know.
var sectionTypes = []string{"globalnet", "peer", "onion", "exit", "proxy", "tunnel", "name", "exit_secret", "hidden_service", "service_key", "service", "lan", "radio", "web"}

// readSection reads a section of the onion or of the service; false if it is none.
func (r *reader) readSection(c *Config, s Section) bool {
	switch s.Type {
	case "onion":
		r.readSingle(s, onionOptions(&c.Onion))
	case "exit":
		r.readSingle(s, exitOptions(&c.Exit))
	case "proxy":
		var p Proxy
		on := true
		if name, ok := r.readRepeated(s, proxyOptions(&p, &on), maxProxies, "listen"); ok {
			r.proxies = true
			if p.Name = name; on {
				c.Proxies = append(c.Proxies, p)
			}
		}
	case "tunnel":
		var t Tunnel
		on := true
		if name, ok := r.readRepeated(s, tunnelOptions(&t, &on), maxTunnels, "path"); ok && on {
			t.Name = name
			c.Tunnels = append(c.Tunnels, t)
		}
	case "name":
		r.readName(c, s)
	case "exit_secret":
		var e ExitSecret
		if _, ok := r.readRepeated(s, exitSecretOptions(&e), maxSecrets, "node", "secret"); ok {
			c.ExitSecrets = append(c.ExitSecrets, e)
		}
	case "hidden_service", "service_key":
		r.readHidden(c, s)
	case "service":
		if s.Name != "" && s.Name != "service" {
			r.fail(s.Line, "", "section service '%s': there is one, 'service', for the init script; hidden services are sections of type hidden_service", s.Name)
			break
		}
		r.readSingle(s, serviceOptions)
	case "lan":
		r.readLAN(c, s)
	case "radio":
		r.readRadio(s)
	case "web":
		r.readSingle(s, webOptions(&c.Web))
	default:
		return false
	}
	return true
}

func (r *reader) readName(c *Config, s Section) {
	var n Name
	name, ok := r.readRepeated(s, nameOptions(&n), maxNames, "node")
	if !ok {
		return
	}
	if n.Name == "" {
		n.Name = name
	}
	n.Name = strings.ToLower(n.Name)
	if err := checkName(n.Name); err != nil {
		r.fail(s.Line, "", "%v", err)
		return
	}
	if slices.ContainsFunc(c.Names, func(m Name) bool { return m.Name == n.Name }) {
		r.fail(s.Line, "name", "%q is an earlier section's", n.Name)
		return
	}
	c.Names = append(c.Names, n)
}

// readSingle reads a section of which there is one.
func (r *reader) readSingle(s Section, table []option) {
	known, again := r.single[s.Type]
	if again && known.name != s.Name {
		r.fail(s.Line, "", "a second %s section: there is one, '%s'", s.Type, known.name)
		return
	}
	if !again {
		known = single{s.Name, make(map[string]int)}
		r.single[s.Type] = known
	}
	r.readOptions(s, table, known.seen)
}

// single is a section of which there is one.
type single struct {
	name string
	seen map[string]int
}

// readRepeated reads a section of which there may be many, with different names, and returns
// its name, which is made up if it has none; not ok means that it is not to be used.
func (r *reader) readRepeated(s Section, table []option, most int, required ...string) (name string, ok bool) {
	seen := make(map[string]int)
	r.readOptions(s, table, seen)
	for _, name := range required {
		if _, ok := seen[name]; !ok {
			r.fail(s.Line, name, "missing in this %s", s.Type)
			return "", false
		}
	}
	r.count[s.Type]++
	name = s.Name
	if name == "" {
		name = fmt.Sprintf("%s%d", s.Type, r.count[s.Type])
	}
	key := s.Type + " " + strings.ToLower(name)
	if first, twice := r.lines[key]; twice {
		r.fail(s.Line, "", "a second %s '%s', first on line %d", s.Type, name, first)
		return "", false
	}
	r.lines[key] = s.Line
	if r.count[s.Type] > most {
		r.fail(s.Line, "", "more than %d sections of type %s", most, s.Type)
		return "", false
	}
	return name, true
}

// checkName says whether a name can stand before the zone: labels of a host name.
func checkName(name string) error {
	if !isHostname(name+".x") || len(name) > 63 || strings.HasSuffix(name, ".") {
		return fmt.Errorf("%q is no name for a host: want letters, digits and - ", name)
	}
	if len(name) == 56 && !strings.Contains(name, ".") {
		return fmt.Errorf("%q looks like an address: want a shorter name", name)
	}
	return nil
}

func checkPolicy(v string) error {
	_, err := policy.Parse(v, nil)
	return err
}

func checkRule(v string) error {
	_, err := policy.Parse("none", []string{v})
	return err
}

// setPath takes the hops of a path to internet, as they follow the listener.
func (p *Proxy) setPath(_ *reader, v string) error {
	spec, err := path.Parse("1>" + v)
	if err != nil {
		return err
	}
	if !spec.Internet() {
		return fmt.Errorf("%q ends at a target: want hops and internet, such as rand>rand>rand>internet; a tunnel leads to one target", v)
	}
	p.Path = v
	return nil
}

func (t *Tunnel) setPath(_ *reader, v string) error {
	spec, err := path.Parse(v)
	if err != nil {
		return err
	}
	if spec.Internet() {
		return fmt.Errorf("%q leads to the internet: want a target such as example.org:80; a proxy section leads everywhere", v)
	}
	t.Path = v
	return nil
}

// crossOnion checks what concerns several options of the onion's sections.
func (r *reader) crossOnion(c *Config) {
	if c.Onion.MinHops > c.Onion.Hops {
		r.fail(r.single["onion"].seen["min_hops"], "min_hops", "%d is more than hops, %d", c.Onion.MinHops, c.Onion.Hops)
	}
	if _, err := policy.Parse(c.Exit.Policy, c.Exit.Rules); err != nil && !slices.ContainsFunc(r.errs, isExitProblem) {
		r.fail(r.single["exit"].seen["rule"], "rule", "%v", err)
	}
	for i, p := range c.Proxies {
		if slices.ContainsFunc(c.Proxies[:i], func(q Proxy) bool { return q.Listen == p.Listen }) {
			r.fail(r.lines["proxy "+strings.ToLower(p.Name)], "listen", "%s is another proxy's", p.Listen)
		}
	}
	r.crossServices(c)
	if !r.proxies {
		c.Proxies = []Proxy{DefaultProxy}
	}
}

func isExitProblem(err error) bool {
	p, ok := err.(*Problem)
	return ok && (p.Option == "rule" || p.Option == "policy")
}

// onionFile shows the sections of the onion.
func (c *Config) onionFile() []Section {
	on := true
	list := []Section{
		shown("onion", "onion", onionOptions(&c.Onion)),
		shown("exit", "exit", exitOptions(&c.Exit)),
	}
	for _, p := range c.Proxies {
		list = append(list, shown("proxy", p.Name, proxyOptions(&p, &on)))
	}
	for _, t := range c.Tunnels {
		list = append(list, shown("tunnel", t.Name, tunnelOptions(&t, &on)))
	}
	for _, n := range c.Names {
		list = append(list, shown("name", "", nameOptions(&n)))
	}
	for _, e := range c.ExitSecrets {
		list = append(list, shown("exit_secret", "", exitSecretOptions(&e)))
	}
	return append(list, c.hiddenFile()...)
}

func shown(typ, name string, table []option) Section {
	s := Section{Type: typ, Name: name}
	for _, o := range table {
		for _, v := range o.shown {
			s.Options = append(s.Options, Option{Name: o.name, Value: v, List: o.list})
		}
	}
	return s
}

func (o option) equal(p option) bool { return slices.Equal(o.shown, p.shown) }

// compareOptions says which options of two sections differ, by their names after a prefix.
func (d *Diff) compareOptions(prefix string, from, to []option) {
	for i, o := range from {
		switch {
		case o.equal(to[i]):
		case o.live:
			d.Live = append(d.Live, prefix+o.name)
		default:
			d.Restart = append(d.Restart, prefix+o.name)
		}
	}
}

// compareOnion adds what a reload changes of the onion.
func (d *Diff) compareOnion(from, to *Config) {
	d.compareOptions("onion.", onionOptions(&from.Onion), onionOptions(&to.Onion))
	d.compareOptions("exit.", exitOptions(&from.Exit), exitOptions(&to.Exit))
	if !slices.EqualFunc(from.Onion.Families, to.Onion.Families, Secret.Equal) && !slices.Contains(d.Live, "onion.family") {
		d.Live = append(d.Live, "onion.family")
	}
	if !from.Exit.Secret.Equal(to.Exit.Secret) && !slices.Contains(d.Live, "exit.secret") {
		d.Live = append(d.Live, "exit.secret")
	}
	if !slices.Equal(from.Proxies, to.Proxies) {
		d.Live = append(d.Live, "proxy")
	}
	if !slices.Equal(from.Tunnels, to.Tunnels) {
		d.Live = append(d.Live, "tunnel")
	}
	if !slices.Equal(from.Names, to.Names) {
		d.Live = append(d.Live, "name")
	}
	if !slices.EqualFunc(from.ExitSecrets, to.ExitSecrets, func(a, b ExitSecret) bool { return a.Node == b.Node && a.Secret.Equal(b.Secret) }) {
		d.Live = append(d.Live, "exit_secret")
	}
	d.compareHidden(from, to)
	d.compareOptions("web.", webOptions(&from.Web), webOptions(&to.Web))
}
