package openwrt

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"globalnet/mesh/kernel/air"
	"globalnet/openwrt/uci"
)

// Names of our sections. The zone of the links is made at installation as well.
const (
	linkZone = prefix
	airZone  = prefix + "_air"
	airRule  = prefix + "_air_nd"
	light    = prefix + "_led"
)

// Plan is what would be changed, and what the owner should know of it.
type Plan struct {
	Changes []Change `json:"changes"`
	Notes   []string `json:"notes,omitempty"`
	Air     []OnAir  `json:"air,omitempty"` // interfaces that are there afterwards

	files files
}

// Change is one line of difference.
type Change struct {
	Package string `json:"package"`
	Old     string `json:"old,omitempty"` // as `uci show` prints it; empty: new
	New     string `json:"new,omitempty"` // empty: removed
}

// OnAir is an interface of ours on a radio.
type OnAir struct {
	Radio   string `json:"radio"`
	Section string `json:"section"`
	Ifname  string `json:"ifname"`
	Mode    string `json:"mode"`
	Channel int    `json:"channel"`
}

func (o OnAir) String() string {
	return fmt.Sprintf("%s: %s on channel %d, interface %s", o.Radio, o.Mode, o.Channel, o.Ifname)
}

// packages are those that change.
func (p *Plan) packages() (names []string) {
	for _, c := range p.Changes {
		if !slices.Contains(names, c.Package) {
			names = append(names, c.Package)
		}
	}
	return names
}

// Setup plans what the agent's configuration asks for, with more radios given.
// Conflicts of radios are joined in the error.
func (s *System) Setup(gives ...Give) (*Plan, error) {
	return s.plan(func(fs files, p *Plan) error {
		for _, g := range gives {
			if err := fs.give(g); err != nil {
				return err
			}
		}
		return s.setUp(fs, fs.wish(), p)
	})
}

// TakeBack plans to give a radio back to its owner.
func (s *System) TakeBack(radio string) (*Plan, error) {
	return s.plan(func(fs files, p *Plan) error {
		if typ, _ := fs["globalnet"].Type(radio); typ != "radio" {
			return fmt.Errorf("%s was not given to the mesh", radio)
		}
		p.Notes = append(p.Notes, fs.restore(radio)...)
		fs["globalnet"].DeleteSection(radio)
		return s.setUp(fs, fs.wish(), p)
	})
}

// Cleanup plans to remove all that is ours from the files of others. The owner's
// wishes in our own stay, for a later Setup.
func (s *System) Cleanup() (*Plan, error) {
	return s.plan(func(fs files, p *Plan) error {
		for _, sec := range fs["globalnet"].Sections() {
			if sec.Type == "radio" && sec.Name != "" {
				p.Notes = append(p.Notes, fs.restore(sec.Name)...)
			}
		}
		for name, f := range fs {
			if name != "globalnet" {
				keepOnly(f.File, nil)
			}
		}
		return fs.names(false)
	})
}

func (s *System) plan(change func(files, *Plan) error) (*Plan, error) {
	fs, err := s.open()
	if err != nil {
		return nil, err
	}
	before := make(map[string]*uci.File)
	for name, f := range fs {
		if before[name], err = uci.Parse(f.Bytes()); err != nil {
			return nil, err
		}
	}
	p := &Plan{files: fs}
	if err := change(fs, p); err != nil {
		return nil, err
	}
	for _, name := range packages {
		if fs[name] != nil {
			p.Changes = append(p.Changes, difference(name, before[name], fs[name].File)...)
		}
	}
	return p, nil
}

// section is a section of ours as it is to be.
type section struct {
	typ, name string
	options   []string // name, value, …
	lists     []string
}

func (s *System) setUp(fs files, w wish, p *Plan) error {
	wanted := make(map[string][]section)
	radios := s.radios(fs)
	var conflicts []error
	for i, g := range w.radios {
		at := slices.IndexFunc(radios, func(r Radio) bool { return r.Name == g.name })
		if at < 0 {
			conflicts = append(conflicts, &Conflict{g.name, "/etc/config/wireless has no such radio" + known(radios)})
			continue
		}
		a, err := decide(radios[at], g)
		if err != nil {
			conflicts = append(conflicts, err)
			continue
		}
		p.Notes = append(p.Notes, a.notes...)
		n, ok := number(g.name)
		if !ok || n > 99 {
			n = i
		}
		o := OnAir{g.name, prefix + "_" + g.name, ifnamePrefix + strconv.Itoa(n), a.mode, a.channel}
		if slices.ContainsFunc(p.Air, func(other OnAir) bool { return other.Ifname == o.Ifname }) {
			o.Ifname = ifnamePrefix + strconv.Itoa(100+i)
		}
		p.Air = append(p.Air, o)
		wanted["wireless"] = append(wanted["wireless"], wifi(o, g))
		wanted["network"] = append(wanted["network"], section{"interface", o.Section, []string{"proto", "none"}, nil})
		if err := fs.tune(radios[at], o); err != nil {
			return err
		}
		if note, err := fs.listen(o); err != nil {
			return err
		} else if note != "" {
			p.Notes = append(p.Notes, note)
		}
	}
	if len(conflicts) > 0 {
		return errors.Join(conflicts...)
	}
	for _, sec := range fs["globalnet"].Sections() {
		if sec.Type == "radio" && sec.Name != "" && !slices.ContainsFunc(w.radios, func(g given) bool { return g.name == sec.Name }) {
			p.Notes = append(p.Notes, fs.restore(sec.Name)...) // taken back by hand
		}
	}
	if w.firewall {
		wanted["firewall"] = zones(p.Air)
		// Made at installation; one that the owner removed does not come back.
		if _, ok := typeOf(fs, "firewall", linkZone); ok {
			wanted["firewall"] = append(wanted["firewall"], section{typ: "zone", name: linkZone})
		}
	}
	if w.led != "" && len(p.Air) > 0 {
		wanted["system"] = []section{{"led", light, []string{
			"name", "GlobalNet", "sysfs", w.led, "trigger", "netdev", "dev", p.Air[0].Ifname, "mode", "link tx rx",
		}, nil}}
	}
	for name, f := range fs {
		if name == "globalnet" {
			continue
		}
		if err := write(f.File, wanted[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return fs.names(w.names)
}

func known(radios []Radio) string {
	var names []string
	for _, r := range radios {
		names = append(names, r.Name)
	}
	if names == nil {
		return "; it has none at all"
	}
	return "; it has " + strings.Join(names, ", ")
}

func typeOf(fs files, name, ref string) (string, bool) {
	if fs[name] == nil {
		return "", false
	}
	return fs[name].Type(ref)
}

// wifi is the interface on the air: open, since every link is encrypted, and
// without the routing of 802.11s, which would hide from Babel who is how near.
func wifi(o OnAir, g given) section {
	options := []string{"device", o.Radio, "ifname", o.Ifname, "network", o.Section, "mode", o.Mode, "encryption", "none"}
	if o.Mode == "mesh" {
		options = append(options, "mesh_id", g.meshID, "mesh_fwding", "0", "mesh_nolearn", "1", "mcast_rate", "12000")
	} else {
		options = append(options, "ssid", g.meshID, "bssid", air.CellBSSID.String(), "mcast_rate", "6000")
	}
	return section{"wifi-iface", o.Section, options, nil}
}

// zones is the zone of the open air: the rules of the service let in what makes
// links, nothing else comes in and nothing passes.
func zones(all []OnAir) []section {
	if len(all) == 0 {
		return nil
	}
	z := section{"zone", airZone, []string{"name", "gnair", "input", "REJECT", "output", "ACCEPT", "forward", "REJECT"}, []string{"network"}}
	for _, o := range all {
		z.lists = append(z.lists, o.Section)
	}
	// Without it nobody finds an address there: to the kernel's connection tracking
	// these belong to no connection, and the zone would reject them.
	discovery := section{"rule", airRule, []string{
		"name", "GlobalNet: neighbour discovery", "src", "gnair", "proto", "icmp", "family", "ipv6", "limit", "1000/sec", "target", "ACCEPT",
	}, []string{"icmp_type", "neighbour-solicitation", "neighbour-advertisement"}}
	return []section{z, discovery}
}

// write makes the sections of ours in a file what they are to be. An option that
// we do not know is the owner's, and stays.
func write(f *uci.File, wanted []section) error {
	keepOnly(f, wanted)
	for _, w := range wanted {
		if err := f.AddSection(w.typ, w.name); err != nil {
			return err
		}
		for _, old := range []string{"mesh_id", "mesh_fwding", "mesh_nolearn", "ssid", "bssid"} {
			if w.typ == "wifi-iface" && !slices.Contains(w.options, old) {
				f.Delete(w.name, old)
			}
		}
		for i := 0; i < len(w.options); i += 2 {
			if err := f.Set(w.name, w.options[i], w.options[i+1]); err != nil {
				return err
			}
		}
		if len(w.lists) > 0 {
			if err := f.SetList(w.name, w.lists[0], w.lists[1:]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepOnly removes the sections of ours that are not wanted.
func keepOnly(f *uci.File, wanted []section) {
	for _, sec := range f.Sections() {
		if (sec.Name == prefix || strings.HasPrefix(sec.Name, prefix+"_")) &&
			!slices.ContainsFunc(wanted, func(w section) bool { return w.name == sec.Name }) {
			f.DeleteSection(sec.Name)
		}
	}
}

// listen has the agent look for neighbours on the interface, if its owner named
// the interfaces one by one.
func (fs files) listen(o OnAir) (note string, err error) {
	ours := fs["globalnet"]
	main := ""
	for _, sec := range ours.Sections() {
		if sec.Type == "globalnet" {
			main = sec.Ref
		}
	}
	matches := func(list string) bool {
		return slices.ContainsFunc(ours.List(main, list), func(pattern string) bool {
			ok, _ := path.Match(pattern, o.Ifname)
			return ok
		})
	}
	if main != "" && matches("exclude") {
		return fmt.Sprintf("%s: %s is excluded in globalnet.main.exclude: no neighbours are found there", o.Radio, o.Ifname), nil
	}
	if main == "" || len(ours.List(main, "interface")) == 0 || matches("interface") {
		return "", nil
	}
	if err := ours.AddList(main, "interface", o.Ifname); err != nil {
		return "", err
	}
	return "", fs.remember(o.Radio, "globalnet."+main+".interface", "", o.Ifname)
}

// names has dnsmasq ask the agent for the zone, and takes its answers, which are
// private addresses, or undoes that.
func (fs files) names(wanted bool) error {
	dhcp := fs["dhcp"]
	if dhcp == nil {
		return nil
	}
	for _, sec := range dhcp.Sections() {
		if sec.Type != "dnsmasq" {
			continue
		}
		for _, v := range dhcp.List(sec.Ref, "server") {
			if strings.HasPrefix(v, "/"+Zone+"/") && (!wanted || v != "/"+Zone+"/"+Resolver) {
				dhcp.RemoveList(sec.Ref, "server", v)
			}
		}
		if !wanted {
			dhcp.RemoveList(sec.Ref, "rebind_domain", Zone)
			continue
		}
		if err := dhcp.AddList(sec.Ref, "server", "/"+Zone+"/"+Resolver); err != nil {
			return err
		}
		if err := dhcp.AddList(sec.Ref, "rebind_domain", Zone); err != nil {
			return err
		}
	}
	return nil
}

// difference lists what two files say differently.
func difference(name string, before, after *uci.File) (changes []Change) {
	old, now := shown(name, before), shown(name, after)
	for _, l := range old {
		if !slices.Contains(now, l) {
			changes = append(changes, Change{Package: name, Old: l})
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			changes = append(changes, Change{Package: name, New: l})
		}
	}
	return changes
}

// shown is a file as `uci show` prints it, a line for each value of a list.
func shown(name string, f *uci.File) (lines []string) {
	for _, s := range f.Sections() {
		lines = append(lines, name+"."+s.Ref+"="+s.Type)
		for _, o := range f.Options(s.Ref) {
			for _, v := range f.List(s.Ref, o) {
				lines = append(lines, name+"."+s.Ref+"."+o+"="+strconv.Quote(v))
			}
		}
	}
	return lines
}
