package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"globalnet/lab"
)

// Yggdrasil is yggdrasil as it configures itself, kept to the wires. It finds
// its neighbours by multicast, encrypts each link (TLS over TCP) and the traffic
// from end to end, and has a TUN with an MTU of 65535.
type Yggdrasil struct{}

func (Yggdrasil) Name() string { return "yggdrasil" }

func (Yggdrasil) Check() error { return check("yggdrasil") }

// Prepare makes a key and a configuration for each router.
func (Yggdrasil) Prepare(ctx context.Context, l *lab.Lab) (Mesh, error) {
	program, err := find("yggdrasil")
	if err != nil {
		return nil, err
	}
	d := newDaemons(l, "yggdrasil")
	for _, n := range l.Routers() {
		out, err := n.Exec(ctx, program, "-genconf", "-json")
		if err != nil {
			return nil, err
		}
		config, err := yggdrasilConfig(out)
		if err != nil {
			return nil, fmt.Errorf("configuration of yggdrasil: %w", err)
		}
		path := filepath.Join(n.Dir(), "yggdrasil.conf")
		if err := os.WriteFile(path, config, 0o600); err != nil {
			return nil, err
		}
		out, err = n.Exec(ctx, program, "-useconffile", path, "-address")
		if err != nil {
			return nil, err
		}
		if d.address[n.Name], err = netip.ParseAddr(string(bytes.TrimSpace(out))); err != nil {
			return nil, fmt.Errorf("address of yggdrasil on %s: %w", n.Name, err)
		}
		d.command[n.Name] = []string{program, "-useconffile", path}
	}
	return d, nil
}

// yggdrasilConfig keeps a generated configuration to the wires of the lab.
func yggdrasilConfig(generated []byte) ([]byte, error) {
	var config map[string]any
	if err := json.Unmarshal(generated, &config); err != nil {
		return nil, err
	}
	multicast, _ := config["MulticastInterfaces"].([]any)
	for _, m := range multicast {
		if m, ok := m.(map[string]any); ok {
			m["Regex"] = "wire-.*"
		}
	}
	config["AdminListen"] = "none"
	return json.Marshal(config)
}
