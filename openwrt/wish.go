package openwrt

import (
	"fmt"
	"slices"
	"strconv"

	"globalnet/mesh/kernel/air"
)

// service is the section of our configuration that says what may be managed.
const service = "service"

// wish is what the agent's configuration asks for.
type wish struct {
	radios   []given
	firewall bool
	names    bool // a LAN gets the names of the zone
	led      string
}

// given is a radio that the owner gave.
type given struct {
	name    string // of the wifi-device
	mode    string // auto, mesh, adhoc
	channel int    // 0: the radio's
	meshID  string
}

func (fs files) wish() wish {
	ours := fs["globalnet"]
	flag := func(ref, name string, otherwise bool) bool {
		v, ok := ours.Get(ref, name)
		return !ok && otherwise || slices.Contains([]string{"1", "on", "true", "yes", "enabled"}, v)
	}
	w := wish{firewall: flag(service, "manage_firewall", true)}
	w.led, _ = ours.Get(service, "led")
	for _, s := range ours.Sections() {
		switch {
		case s.Type == "lan" && flag(s.Ref, "enabled", true):
			mode, _ := ours.Get(s.Ref, "mode")
			w.names = w.names || mode != "off" && flag(service, "manage_dns", true)
		case s.Type == "radio" && s.Name != "" && flag(s.Ref, "enabled", true) && flag(service, "manage_wireless", false):
			g := given{name: s.Name, mode: "auto", meshID: air.MeshID}
			if v, ok := ours.Get(s.Ref, "mode"); ok {
				g.mode = v
			}
			if v, ok := ours.Get(s.Ref, "mesh_id"); ok {
				g.meshID = v
			}
			v, _ := ours.Get(s.Ref, "channel")
			g.channel, _ = strconv.Atoi(v)
			w.radios = append(w.radios, g)
		}
	}
	return w
}

// Give says which radio to give to the mesh, and how; what is zero stays.
type Give struct {
	Radio   string
	Mode    string
	Channel int
}

// give writes it into our configuration.
func (fs files) give(g Give) error {
	ours := fs["globalnet"]
	if err := ours.AddSection("service", service); err != nil {
		return err
	}
	if err := ours.Set(service, "manage_wireless", "1"); err != nil {
		return err
	}
	if err := ours.AddSection("radio", g.Radio); err != nil {
		return fmt.Errorf("giving %s: %w", g.Radio, err)
	}
	if v, ok := ours.Get(g.Radio, "enabled"); ok && v != "1" {
		ours.Delete(g.Radio, "enabled")
	}
	if g.Mode != "" {
		if err := ours.Set(g.Radio, "mode", g.Mode); err != nil {
			return err
		}
	}
	if g.Channel != 0 {
		return ours.Set(g.Radio, "channel", strconv.Itoa(g.Channel))
	}
	return nil
}
