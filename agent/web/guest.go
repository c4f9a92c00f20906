package web

import (
	"net/http"
	"net/netip"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// What follows is all that guests see: who is there and how well, and nobody's addresses,
// traffic, names or destinations.

type guestNeighbour struct {
	Node  identity.NodeID `json:"node"`
	State string          `json:"state"`
	Class string          `json:"class"`
	Cost  uint16          `json:"cost"`
	Loss  int             `json:"loss"`
	RTT   time.Duration   `json:"rtt_ns"`
	Since time.Duration   `json:"since_ns"`
}

type guestStatus struct {
	Node       identity.NodeID  `json:"node"`
	Address    netip.Addr       `json:"address"`
	Network    string           `json:"network"`
	Uptime     time.Duration    `json:"uptime_ns"`
	Neighbours []guestNeighbour `json:"neighbours"`
}

func guestNeighbours(list []mesh.Neighbour) []guestNeighbour {
	out := []guestNeighbour{}
	for _, n := range list {
		out = append(out, guestNeighbour{n.Node, n.State, n.Class, n.Cost, n.Loss, n.RTT, n.Since})
	}
	return out
}

// mesh asks the agent; where it has no answer, w gets one.
func (s *Server) mesh(w http.ResponseWriter, r *http.Request) (mesh.Status, bool) {
	status, err := s.cfg.Agent.Status(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, control.Error{Code: "unavailable", Message: "the agent is starting or stopping", Hint: "try again"})
	}
	return status, err == nil
}

func (s *Server) guestStatus(w http.ResponseWriter, r *http.Request) {
	if m, ok := s.mesh(w, r); ok {
		answer(w, guestStatus{m.Node, m.Address, m.Network, m.Uptime, guestNeighbours(m.Neighbours)})
	}
}

func (s *Server) guestNeighbours(w http.ResponseWriter, r *http.Request) {
	if m, ok := s.mesh(w, r); ok {
		answer(w, guestNeighbours(m.Neighbours))
	}
}

// guestMap leaves out the names, which are the owner's for his friends.
func (s *Server) guestMap(w http.ResponseWriter, r *http.Request) {
	m, err := s.cfg.Agent.Map(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, control.Error{Code: "unavailable", Message: "the agent is starting or stopping", Hint: "try again"})
		return
	}
	out := control.Map{Nodes: []control.MapNode{}, Links: append([]control.MapLink{}, m.Links...), More: m.More}
	for _, n := range m.Nodes {
		if !n.Self {
			n.Name = ""
		}
		out.Nodes = append(out.Nodes, n)
	}
	answer(w, out)
}

type guestOnion struct {
	Relay    bool   `json:"relay"`
	Exit     string `json:"exit"`
	Relays   int    `json:"relays"`
	Exits    int    `json:"exits"`
	Hops     int    `json:"hops"`
	Carried  int64  `json:"carried"`
	Channels int    `json:"channels"`
}

func (s *Server) guestOnion(w http.ResponseWriter, _ *http.Request) {
	o := s.cfg.Agent.Onion()
	if o == nil {
		fail(w, http.StatusConflict, control.Error{Code: "onion_off", Message: "the onion is switched off"})
		return
	}
	x := o.Status()
	answer(w, guestOnion{x.Relay, x.Exit, x.Relays, x.Exits, x.Hops, x.Carried, x.Channels})
}

type guestLAN struct {
	Off      bool  `json:"off"`
	Networks []LAN `json:"networks"`
}

func (s *Server) guestLAN(w http.ResponseWriter, _ *http.Request) {
	x := s.cfg.Agent.LAN().Status()
	out := guestLAN{Off: x.Off, Networks: []LAN{}}
	for _, n := range x.Networks {
		out.Networks = append(out.Networks, LAN{n.Name, n.Mode})
	}
	answer(w, out)
}
