package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"globalnet/internal/identity"
)

// maxPeers bounds the peer sections of a file.
const maxPeers = 1000

// Paths on a router (DESIGN: the agent's files).
const (
	rootStateDir = "/etc/globalnet"
	rootSocket   = "/var/run/globalnet/globalnet.sock"
	keyName      = "identity.key"
	socketName   = "globalnet.sock"
)

// maxSocketPath is what struct sockaddr_un holds, less the final zero.
const maxSocketPath = 107

// reader turns sections into a Config and gathers what is wrong with them.
type reader struct {
	file       string
	dir        string // where relative paths start
	passphrase string // the option that gave it
	seen       map[string]int
	warnings   []*Problem
	errs       []error

	single  map[string]single // sections of which there is one, by type
	count   map[string]int    // of sections by type
	lines   map[string]int    // of sections that may be repeated, by type and name
	proxies bool              // there was a proxy section, even one without effect
}

// maxProblems bounds what is said about one file.
const maxProblems = 50

func (r *reader) warn(line int, option, format string, args ...any) {
	if len(r.warnings) == maxProblems {
		return
	}
	r.warnings = append(r.warnings, &Problem{r.file, line, option, fmt.Sprintf(format, args...)})
}

func (r *reader) fail(line int, option, format string, args ...any) {
	if len(r.errs) == maxProblems {
		return
	}
	r.errs = append(r.errs, &Problem{r.file, line, option, fmt.Sprintf(format, args...)})
}

func (r *reader) abs(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(r.dir, name)
}

func (r *reader) read(f File) Config {
	c := Config{
		Network:        DefaultNetwork,
		ListenPort:     DefaultListenPort,
		PortRange:      DefaultPortRange,
		LogLevel:       slog.LevelInfo,
		WireGuard:      WireGuardAuto,
		Memory:         MemoryAuto,
		DHT:            DHTFull,
		MaxNeighbours:  DefaultMaxNeighbours,
		HelloInterval:  DefaultHelloInterval,
		UpdateInterval: DefaultUpdateInterval,

		Onion: defaultOnion(),
		Exit:  defaultExit(),
		Web:   defaultWeb(),
	}
	r.seen = make(map[string]int)
	r.single, r.count, r.lines = make(map[string]single), make(map[string]int), make(map[string]int)
	mainName, mains := "", 0
	for _, s := range f.Sections {
		switch s.Type {
		case "globalnet":
			if mains++; mains > 1 && s.Name != mainName {
				r.fail(s.Line, "", "a second globalnet section: there is one, 'main'")
				continue
			}
			mainName = s.Name
			r.readOptions(s, mainOptions(&c), r.seen)
		case "peer":
			r.readPeer(&c, s)
		default:
			if !r.readSection(&c, s) {
				r.warn(s.Line, "", "section type %q is not known and has no effect%s", s.Type, nearest(s.Type, sectionTypes))
			}
		}
	}
	r.defaults(&c)
	r.cross(&c)
	r.crossOnion(&c)
	return c
}

// readOptions reads the options of a section into what table is bound to. Seen has the lines of
// options of an earlier section of the same name, and is added to.
func (r *reader) readOptions(s Section, table []option, seen map[string]int) {
	for _, o := range s.Options {
		i := slices.IndexFunc(table, func(known option) bool { return known.name == o.Name })
		if i < 0 {
			r.warn(o.Line, o.Name, "not a known option%s, has no effect%s", of(s.Type), nearest(o.Name, names(table)))
			continue
		}
		known := table[i]
		if !known.list {
			if o.List {
				r.fail(o.Line, o.Name, "has one value: write option, not list")
				continue
			}
			if first, twice := seen[o.Name]; twice {
				r.fail(o.Line, o.Name, "given twice, first on line %d", first)
				continue
			}
		}
		seen[o.Name] = o.Line
		for _, v := range values(o, known.list) {
			if err := known.set(r, v); err != nil {
				r.fail(o.Line, o.Name, "%v", err)
			}
		}
	}
}

// of says of which section an option is, where there is more than one type with options.
func of(section string) string {
	if section == "globalnet" {
		return ""
	}
	return " of " + section
}

// values splits an option that is used as a list, as UCI's own readers do.
func values(o Option, list bool) []string {
	if list && !o.List {
		return strings.Fields(o.Value)
	}
	return []string{o.Value}
}

func (r *reader) readPeer(c *Config, s Section) {
	var p Peer
	enabled := true
	seen := make(map[string]int)
	for _, o := range s.Options {
		if first, twice := seen[o.Name]; twice && o.Name != "address" {
			r.fail(o.Line, o.Name, "given twice, first on line %d", first)
			continue
		}
		seen[o.Name] = o.Line
		var err error
		switch o.Name {
		case "node":
			p.Node, err = identity.ParseNodeID(o.Value)
		case "address":
			for _, v := range values(o, true) {
				var a Address
				if a, err = ParseAddress(v); err != nil {
					break
				}
				p.Addresses = append(p.Addresses, a)
			}
		case "enabled":
			enabled, err = parseBool(o.Value)
		default:
			r.warn(o.Line, o.Name, "not a known option of a peer, has no effect%s", nearest(o.Name, peerOptions))
		}
		if err != nil {
			r.fail(o.Line, o.Name, "%v", err)
		}
	}
	if _, ok := seen["node"]; !ok {
		r.fail(s.Line, "node", "missing in this peer: want the NodeID that `globalnet key show` prints there")
	}
	if _, ok := seen["address"]; !ok {
		r.fail(s.Line, "address", "missing in this peer: want at least one host:port")
	}
	if !enabled || p.Node.IsZero() {
		return
	}
	if len(p.Addresses) > 16 {
		r.fail(s.Line, "address", "%d addresses of one peer: at most 16", len(p.Addresses))
		return
	}
	if slices.ContainsFunc(c.Peers, func(q Peer) bool { return q.Node == p.Node }) {
		r.fail(s.Line, "node", "%s is in an earlier peer section: list all its addresses there", p.Node)
		return
	}
	if len(c.Peers) == maxPeers {
		r.fail(s.Line, "", "more than %d peers", maxPeers)
		return
	}
	c.Peers = append(c.Peers, p)
}

// parseBool knows the words that OpenWrt's config_get_bool knows.
func parseBool(v string) (bool, error) {
	switch v {
	case "1", "on", "true", "yes", "enabled":
		return true, nil
	case "0", "off", "false", "no", "disabled":
		return false, nil
	}
	return false, fmt.Errorf("%q: want 1 or 0", v)
}

// defaults fills in what depends on other options: the paths, and the interfaces
// to leave out, which hold only while the owner names none.
func (r *reader) defaults(c *Config) {
	stateGiven := c.StateDir != ""
	if !stateGiven {
		c.StateDir = defaultStateDir()
	}
	if c.Identity == "" {
		c.Identity = filepath.Join(c.StateDir, keyName)
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(c.StateDir, socketName)
		if !stateGiven && os.Geteuid() == 0 {
			c.Socket = rootSocket
		}
	}
	if len(c.Interfaces) == 0 {
		c.Interfaces = []string{"*"}
		if len(c.Exclude) == 0 {
			c.Exclude = slices.Clone(defaultExclude)
		}
	}
}

func defaultStateDir() string {
	if os.Geteuid() == 0 {
		return rootStateDir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "globalnet")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "globalnet")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("globalnet-%d", os.Geteuid()))
}

// cross checks what concerns several options.
func (r *reader) cross(c *Config) {
	if p := c.PortRange; c.ListenPort >= p.First && c.ListenPort <= p.Last {
		r.fail(r.seen["listen_port"], "listen_port", "%d is inside port_range %s", c.ListenPort, p)
	}
	if c.UpdateInterval < c.HelloInterval {
		r.fail(r.seen["update_interval"], "update_interval", "%v is shorter than hello_interval, %v", c.UpdateInterval, c.HelloInterval)
	}
	if n := len(c.Socket); n > maxSocketPath {
		r.fail(r.seen["socket"], "socket", "path of %d bytes, a Unix socket has at most %d: set a shorter one", n, maxSocketPath)
	}
}

func readSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a plain file", name)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("others can read %s (mode %04o): chmod 600 it", name, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	text = bytes.TrimRight(text, "\r\n")
	if bytes.ContainsAny(text, "\r\n\x00") {
		return "", errors.New("passphrase file has more than one line")
	}
	return string(text), nil
}

func names(table []option) []string {
	names := make([]string, len(table))
	for i, o := range table {
		names[i] = o.name
	}
	return names
}

// nearest suggests the known name that was probably meant.
func nearest(name string, known []string) string {
	best, bestDistance := "", 3+len(name)/8
	for _, k := range known {
		if d := editDistance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance counts insertions, deletions and replacements (Levenshtein) in
// the first 64 bytes.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
