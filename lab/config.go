package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"globalnet/lab/topology"
)

// agentPort is where agents listen for signalling.
const agentPort = 18245

// ConfigPath is the router's configuration file.
func (n *Node) ConfigPath() string { return filepath.Join(n.dir, "globalnet.conf") }

// writeConfig writes the router's configuration file and returns its path.
func (n *Node) writeConfig() (string, error) {
	text, err := n.config()
	if err != nil {
		return "", err
	}
	path := n.ConfigPath()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("configuration of %s: %w", n.Name, err)
	}
	return path, nil
}

// config is the router's configuration in UCI syntax.
func (n *Node) config() (string, error) {
	if _, err := n.ID(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("config globalnet 'main'\n")
	option := func(kind, name, value string) { fmt.Fprintf(&b, "\t%s %s '%s'\n", kind, name, value) }
	option("option", "identity", filepath.Join(n.dir, "identity.key"))
	option("option", "state_dir", filepath.Join(n.dir, "state"))
	option("option", "socket", n.socket())
	t := n.lab.Topology
	own := map[string]bool{}
	for _, o := range t.Options {
		own[o.Name] = own[o.Name] || o.Node == n.Name || o.Node == "*"
	}
	if !own["interface"] {
		option("list", "interface", "radio*")
		option("list", "interface", "wire-*")
	}
	// An option for this router beats one for all; "interface" and other lists add up.
	// What has a dot is an option of another section.
	var others []string
	sections := map[string]*strings.Builder{}
	for _, o := range t.Options {
		write, name := option, o.Name
		if section, inner, ok := strings.Cut(o.Name, "."); ok {
			text := sections[section]
			if text == nil {
				text = new(strings.Builder)
				sections[section] = text
				others = append(others, section)
			}
			name = inner
			write = func(kind, name, value string) { fmt.Fprintf(text, "\t%s %s '%s'\n", kind, name, value) }
		}
		switch {
		case o.Node != n.Name && o.Node != "*":
		case listOptions[name]:
			write("list", name, o.Value)
		case o.Node == "*" && overridden(t.Options, n.Name, o.Name):
		default:
			write("option", name, o.Value)
		}
	}
	for _, p := range t.Peers {
		if p.From != n.Name {
			continue
		}
		to := n.lab.byName[p.To]
		id, err := to.ID()
		if err != nil {
			return "", err
		}
		address, ok := n.lab.PublicAddress(p.To)
		if !ok {
			return "", fmt.Errorf("peer %s of %s has no public address", p.To, n.Name)
		}
		b.WriteString("\nconfig peer\n")
		option("option", "node", id.String())
		option("option", "address", fmt.Sprintf("%s:%d", address, agentPort))
	}
	for _, section := range others {
		if text := sections[section].String(); text != "" {
			typ, name, ok := strings.Cut(section, ":") // hidden_service:web.port is of section web
			if !ok {
				name = typ
			}
			fmt.Fprintf(&b, "\nconfig %s '%s'\n%s", typ, name, text)
		}
	}
	return b.String(), nil
}

// listOptions are the options that may be set several times.
var listOptions = map[string]bool{
	"interface": true, "exclude": true, "rule": true, "allow_private": true, "serve_port": true, "family": true,
	"port": true, "client": true,
}

func overridden(options []topology.Option, node, name string) bool {
	for _, o := range options {
		if o.Node == node && o.Name == name {
			return true
		}
	}
	return false
}
