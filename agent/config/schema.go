package config

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed reference.uci
var reference string

// SectionInfo says what a section may have, for who edits a configuration by a form.
type SectionInfo struct {
	Type    string       `json:"type"`
	Name    string       `json:"name"` // that it usually has
	Many    bool         `json:"many"` // more of them may be added
	Help    string       `json:"help"`
	Options []OptionInfo `json:"options"`
}

// OptionInfo is an option of a section.
type OptionInfo struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`    // text, number, bool, choice, secret
	Choices []string `json:"choices"` // of kind choice
	List    bool     `json:"list"`
	Secret  bool     `json:"secret"`
	Live    bool     `json:"live"` // holds at once; else after a restart
	Default []string `json:"default"`
	Example []string `json:"example"`
	Help    string   `json:"help"`
}

// kinds of options that are not of kind text, by section and option.
var kinds = map[string]string{
	"bool": " peer.enabled onion.enabled onion.relay exit.inside proxy.enabled proxy.isolate_destination proxy.wait tunnel.enabled" +
		" hidden_service.enabled hidden_service.listing hidden_service.restricted hidden_service.single_hop hidden_service.work" +
		" lan.enabled lan.dns lan.udp lan.block_doh lan.mesh service.enabled service.jail service.manage_firewall service.manage_dns service.manage_wireless" +
		" radio.enabled web.enabled web.public_status web.metrics ",
	"number": " globalnet.listen_port globalnet.console_port globalnet.max_neighbours globalnet.hello_interval globalnet.update_interval onion.hops onion.min_hops" +
		" onion.rate onion.burst onion.quota exit.serve_port exit.connections exit.rate exit.burst exit.quota hidden_service.points" +
		" lan.client_rate service.memlimit service.gc service.maxprocs radio.channel ",
	"secret": " globalnet.passphrase onion.family exit.secret exit_secret.secret ",
}

// choices are the values of options that have few.
var choices = map[string][]string{
	"globalnet.log_level": {"debug", "info", "warn", "error"},
	"globalnet.wireguard": {string(WireGuardAuto), string(WireGuardKernel), string(WireGuardUser)},
	"globalnet.memory":    {string(MemoryAuto), string(MemorySmall), string(MemoryLarge)},
	"globalnet.dht":       {string(DHTFull), string(DHTClient), string(DHTOff)},
	"exit.policy":         {"none", "web", "reduced", "all"},
	"lan.mode":            {string(LANOff), string(LANNames), string(LANAll)},
	"radio.mode":          {"auto", "mesh", "adhoc"},
}

// afterRestart are the types whose options are not all live.
var afterRestart = []string{"globalnet", "onion", "exit", "service", "radio"}

// IsSecret reports whether the values of an option must not be shown.
func IsSecret(section, option string) bool {
	return strings.Contains(kinds["secret"], " "+section+"."+option+" ")
}

// Schema says what a configuration may have: the table of options with the words of
// reference.uci.
var Schema = sync.OnceValue(func() []SectionInfo {
	c, proxy, service, on := Default(), DefaultProxy, newService(), true
	tables := map[string][]OptionInfo{
		"globalnet": infos(mainOptions(&c)), "onion": infos(onionOptions(&c.Onion)), "exit": infos(exitOptions(&c.Exit)),
		"proxy": infos(proxyOptions(&proxy, &on)), "tunnel": infos(tunnelOptions(new(Tunnel), &on)), "name": required(nameOptions(new(Name))),
		"exit_secret": required(exitSecretOptions(new(ExitSecret))), "hidden_service": infos(hiddenServiceOptions(&service, &on)),
		"service_key": required(serviceKeyOptions(new(ServiceKey))), "lan": infos(lanOptions(new(LAN), &on)), "web": infos(webOptions(&c.Web)),
		"service": infos(serviceOptions), "radio": infos(radioOptions),
		"peer": {{Name: "node"}, {Name: "address", List: true}, {Name: "enabled", Default: []string{"1"}}},
	}
	list := readSchema()
	for i := range list {
		s := &list[i]
		s.Many = !slices.Contains([]string{"globalnet", "onion", "exit", "service", "web"}, s.Type)
		for _, o := range tables[s.Type] {
			words, ok := s.option(o.Name)
			if !ok {
				s.Options = append(s.Options, o)
				words = &s.Options[len(s.Options)-1]
			}
			words.List, words.Live, words.Default = o.List, o.Live || !slices.Contains(afterRestart, s.Type), orNone(o.Default)
			words.Kind, words.Choices, words.Secret = kindOf(s.Type+"."+o.Name), orNone(choices[s.Type+"."+o.Name]), IsSecret(s.Type, o.Name)
			if slices.Equal(words.Default, words.Example) {
				words.Example = []string{}
			}
		}
	}
	return list
})

func orNone(list []string) []string { return append([]string{}, list...) }

func infos(table []option) (list []OptionInfo) {
	for _, o := range table {
		list = append(list, OptionInfo{Name: o.name, List: o.list, Live: o.live, Default: o.shown})
	}
	return list
}

// required is infos for options without defaults.
func required(table []option) []OptionInfo {
	list := infos(table)
	for i := range list {
		list[i].Default = nil
	}
	return list
}

func kindOf(option string) string {
	if choices[option] != nil {
		return "choice"
	}
	for kind, of := range kinds {
		if strings.Contains(of, " "+option+" ") {
			return kind
		}
	}
	return "text"
}

func (s *SectionInfo) option(name string) (*OptionInfo, bool) {
	i := slices.IndexFunc(s.Options, func(o OptionInfo) bool { return o.Name == name })
	if i < 0 {
		return nil, false
	}
	return &s.Options[i], true
}

// readSchema takes the sections, their options and the comments above each.
func readSchema() (list []SectionInfo) {
	var help []string
	for line := range strings.Lines(reference) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "# "); ok {
			help = append(help, text)
			continue
		}
		keyword, rest, _ := strings.Cut(strings.TrimPrefix(line, "#"), " ")
		name, value, _ := strings.Cut(rest, " ")
		value = strings.Trim(value, "'")
		switch keyword {
		case "config":
			list = append(list, SectionInfo{Type: name, Name: value, Help: strings.Join(help, " "), Options: []OptionInfo{}})
		case "option", "list":
			s := &list[len(list)-1]
			o, again := s.option(name)
			if !again {
				s.Options = append(s.Options, OptionInfo{Name: name, Help: strings.Join(help, " "), Example: []string{}})
				o = &s.Options[len(s.Options)-1]
			}
			o.Example = append(o.Example, value)
			if again {
				continue
			}
		}
		if keyword == "" || keyword == "config" {
			help = nil
		}
	}
	return list
}
