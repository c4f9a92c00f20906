package flash

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// meshName is the section of the mesh in the configurations of wireless and
// network, and its interface.
const meshName = "gnmesh0"

const (
	passphraseFile = "/etc/globalnet/passphrase"
	undoFile       = "/etc/globalnet/flash.undo"
	dnsServer      = "/gnet.alt/127.0.0.1#18320"
)

// edits are the lines for `uci batch`, and those that undo what no removal of a
// section does.
type edits struct {
	lines, undo []string
	say         []string // in words
}

func (e *edits) set(name, value string) {
	e.lines = append(e.lines, fmt.Sprintf("set %s='%s'", name, value))
}

func (e *edits) sayf(format string, args ...any) { e.say = append(e.say, fmt.Sprintf(format, args...)) }

var (
	sectionFormat = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,31}$`)
	refFormat     = regexp.MustCompile(`^@?[A-Za-z0-9_-]+(\[[0-9]+\])?$`) // a name, or @type[index]
	plainFormat   = regexp.MustCompile(`^[A-Za-z0-9 ._:/,@#+-]{1,200}$`)
)

// check judges what does not depend on the router.
func (o *Options) validate() error {
	if o.Network != "" && (len(o.Network) > 64 || !plainFormat.MatchString(o.Network)) {
		return fmt.Errorf("--network %q: 1 to 64 letters, digits and . _ - : / , @ # +", o.Network)
	}
	if o.MeshRadio != "" && len(o.network()) > 32 {
		return errors.New("--network: a radio shows at most 32 bytes of it")
	}
	if n := len(o.Passphrase); n > 0 && (n < 8 || n > 256 || strings.ContainsAny(string(o.Passphrase), "\r\n\x00")) {
		return errors.New("the passphrase: 8 to 256 bytes, in one line")
	}
	if o.LAN != "" && !slices.Contains([]string{"names", "all", "off"}, o.LAN) {
		return fmt.Errorf("--lan %q: names, all or off", o.LAN)
	}
	if o.Channel < 0 || o.Channel > 233 {
		return fmt.Errorf("--channel %d", o.Channel)
	}
	for _, s := range o.Services {
		if _, _, err := parseService(s); err != nil {
			return err
		}
	}
	switch {
	case o.Remove && o.Image != "":
		return errors.New("--remove and --image exclude each other")
	case (o.Remove || o.Image != "") && o.configures():
		return errors.New("--remove and --image configure nothing")
	}
	return nil
}

func (o *Options) network() string {
	if o.Network == "" {
		return "globalnet"
	}
	return o.Network
}

func (o *Options) configures() bool {
	return o.MeshRadio != "" || o.LAN != "" || o.Network != "" || len(o.Passphrase) > 0 || len(o.Services) > 0
}

// parseService reads NAME=PORT,TARGET.
func parseService(s string) (name, port string, err error) {
	name, rest, _ := strings.Cut(s, "=")
	number, target, ok := strings.Cut(rest, ",")
	if n, convErr := strconv.ParseUint(number, 10, 16); !ok || convErr != nil || n == 0 || !sectionFormat.MatchString(name) ||
		!plainFormat.MatchString(target) || slices.Contains([]string{"main", "lan", "service", "dht", "onion", "exit"}, name) {
		return "", "", fmt.Errorf("--service %q: want NAME=PORT,TARGET, such as web=80,/srv/www or shell=22,127.0.0.1:22", s)
	}
	return name, number + " " + target, nil
}

// edits says what of the configuration changes on a router.
func (o *Options) edits(r *Router) (*edits, error) {
	e := new(edits)
	if o.Network != "" || len(o.Passphrase) > 0 {
		e.lines = append(e.lines, "set globalnet.main=globalnet")
	}
	if o.Network != "" {
		e.set("globalnet.main.network", o.Network)
		e.sayf("the neighbourhood is %q", o.Network)
	}
	if len(o.Passphrase) > 0 {
		e.set("globalnet.main.passphrase", "")
		e.set("globalnet.main.passphrase_file", passphraseFile)
		e.sayf("its passphrase is in %s", passphraseFile)
	}
	if o.MeshRadio != "" {
		if err := o.meshRadio(r, e); err != nil {
			return nil, err
		}
	}
	if o.LAN != "" {
		if err := o.lan(r, e); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Services {
		name, port, err := parseService(s)
		if err != nil {
			return nil, err
		}
		e.lines = append(e.lines, "set globalnet."+name+"=hidden_service")
		e.set("globalnet."+name+".port", "") // anew, not one more
		e.lines = append(e.lines, fmt.Sprintf("add_list globalnet.%s.port='%s'", name, port))
		e.sayf("the service %q: port %s", name, port)
	}
	return e, nil
}

func (o *Options) radio(r *Router) (*RadioFact, error) {
	var names []string
	for i := range r.Radios {
		d := &r.Radios[i]
		names = append(names, d.Name)
		if d.Name == o.MeshRadio || o.MeshRadio == "auto" && d.Mode == "mesh" {
			return d, nil
		}
	}
	if o.MeshRadio == "auto" && len(r.Radios) > 0 {
		for i := range r.Radios {
			if r.Radios[i].Mode == "adhoc" {
				return &r.Radios[i], nil
			}
		}
		if !r.Known { // nobody knows better
			return &r.Radios[0], nil
		}
	}
	why := fmt.Errorf("there is no radio %q for the mesh", o.MeshRadio)
	if len(names) == 0 {
		return nil, &Failure{Kind: Refused, Err: why, Advice: "The router has no Wi-Fi configuration; leave --mesh-radio out and connect neighbours by cable."}
	}
	return nil, &Failure{Kind: Refused, Err: why, Advice: "Its radios are " + strings.Join(names, ", ") + "."}
}

// channels are those on which radios of a band meet if nobody chose one.
var channels = map[string]string{"2g": "1", "5g": "36", "6g": "5"}

func (o *Options) meshRadio(r *Router, e *edits) error {
	d, err := o.radio(r)
	if err != nil {
		return err
	}
	if !sectionFormat.MatchString(d.Name) {
		return fmt.Errorf("a radio named %q", d.Name)
	}
	was := func(option, value string) {
		e.undo = append(e.undo, fmt.Sprintf("set wireless.%s='%s'", option, value))
	}
	channel := d.Channel
	if o.Channel != 0 {
		channel = strconv.Itoa(o.Channel)
	} else if channel == "auto" || channel == "" {
		if channel = channels[d.Band]; channel == "" {
			return &Failure{Kind: Refused, Err: fmt.Errorf("%s has no fixed channel, and does not say its band", d.Name), Advice: "Name the channel with --channel; all neighbours need the same."}
		}
	}
	if channel != d.Channel {
		e.set("wireless."+d.Name+".channel", channel)
		was(d.Name+".channel", d.Channel)
	}
	if d.Disabled {
		// With the radio would come up what was never meant to be seen, such as
		// the open access point of a fresh image.
		for _, i := range d.ifaces {
			if i == meshName || !refFormat.MatchString(i) {
				continue
			}
			e.set("wireless."+i+".disabled", "1")
			was(i+".disabled", "")
			e.sayf("the access point %s, off until now with its radio, stays off", i)
		}
		e.set("wireless."+d.Name+".disabled", "0")
		was(d.Name+".disabled", "1")
	}
	mode := "mesh"
	if d.Mode == "adhoc" {
		mode = "adhoc"
	}
	e.lines = append(e.lines, "set network."+meshName+"=interface")
	e.set("network."+meshName+".proto", "none")
	e.lines = append(e.lines, "set wireless."+meshName+"=wifi-iface")
	for _, option := range [][2]string{
		{"device", d.Name}, {"ifname", meshName}, {"network", meshName}, {"mode", mode}, {"encryption", "none"},
	} {
		e.set("wireless."+meshName+"."+option[0], option[1])
	}
	extra := [][2]string{{"mesh_id", o.network()}, {"mesh_fwding", "0"}, {"mesh_nolearn", "1"}, {"mcast_rate", "12000"}}
	if mode == "adhoc" {
		extra = [][2]string{{"ssid", o.network()}, {"bssid", "02:ca:fe:47:4e:01"}, {"mcast_rate", "6000"}}
	}
	for _, option := range extra {
		e.set("wireless."+meshName+"."+option[0], option[1])
	}
	e.sayf("%s joins the mesh (%s, channel %s); links are encrypted by the agent", d.Name, mode, channel)
	return nil
}

func (o *Options) lan(r *Router, e *edits) error {
	if len(r.LAN) == 0 {
		return &Failure{Kind: Refused, Err: errors.New("the router has no network named lan"), Advice: "Leave --lan out, and name the interfaces in a section lan of /etc/config/globalnet."}
	}
	e.lines = append(e.lines, "set globalnet.lan=lan")
	e.set("globalnet.lan.mode", o.LAN)
	e.set("globalnet.lan.interface", "")
	for _, ifname := range r.LAN {
		if !plainFormat.MatchString(ifname) {
			return fmt.Errorf("an interface named %q", ifname)
		}
		e.lines = append(e.lines, fmt.Sprintf("add_list globalnet.lan.interface='%s'", ifname))
	}
	has := slices.Contains(r.dns, dnsServer)
	switch {
	case o.LAN == "names" && !has:
		e.lines = append(e.lines, "add_list dhcp.@dnsmasq[0].server='"+dnsServer+"'", "add_list dhcp.@dnsmasq[0].rebind_domain='gnet.alt'")
	case o.LAN != "names" && has:
		e.lines = append(e.lines, dnsGone...)
	}
	e.sayf("clients of %s: %s", strings.Join(r.LAN, " "), map[string]string{
		"names": "names below gnet.alt lead into the network, the rest is as before",
		"all":   "everything goes through circuits, and what cannot is dropped",
		"off":   "nothing changes for them",
	}[o.LAN])
	return nil
}

var dnsGone = []string{"del_list dhcp.@dnsmasq[0].server='" + dnsServer + "'", "del_list dhcp.@dnsmasq[0].rebind_domain='gnet.alt'"}

// configs are those that may change, each with a commit.
var configs = []string{"wireless", "network", "firewall", "dhcp", "globalnet"}

// batch is what `uci batch` gets.
func batch(lines []string) string {
	all := slices.Clone(lines)
	for _, c := range configs {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, " "+c+".") }) {
			all = append(all, "commit "+c)
		}
	}
	return strings.Join(all, "\n") + "\n"
}
