package config

import (
	"fmt"
	"slices"
	"strings"
)

// Diff says what a reload changes.
type Diff struct {
	Live    []string `json:"live"`    // options applied at once
	Restart []string `json:"restart"` // options that hold only after a restart
	Added   []Peer   `json:"-"`       // peers that are new or have other addresses
	Removed []Peer   `json:"-"`       // peers that are gone or have other addresses
}

// Empty reports whether nothing changes.
func (d Diff) Empty() bool {
	return len(d.Live) == 0 && len(d.Restart) == 0 && len(d.Added) == 0 && len(d.Removed) == 0
}

// Compare returns what is to be done to get from one configuration to another.
func Compare(from, to Config) Diff {
	var d Diff
	d.compareOptions("", mainOptions(&from), mainOptions(&to))
	if !from.Passphrase.Equal(to.Passphrase) && !slices.Contains(d.Restart, "passphrase") {
		d.Restart = append(d.Restart, "passphrase")
	}
	d.Removed = missing(from.Peers, to.Peers)
	d.Added = missing(to.Peers, from.Peers)
	if len(d.Added)+len(d.Removed) > 0 {
		d.Live = append(d.Live, "peer")
	}
	d.compareOnion(&from, &to)
	d.compareLAN(&from, &to)
	return d
}

// missing returns the peers of a that b does not have just so.
func missing(a, b []Peer) []Peer {
	var out []Peer
	for _, p := range a {
		if !slices.ContainsFunc(b, func(q Peer) bool {
			return p.Node == q.Node && slices.Equal(p.Addresses, q.Addresses)
		}) {
			out = append(out, p)
		}
	}
	return out
}

// WithLive returns running with the live options and peers of next; what needs
// a restart stays as it is.
func WithLive(running, next Config) Config {
	running.Interfaces, running.Exclude = next.Interfaces, next.Exclude
	running.LogLevel = next.LogLevel
	running.MaxNeighbours = next.MaxNeighbours
	running.HelloInterval, running.UpdateInterval = next.HelloInterval, next.UpdateInterval
	running.Peers = next.Peers
	on := running.Onion.Enabled
	running.Onion, running.Exit = next.Onion, next.Exit
	running.Onion.Enabled = on
	running.Proxies, running.Tunnels, running.Names, running.ExitSecrets = next.Proxies, next.Tunnels, next.Names, next.ExitSecrets
	running.Services, running.ServiceKeys = next.Services, next.ServiceKeys
	running.LANs = next.LANs
	running.Web = next.Web
	return running
}

// File returns the configuration in full as a UCI file, secrets hidden.
func (c *Config) File() File {
	f := File{Sections: []Section{shown("globalnet", "main", mainOptions(c))}}
	for _, p := range c.Peers {
		s := Section{Type: "peer", Options: []Option{{Name: "node", Value: p.Node.String()}}}
		for _, a := range p.Addresses {
			s.Options = append(s.Options, Option{Name: "address", Value: a.String(), List: true})
		}
		f.Sections = append(f.Sections, s)
	}
	f.Sections = append(f.Sections, c.onionFile()...)
	f.Sections = append(f.Sections, c.lanFile()...)
	f.Sections = append(f.Sections, shown("web", "web", webOptions(&c.Web)))
	return f
}

// String names the configuration without its content.
func (d Diff) String() string {
	if d.Empty() {
		return "no change"
	}
	var parts []string
	if len(d.Live) > 0 {
		parts = append(parts, "applied: "+strings.Join(d.Live, ", "))
	}
	if len(d.Restart) > 0 {
		parts = append(parts, fmt.Sprintf("after a restart: %s", strings.Join(d.Restart, ", ")))
	}
	return strings.Join(parts, "; ")
}
