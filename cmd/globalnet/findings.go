package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"globalnet/agent/control"
)

// state is how well a thing is.
type state string

const (
	fine state = "ok"
	warn state = "warn"
	bad  state = "bad"
	note state = "-" // it cannot be said, or is not wanted
)

// finding is what the doctor says about one thing.
type finding struct {
	Subject string `json:"subject"`
	State   state  `json:"state"` // "ok", "warn", "bad", "-"
	Text    string `json:"text"`
	Next    string `json:"next,omitempty"` // what to do
}

// Below these a router soon has trouble.
const (
	leastFree   = 128 << 10 // bytes of flash: a state file, its successor, and some more
	leastMemory = 8 << 20   // bytes
)

// diagnose judges what was seen, the causes before the consequences.
func diagnose(h history) []finding {
	list := []finding{h.aboutConfig(), h.aboutTUN(), h.aboutIPv6(), h.aboutFirewall()}
	list = append(list, h.aboutRadios()...)
	list = append(list, h.aboutFlash(), h.aboutMemory(), h.aboutAgent())
	if h.status == nil {
		return list
	}
	v := judge(*h.status)
	f := finding{"neighbours", fine, v.Text, v.Next}
	if v.Word != "working" {
		f.State = bad
	}
	list = append(list, f, h.aboutClock())
	list = append(list, h.aboutTable(), h.aboutOnion())
	list = append(list, h.aboutServices()...)
	return append(list, h.aboutLAN()...)
}

func (h *history) aboutConfig() finding {
	if h.configErr != nil {
		return finding{"configuration", bad, h.configErr.Error(), "Mend the line; `globalnet config check` judges the file, `globalnet reload` takes it into use."}
	}
	return finding{"configuration", fine, fmt.Sprintf("network %q", h.config.Network), ""}
}

func (h *history) aboutTUN() finding {
	switch {
	case h.tun == nil:
		return finding{"kernel", fine, "TUN is there", ""}
	case errors.Is(h.tun, fs.ErrPermission) && !h.root:
		return finding{"kernel", note, "only root may open /dev/net/tun", ""}
	}
	return finding{"kernel", warn, "no TUN: " + h.tun.Error(), "Only WireGuard in the kernel can carry links. On OpenWrt: install kmod-tun or kmod-wireguard."}
}

func (h *history) aboutIPv6() finding {
	if h.noIPv6 {
		return finding{"IPv6", bad, "IPv6 is switched off in the kernel", "Addresses of the mesh are of IPv6: sysctl -w net.ipv6.conf.all.disable_ipv6=0, and take it out of /etc/sysctl.d."}
	}
	return finding{"IPv6", fine, "on", ""}
}

func (h *history) aboutFirewall() finding {
	switch {
	case !h.root:
		return finding{"firewall", note, "only root sees it", ""}
	case len(h.drops) == 0:
		return finding{"firewall", fine, "nothing is dropped by default", ""}
	case h.openwrt && h.zone:
		return finding{"firewall", fine, "the rules of `globalnet setup` are there", ""}
	case h.openwrt:
		return finding{"firewall", bad, "it drops what no rule accepts, and there is no rule for neighbours", "Run `globalnet setup`: it adds a zone and what neighbours need."}
	}
	p := h.config.PortRange
	return finding{"firewall", warn, "it drops what no rule accepts: " + strings.Join(h.drops, ", "),
		fmt.Sprintf("Let TCP %d and UDP %d, %d-%d, 5353 in on the interfaces of neighbours, and everything on gn-*.", h.config.ListenPort, h.config.ListenPort, p.First, p.Last)}
}

func (h *history) aboutRadios() []finding {
	var list []finding
	ours := 0
	for _, r := range h.radios {
		for _, u := range r.Uses {
			if !u.Ours || u.Disabled {
				continue
			}
			ours++
			if r.Disabled {
				list = append(list, finding{"radio " + r.Name, bad, "it is in the mesh, but switched off", "uci set wireless." + r.Name + ".disabled=0; uci commit wireless; wifi reload"})
			} else {
				list = append(list, finding{"radio " + r.Name, fine, "in the mesh, channel " + r.Channel, ""})
			}
		}
	}
	if len(h.radios) > 0 && ours == 0 {
		f := finding{"radios", warn, "no radio is in the mesh", "Give it one: globalnet radio setup " + h.radios[0].Name}
		for _, name := range slices.Sorted(maps.Keys(h.conflict)) {
			f.Text += "; " + name + ": " + h.conflict[name]
		}
		list = append(list, f)
	}
	return list
}

func (h *history) aboutFlash() finding {
	f := finding{"flash", fine, fmt.Sprintf("%s free for state files", byteCount(h.free)), ""}
	switch {
	case h.spaceErr != nil:
		f.State, f.Text = note, "free space is not known: "+h.spaceErr.Error()
	case h.readOnly:
		f.State, f.Text = bad, h.config.StateDir+" cannot be written"
		f.Next = "The key and what is remembered get lost at a restart. In failsafe mode: mount_root. A full or worn flash shows in `logread`."
	case h.free < leastFree:
		f.State, f.Next = bad, "Remove packages or files: `df -h` shows where they are."
	}
	return f
}

func (h *history) aboutMemory() finding {
	f := finding{"memory", fine, fmt.Sprintf("%s of %s available", byteCount(h.memory), byteCount(h.memoryFull)), ""}
	switch {
	case h.memoryFull == 0:
		f.State, f.Text = note, "not known"
	case h.memory < leastMemory:
		f.State, f.Next = warn, "Set option memory to small, dht to client, and leave out what this router does not need."
	}
	return f
}

func (h *history) aboutAgent() finding {
	switch {
	case h.status != nil:
		return finding{"agent", fine, "running for " + duration(h.status.Uptime), ""}
	case errors.Is(h.statusErr, control.ErrNotRunning):
		next := "Start it: globalnet run"
		if h.openwrt {
			next = "Start it: service globalnet start; `logread -e globalnet` says why it ended."
		}
		return finding{"agent", bad, "it is not running", next}
	}
	return finding{"agent", bad, "it does not answer: " + h.statusErr.Error(), "Root may ask it; for another user give its --socket."}
}

func (h *history) aboutClock() finding {
	c := h.status.Clock
	switch {
	case h.clockSet:
		return finding{"clock", fine, "set", ""}
	case c == nil:
		return finding{"clock", note, "nobody has set it", ""}
	case c.Source == "free":
		return finding{"clock", warn, "nobody in reach knows the time", "The mesh works without. Hidden services work among nodes that agree; one node with NTP sets all."}
	}
	return finding{"clock", fine, "mesh time from neighbours", ""}
}

func (h *history) aboutTable() finding {
	switch {
	case h.dht == nil:
		return finding{"hash table", note, "switched off", ""}
	case h.dht.Problem != "":
		return finding{"hash table", bad, h.dht.Problem, "See who has the port: ss -lunp"}
	case h.dht.CutOff:
		return finding{"hash table", warn, "no contact answers", "It goes on trying. If neighbours are up, their firewall may drop UDP 18246 on gn-*."}
	}
	return finding{"hash table", fine, count(h.dht.Contacts, "contact"), ""}
}

func (h *history) aboutOnion() finding {
	o := h.onion
	switch {
	case o == nil:
		return finding{"onion", note, "switched off", ""}
	case o.Relays < o.Hops:
		return finding{"onion", warn, fmt.Sprintf("%s known, %d wanted for a circuit", count(o.Relays, "relay"), o.Hops), "Circuits are shorter until more nodes are in reach: they hide less."}
	case o.Ready+o.Used == 0:
		return finding{"onion", warn, "no circuit is built", "Wait some seconds; then `globalnet onion` shows guards and errors."}
	case o.Exits == 0:
		return finding{"onion", fine, fmt.Sprintf("%s, %s; no exit to the internet is known", count(o.Relays, "relay"), count(o.Ready+o.Used, "circuit")), ""}
	}
	return finding{"onion", fine, fmt.Sprintf("%s, %s, %s", count(o.Relays, "relay"), count(o.Exits, "exit"), count(o.Ready+o.Used, "circuit")), ""}
}

func (h *history) aboutServices() []finding {
	var list []finding
	for _, s := range h.services {
		switch {
		case s.Error != "":
			list = append(list, finding{"service " + s.Name, bad, s.Error, "`globalnet service list` shows more."})
		case s.Published < 0:
			list = append(list, finding{"service " + s.Name, warn, "not published yet", "It takes some seconds once circuits are there."})
		default:
			list = append(list, finding{"service " + s.Name, fine, fmt.Sprintf("published on %s, %s", count(s.Stored, "node"), count(s.Clients, "client")), ""})
		}
	}
	return list
}

func (h *history) aboutLAN() []finding {
	switch {
	case h.lan == nil || len(h.lan.Networks) == 0:
		return []finding{{"LAN", note, "no network of the LAN uses this node", ""}}
	case h.lan.Off:
		return []finding{{"LAN", warn, "the owner has switched it off", "globalnet reload"}}
	case h.lan.Error != "":
		return []finding{{"LAN", bad, h.lan.Error, "`globalnet lan status` shows more; kmod-nft-tproxy carries datagrams."}}
	}
	var modes []string
	for _, n := range h.lan.Networks {
		modes = append(modes, n.Name+" "+n.Mode)
	}
	list := []finding{{"LAN", fine, strings.Join(modes, ", "), ""}}
	if h.names != nil {
		list = append(list, finding{"names", bad, "the router's DNS server does not know names of the network: " + h.names.Error(), "On OpenWrt: globalnet setup. Elsewhere: server=/gnet.alt/127.0.0.1#18320 for dnsmasq."})
	} else if h.lan.Networks[0].Mode != "off" {
		list = append(list, finding{"names", fine, "the router's DNS server knows names of the network", ""})
	}
	return list
}
