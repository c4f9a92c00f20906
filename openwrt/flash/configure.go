package flash

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"globalnet/openwrt"
	"globalnet/openwrt/uci"
)

const passphraseFile = "/etc/globalnet/passphrase"

// edits are what is written into the agent's configuration; what that means for the
// files of others, `globalnet setup` decides on the router, and here beforehand.
type edits struct {
	lines []edit
	give  []openwrt.Give // radios
	setUp bool
	say   []string // in words
}

// edit is a line of `uci batch`. Without an option the value is the section's type;
// an empty value removes the option.
type edit struct{ command, section, option, value string }

func (e *edits) add(command, section, option, value string) {
	e.lines = append(e.lines, edit{command, section, option, value})
}

func (e *edits) set(section, option, value string) { e.add("set", section, option, value) }

func (e *edits) sayf(format string, args ...any) { e.say = append(e.say, fmt.Sprintf(format, args...)) }

func (e *edits) empty() bool { return len(e.lines) == 0 && !e.setUp }

// batch is what `uci batch` gets.
func (e *edits) batch() string {
	var b strings.Builder
	for _, l := range e.lines {
		if l.option == "" {
			fmt.Fprintf(&b, "set globalnet.%s=%s\n", l.section, l.value)
		} else {
			fmt.Fprintf(&b, "%s globalnet.%s.%s='%s'\n", l.command, l.section, l.option, l.value)
		}
	}
	b.WriteString("commit globalnet\n")
	return b.String()
}

// write does the same to a copy.
func (e *edits) write(f *uci.File) error {
	for _, l := range e.lines {
		var err error
		switch {
		case l.option == "":
			err = f.AddSection(l.value, l.section)
		case l.value == "":
			f.Delete(l.section, l.option)
		case l.command == "add_list":
			err = f.AddList(l.section, l.option, l.value)
		default:
			err = f.Set(l.section, l.option, l.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	sectionFormat = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,31}$`)
	plainFormat   = regexp.MustCompile(`^[A-Za-z0-9 ._:/,@#+-]{1,200}$`)
)

// check judges what does not depend on the router.
func (o *Options) validate() error {
	if o.Network != "" && (len(o.Network) > 64 || !plainFormat.MatchString(o.Network)) {
		return fmt.Errorf("--network %q: 1 to 64 letters, digits and . _ - : / , @ # +", o.Network)
	}
	if n := len(o.Passphrase); n > 0 && (n < 8 || n > 256 || strings.ContainsAny(string(o.Passphrase), "\r\n\x00")) {
		return errors.New("the passphrase: 8 to 256 bytes, in one line")
	}
	if o.LAN != "" && !slices.Contains([]string{"names", "all", "off"}, o.LAN) {
		return fmt.Errorf("--lan %q: names, all or off", o.LAN)
	}
	if o.MeshRadio != "" && !sectionFormat.MatchString(o.MeshRadio) {
		return fmt.Errorf("--mesh-radio %q: auto, or a name such as radio0", o.MeshRadio)
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
		e.set("main", "", "globalnet")
	}
	if o.Network != "" {
		e.set("main", "network", o.Network)
		e.sayf("the neighbourhood is %q", o.Network)
	}
	if len(o.Passphrase) > 0 {
		e.set("main", "passphrase", "")
		e.set("main", "passphrase_file", passphraseFile)
		e.sayf("its passphrase is in %s", passphraseFile)
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
		e.set(name, "", "hidden_service")
		e.set(name, "port", "") // anew, not one more
		e.add("add_list", name, "port", port)
		e.sayf("the service %q: port %s", name, port)
	}
	return e, nil
}

func (o *Options) lan(r *Router, e *edits) error {
	if len(r.LAN) == 0 {
		return &Failure{Kind: Refused, Err: errors.New("the router has no network named lan"), Advice: "Leave --lan out, and name the interfaces in a section lan of /etc/config/globalnet."}
	}
	e.set("lan", "", "lan")
	e.set("lan", "mode", o.LAN)
	e.set("lan", "interface", "")
	for _, ifname := range r.LAN {
		if !plainFormat.MatchString(ifname) {
			return fmt.Errorf("an interface named %q", ifname)
		}
		e.add("add_list", "lan", "interface", ifname)
	}
	e.setUp = true
	e.sayf("clients of %s: %s", strings.Join(r.LAN, " "), map[string]string{
		"names": "names below gnet.alt lead into the network, the rest is as before",
		"all":   "everything goes through circuits, and what cannot is dropped",
		"off":   "nothing changes for them",
	}[o.LAN])
	return nil
}
