package flash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"globalnet/openwrt"
	"globalnet/openwrt/guard"
	"globalnet/openwrt/uci"
)

// Radios, zones and names are set up by `globalnet setup` on the router, once the
// agent is there. What it will do is planned here before anything changes, by the same
// code on a copy of the router's configuration.

// configScript prints each configuration after a line with its name and size.
var configScript = "cd /etc/config && for f in " + strings.Join(guard.Configs, " ") + `; do [ -f "$f" ] && echo "$f $(wc -c <"$f")" && cat "$f"; done; exit 0`

// fetchConfigs returns the configurations by name.
func fetchConfigs(ctx context.Context, c *conn) (map[string][]byte, error) {
	var out limited
	if err := c.stream(ctx, configScript, nil, &out); err != nil {
		return nil, err
	}
	all := make(map[string][]byte)
	for rest := out.Bytes(); len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		name, size, _ := strings.Cut(string(line), " ")
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || n < 0 || n > len(after) || !slices.Contains(guard.Configs, name) {
			return nil, errors.New("reading the router's configuration: it did not arrive whole")
		}
		all[name], rest = after[:n], after[n:]
	}
	return all, nil
}

// planSetup decides which radio joins the mesh, and finds what would not go.
func (s *session) planSetup(ctx context.Context) error {
	if s.o.MeshRadio == "" && !s.edits.setUp {
		return nil
	}
	configs, err := fetchConfigs(ctx, s.conn)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "globalnet-flash-") // 0700: the files hold keys of Wi-Fi
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "etc/config"), 0o700); err != nil {
		return err
	}
	ours, err := uci.Parse(configs["globalnet"])
	if err == nil {
		err = s.edits.write(ours)
	}
	if err != nil {
		return fmt.Errorf("the router's configuration of globalnet: %w", err)
	}
	configs["globalnet"] = ours.Bytes()
	for name, text := range configs {
		if err := os.WriteFile(filepath.Join(dir, "etc/config", name), text, 0o600); err != nil {
			return err
		}
	}
	system := openwrt.OpenFiles(dir)
	system.Board.Board = s.facts.board
	p, err := s.o.setup(system, s.edits)
	if err != nil {
		return err
	}
	for _, air := range p.Air {
		s.edits.sayf("%s; links are encrypted by the agent", air)
	}
	s.edits.say = append(s.edits.say, p.Notes...)
	for _, c := range p.Changes {
		if c.Package != "globalnet" {
			s.report.Changes = append(s.report.Changes, c)
		}
	}
	return nil
}

// setup plans with the radio that was asked for, or for auto the first that has no
// conflict, those with 802.11s before others.
func (o *Options) setup(system *openwrt.System, e *edits) (*openwrt.Plan, error) {
	if o.MeshRadio == "" {
		return system.Setup()
	}
	radios, err := system.Radios()
	if err != nil {
		return nil, refuse(err.Error(), "Look at the configuration of the router.")
	}
	e.setUp = true
	try := func(name string) (*openwrt.Plan, error) {
		e.give = []openwrt.Give{{Radio: name, Channel: o.Channel}}
		return system.Setup(e.give...)
	}
	var names []string
	for _, r := range radios {
		names = append(names, r.Name)
	}
	if o.MeshRadio != "auto" {
		p, err := try(o.MeshRadio)
		if err != nil {
			return nil, noRadio(o.MeshRadio, names, err)
		}
		return p, nil
	}
	var conflicts []error
	for _, mode := range []string{"mesh", "adhoc", ""} {
		for _, r := range radios {
			if r.Known.MeshMode() != mode {
				continue
			}
			p, err := try(r.Name)
			if err == nil {
				return p, nil
			}
			conflicts = append(conflicts, err)
		}
	}
	return nil, noRadio("auto", names, errors.Join(conflicts...))
}

func noRadio(name string, names []string, err error) error {
	why := fmt.Sprintf("there is no radio %q for the mesh", name)
	if err != nil {
		why += ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if len(names) == 0 {
		return refuse(why, "The router has no Wi-Fi configuration; leave --mesh-radio out and connect neighbours by cable.")
	}
	return refuse(why, "Its radios are "+strings.Join(names, ", ")+". --channel names the channel, which all neighbours share.")
}

// setUp has the router do what was planned. It only writes: `apply` has the services
// act on it.
func (s *session) setUp(ctx context.Context) error {
	if !s.edits.setUp {
		return nil
	}
	command := "globalnet setup"
	for _, g := range s.edits.give {
		command = "globalnet radio setup " + g.Radio
		if g.Channel != 0 {
			command += " --channel " + strconv.Itoa(g.Channel)
		}
	}
	out, err := s.conn.run(ctx, command+" --no-reload --json </dev/null", nil)
	if err != nil {
		return fmt.Errorf("setting up radios and names: %w", err)
	}
	var p openwrt.Plan
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		return fmt.Errorf("setting up radios and names: %w", err)
	}
	if s.o.MeshRadio != "" {
		for _, air := range p.Air {
			s.air = append(s.air, air.Ifname)
		}
	}
	return nil
}
