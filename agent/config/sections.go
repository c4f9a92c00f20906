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
		readSingle(r, s, onionOptions, &c.Onion)
	case "exit":
		readSingle(r, s, exitOptions, &c.Exit)
	case "proxy":
		readRepeated(r, s, proxyOptions, maxProxies, func(e enabled[Proxy], name string) {
			r.proxies = true
			if e.section.Name = name; !e.off {
				c.Proxies = append(c.Proxies, e.section)
			}
		}, "listen")
	case "tunnel":
		readRepeated(r, s, tunnelOptions, maxTunnels, func(e enabled[Tunnel], name string) {
			if e.section.Name = name; !e.off {
				c.Tunnels = append(c.Tunnels, e.section)
			}
		}, "path")
	case "name":
		readRepeated(r, s, nameOptions, maxNames, func(n Name, name string) {
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
		}, "node")
	case "exit_secret":
		readRepeated(r, s, exitSecretOptions, maxSecrets, func(e ExitSecret, _ string) { c.ExitSecrets = append(c.ExitSecrets, e) }, "node", "secret")
	case "hidden_service", "service_key":
		r.readHidden(c, s)
	case "service":
		if s.Name != "" && s.Name != "service" {
			r.fail(s.Line, "", "section service '%s': there is one, 'service', for the init script; hidden services are sections of type hidden_service", s.Name)
			break
		}
		readSingle(r, s, serviceOptions, new(struct{}))
	case "lan":
		r.readLAN(c, s)
	case "radio":
		r.readRadio(s)
	case "web":
		readSingle(r, s, webOptions, &c.Web)
	default:
		return false
	}
	return true
}

// readSingle reads a section of which there is one.
func readSingle[T any](r *reader, s Section, table []option[T], to *T) {
	known, again := r.single[s.Type]
	if again && known.name != s.Name {
		r.fail(s.Line, "", "a second %s section: there is one, '%s'", s.Type, known.name)
		return
	}
	if !again {
		known = single{s.Name, make(map[string]int)}
		r.single[s.Type] = known
	}
	readOptions(r, s, table, known.seen, to)
}

// single is a section of which there is one.
type single struct {
	name string
	seen map[string]int
}

// readRepeated reads a section of which there may be many, with different names.
func readRepeated[T any](r *reader, s Section, table []option[T], most int, add func(T, string), required ...string) {
	var value T
	seen := make(map[string]int)
	readOptions(r, s, table, seen, &value)
	for _, name := range required {
		if _, ok := seen[name]; !ok {
			r.fail(s.Line, name, "missing in this %s", s.Type)
			return
		}
	}
	r.count[s.Type]++
	name := s.Name
	if name == "" {
		name = fmt.Sprintf("%s%d", s.Type, r.count[s.Type])
	}
	key := s.Type + " " + strings.ToLower(name)
	if first, twice := r.lines[key]; twice {
		r.fail(s.Line, "", "a second %s '%s', first on line %d", s.Type, name, first)
		return
	}
	r.lines[key] = s.Line
	if r.count[s.Type] > most {
		r.fail(s.Line, "", "more than %d sections of type %s", most, s.Type)
		return
	}
	add(value, name)
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

// setProxyPath takes the hops of a path to internet, as they follow the listener.
func setProxyPath(_ *reader, c *enabled[Proxy], v string) error {
	spec, err := path.Parse("1>" + v)
	if err != nil {
		return err
	}
	if !spec.Internet() {
		return fmt.Errorf("%q ends at a target: want hops and internet, such as rand>rand>rand>internet; a tunnel leads to one target", v)
	}
	c.section.Path = v
	return nil
}

func setTunnelPath(_ *reader, c *enabled[Tunnel], v string) error {
	spec, err := path.Parse(v)
	if err != nil {
		return err
	}
	if spec.Internet() {
		return fmt.Errorf("%q leads to the internet: want a target such as example.org:80; a proxy section leads everywhere", v)
	}
	c.section.Path = v
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
	list := []Section{
		shown("onion", "onion", onionOptions, &c.Onion),
		shown("exit", "exit", exitOptions, &c.Exit),
	}
	for _, p := range c.Proxies {
		list = append(list, shown("proxy", p.Name, proxyOptions, &enabled[Proxy]{section: p}))
	}
	for _, t := range c.Tunnels {
		list = append(list, shown("tunnel", t.Name, tunnelOptions, &enabled[Tunnel]{section: t}))
	}
	for _, n := range c.Names {
		list = append(list, shown("name", "", nameOptions, &n))
	}
	for _, e := range c.ExitSecrets {
		list = append(list, shown("exit_secret", "", exitSecretOptions, &e))
	}
	return append(list, c.hiddenFile()...)
}

func shown[T any](typ, name string, table []option[T], of *T) Section {
	s := Section{Type: typ, Name: name}
	for _, o := range table {
		for _, v := range o.get(of) {
			s.Options = append(s.Options, Option{Name: o.name, Value: v, List: o.list})
		}
	}
	return s
}

// compareOptions says which options of a section differ, by their names.
func compareOptions[T any](d *Diff, section string, table []option[T], from, to *T) {
	for _, o := range table {
		if slices.Equal(o.get(from), o.get(to)) {
			continue
		}
		if o.live {
			d.Live = append(d.Live, section+"."+o.name)
		} else {
			d.Restart = append(d.Restart, section+"."+o.name)
		}
	}
}

// compareOnion adds what a reload changes of the onion.
func (d *Diff) compareOnion(from, to *Config) {
	compareOptions(d, "onion", onionOptions, &from.Onion, &to.Onion)
	compareOptions(d, "exit", exitOptions, &from.Exit, &to.Exit)
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
	compareOptions(d, "web", webOptions, &from.Web, &to.Web)
}
