// Package topology reads the text that describes a lab: routers, hosts, radios,
// wires, uplinks. docs/lab.md describes the format for people.
//
// A Topology is plain data; whoever holds it owns it.
package topology

import (
	"globalnet/lab/medium"
)

// Internet is the name of the node that stands for the internet.
const Internet = "internet"

// Bounds of what a description may ask for.
const (
	MaxNodes   = 250
	MaxEdges   = 20000
	MaxWires   = 2000
	MaxUplinks = 60
	MaxOptions = 1000
)

// Kind of a node.
type Kind uint8

const (
	Router Kind = iota // runs the agent
	Host               // an empty namespace
	Client             // a LAN device behind a router
)

func (k Kind) String() string { return [...]string{"router", "host", "client"}[k] }

// Node is one namespace.
type Node struct {
	Name   string
	Kind   Kind
	Router string // of a client: whose LAN it is in
	Placed bool
	X, Y   float64
}

// Edge lets one node hear another over a radio channel.
type Edge struct {
	From, To string
	Channel  int
	Quality  medium.Quality
}

// Wire is an Ethernet cable between two nodes or, with a name, a segment with several.
type Wire struct {
	Name  string
	Nodes []string
}

// NAT says what is between a site and the internet.
type NAT string

const (
	NATNone      NAT = ""          // a public address
	NATCone      NAT = "cone"      // keeps ports where it can: hole punching works
	NATSymmetric NAT = "symmetric" // another port for each destination: defeats hole punching
)

// Uplink connects the nodes of one site to the internet, behind one NAT box if there is NAT.
type Uplink struct {
	Nodes []string
	NAT   NAT
}

// Option is a line of a router's configuration. Node "*" stands for all routers.
type Option struct {
	Node, Name, Value string
}

// Peer makes To an internet peer of From.
type Peer struct {
	From, To string
}

// Topology is a parsed description.
type Topology struct {
	Seed         uint64
	Nodes        []Node
	Edges        []Edge
	Reach        float64 // 0: positions mean nothing
	ReachChannel int
	ReachQuality medium.Quality
	Wires        []Wire
	Uplinks      []Uplink
	Peers        []Peer
	Options      []Option
}

// DefaultChannel is the radio channel where none is named.
const DefaultChannel = 1

// Node finds a node by name.
func (t *Topology) Node(name string) (Node, bool) {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// Routers lists the names of the nodes that run an agent.
func (t *Topology) Routers() []string {
	var names []string
	for _, n := range t.Nodes {
		if n.Kind == Router {
			names = append(names, n.Name)
		}
	}
	return names
}

// Channels lists the radio channels of a node, in the order of their first mention.
func (t *Topology) Channels(name string) []int {
	var channels []int
	add := func(c int) {
		for _, have := range channels {
			if have == c {
				return
			}
		}
		channels = append(channels, c)
	}
	for _, e := range t.Edges {
		if e.From == name || e.To == name {
			add(e.Channel)
		}
	}
	if n, _ := t.Node(name); n.Placed && t.Reach > 0 {
		add(t.ReachChannel)
	}
	return channels
}
