package webfixture

import (
	"fmt"
	"math"
	"strconv"
)

type object = map[string]any

func (s *Server) neighbours() []object {
	list := []object{}
	self := s.Map.Nodes[0].ID
	for i, l := range s.Map.Links {
		other := l.A
		if l.A == self {
			other = l.B
		} else if l.B != self {
			continue
		}
		state := "up"
		if l.Cost >= 65535 {
			state = "failed"
		}
		list = append(list, object{"node": other, "ifname": fmt.Sprintf("gn-%d", i), "state": state, "class": l.Kind, "cost": l.Cost, "loss": i % 7, "rtt_ns": l.RTT, "since_ns": int64(3.6e12) * int64(i%9+1)})
	}
	return list
}

var onion = object{
	"relay": true, "exit": "TCP 80,443", "relays": 171, "exits": 9, "hops": 3, "relaxed": []string{}, "ready": 2, "used": 3, "carried": 14, "streams": 31, "channels": 9,
	"guards": []any{}, "doors": []any{}, "memory": object{},
}

func (s *Server) circuits() []object {
	list := []object{}
	purposes := []string{"general", "stub", "service", "tunnel"}
	for i := range min(4, len(s.Map.Nodes)/4) {
		path := []string{}
		for k := range 3 {
			path = append(path, s.Map.Nodes[(i*3+k*7+1)%len(s.Map.Nodes)].ID)
		}
		list = append(list, object{"id": i + 1, "purpose": purposes[i], "path": path, "age_ns": int64(i+1) * 95e9, "used": i != 1, "closing": i == 3, "streams": 3 * i, "rx_bytes": 1 << (8 * i), "tx_bytes": 900 << (3 * i), "rtt_ns": int64(i+1) * 31e6})
	}
	return list
}

func (s *Server) services() []object {
	return []object{
		{
			"name": "web", "address": s.Map.Nodes[0].ID[:40] + "aaaabbbbccccdddd" + ".gnet.alt", "ports": []object{{"port": 80, "target": "127.0.0.1:8080"}}, "restricted": false, "allowed": 0, "single_hop": false,
			"points": []string{s.Map.Nodes[1].ID, s.Map.Nodes[2].ID}, "published_ns": int64(73e9), "stored": 8, "clients": 3, "streams": 5, "refused": 0,
		},
		{
			"name": "club", "address": "", "ports": []object{{"port": 22, "target": "192.168.1.20:22"}}, "restricted": true, "allowed": 2, "single_hop": false,
			"points": []string{}, "published_ns": -1, "stored": 0, "clients": 0, "streams": 0, "refused": 0, "error": "its key cannot be read: /etc/globalnet/services/club.key is open to others",
		},
	}
}

func (s *Server) lan() object {
	v := object{"off": false, "error": "", "networks": []object{
		{"name": "lan", "interfaces": []string{"br-lan"}, "mode": s.modes["lan"], "dns": true, "udp": false, "mesh": false, "clients": []string{"192.168.1.20=off"}},
		{"name": "guest", "interfaces": []string{"br-guest"}, "mode": s.modes["guest"], "dns": false, "udp": false, "mesh": false, "clients": []string{}},
	}}
	if s.Session.Login {
		v["clients"] = []object{{"addr": "192.168.1.31", "streams": 12}, {"addr": "192.168.1.44", "streams": 2}}
		v["names"], v["streams"], v["flows"], v["blocked"] = 41, 14, 2, map[string]int{"forward": 212, "dot": 9}
	}
	return v
}

func history(neighbour string) object {
	var rx, tx, loss, rtt []int
	for i := range 360 {
		x := float64(i)
		rx = append(rx, int(40000*(1.2+math.Sin(x/17))+float64(i*7919%30000)))
		tx = append(tx, int(9000*(1.2+math.Sin(x/29))+float64(i*104729%9000)))
		loss = append(loss, max(0, i*31%23-18))
		if i > 200 && i < 214 {
			rtt = append(rtt, -1)
		} else {
			rtt = append(rtt, 1400+i*2699%900)
		}
	}
	return object{"neighbour": neighbour, "every_ns": int64(10_000_000_000), "age_ns": int64(3_200_000_000), "rx": rx, "tx": tx, "loss": loss, "rtt_us": rtt}
}

func logLines(after string) object {
	const last = 40
	from, _ := strconv.Atoi(after)
	lines := []object{}
	for n := max(0, from) + 1; n <= last; n++ {
		level, message, attrs := "info", "link is up", object{"neighbour": "k7f3q2xa", "via": "radio0"}
		if n%9 == 4 {
			level, message, attrs = "warn", "a proxy or tunnel is not open; it is tried again", object{"name": "mail", "err": "listen tcp 127.0.0.1:1000: address already in use"}
		} else if n%4 == 2 {
			level, message, attrs = "debug", "path chosen again", object{"neighbour": "k7f3q2xa"}
		}
		lines = append(lines, object{"n": n, "time": stamp(n * 7), "level": level, "message": message, "attrs": attrs})
	}
	return object{"first": 1, "last": last, "lines": lines}
}

const configuration = `{"writable": true, "pending": null,
"sections": [
 {"ref": "main", "type": "globalnet", "name": "main", "options": {"network": ["our-street"], "passphrase": ["set"], "exclude": ["br-*", "docker*"]}},
 {"ref": "exit", "type": "exit", "name": "exit", "options": {"policy": ["web"], "rule": ["accept *.example.org:443"]}},
 {"ref": "@peer[0]", "type": "peer", "name": "", "options": {"node": ["hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb"], "address": ["192.0.2.1:18245"]}},
 {"ref": "lan", "type": "lan", "name": "lan", "options": {"interface": ["br-lan"], "mode": ["names"]}}],
"types": [
 {"type": "globalnet", "name": "main", "many": false, "help": "The node and its links.", "options": [
  {"name": "network", "kind": "text", "list": false, "secret": false, "live": false, "default": ["globalnet"], "example": [], "help": "The name of the neighbourhood, 1 to 64 bytes. Routers link only with routers of the same name and passphrase."},
  {"name": "passphrase", "kind": "secret", "list": false, "secret": true, "live": false, "default": [], "example": [], "help": "Makes the neighbourhood private: 8 to 256 bytes."},
  {"name": "exclude", "kind": "text", "list": true, "secret": false, "live": true, "default": ["br-*", "docker*", "veth*"], "example": [], "help": "Interfaces to leave out although they match."},
  {"name": "max_neighbours", "kind": "number", "list": false, "secret": false, "live": true, "default": ["32"], "example": [], "help": "Most neighbours at a time, 1 to 1000."},
  {"name": "memory", "kind": "choice", "choices": ["auto", "small", "large"], "list": false, "secret": false, "live": false, "default": ["auto"], "example": [], "help": "Size of buffers."}]},
 {"type": "onion", "name": "onion", "many": false, "help": "The onion: anonymous circuits through other nodes.", "options": [
  {"name": "relay", "kind": "bool", "list": false, "secret": false, "live": true, "default": ["1"], "example": [], "help": "Carry circuits of others inside the network."},
  {"name": "hops", "kind": "number", "list": false, "secret": false, "live": true, "default": ["3"], "example": [], "help": "Relays of a circuit, 1 to 8."}]},
 {"type": "exit", "name": "exit", "many": false, "help": "What circuits that end here may reach.", "options": [
  {"name": "policy", "kind": "choice", "choices": ["none", "web", "reduced", "all"], "list": false, "secret": false, "live": true, "default": ["none"], "example": [], "help": "The internet."},
  {"name": "rule", "kind": "text", "list": true, "secret": false, "live": true, "default": [], "example": ["accept *.example.org:443"], "help": "Rules before the policy."}]},
 {"type": "peer", "name": "", "many": true, "help": "A node to reach over the internet.", "options": [
  {"name": "node", "kind": "text", "list": false, "secret": false, "live": true, "default": [], "example": ["hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb"], "help": "Its NodeID."},
  {"name": "address", "kind": "text", "list": true, "secret": false, "live": true, "default": [], "example": ["node.example.org:18245"], "help": "Where it listens."}]},
 {"type": "lan", "name": "lan", "many": true, "help": "Clients of a LAN use the network with nothing installed.", "options": [
  {"name": "mode", "kind": "choice", "choices": ["off", "names", "all"], "list": false, "secret": false, "live": true, "default": ["names"], "example": [], "help": "names: names below gnet.alt lead to services and nodes, the rest is as before."},
  {"name": "interface", "kind": "text", "list": true, "secret": false, "live": true, "default": [], "example": ["br-lan"], "help": "The interfaces of the LAN."}]}
]}`
