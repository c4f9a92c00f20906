package control

import (
	"context"
	"net/http"
	"net/netip"
)

// LAN is the edge to the LAN as the API shows and steers it.
type LAN interface {
	Status() LANStatus
	// Off removes the rules of the firewall until the next reload or start.
	Off() error
}

// LANStatus is what LAN clients use of this node.
type LANStatus struct {
	Off      bool              `json:"off"`   // the owner has switched it off, until a reload
	Error    string            `json:"error"` // why the rules are not in place
	Networks []LANNetwork      `json:"networks"`
	Clients  []LANClient       `json:"clients"` // with connections now
	Names    int               `json:"names"`   // that have addresses
	Streams  int               `json:"streams"` // connections now
	Flows    int               `json:"flows"`   // of datagrams, now
	Restored uint64            `json:"restored"`
	Blocked  map[string]uint64 `json:"blocked"` // packets, by reason
	Counters map[string]uint64 `json:"counters"`
}

// LANNetwork is a network of the configuration.
type LANNetwork struct {
	Name       string   `json:"name"`
	Interfaces []string `json:"interfaces"`
	Mode       string   `json:"mode"`
	DNS        bool     `json:"dns"` // the clients' DNS comes here
	UDP        bool     `json:"udp"`
	Mesh       bool     `json:"mesh"`
	Clients    []string `json:"clients"` // with modes of their own
}

// LANClient is a device of a LAN.
type LANClient struct {
	Addr    netip.Addr `json:"addr"`
	Streams int        `json:"streams"`
}

// lanAgent is an Agent that may have a LAN edge.
type lanAgent interface{ LAN() LAN }

// lan serves what ask returns.
func (a api) lan(ask func(l LAN) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		with, ok := a.agent.(lanAgent)
		if !ok {
			fail(w, http.StatusConflict, Error{Code: "lan_off", Message: "this agent has no LAN edge"})
			return
		}
		v, err := ask(with.LAN())
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

func lanStatus(l LAN) (any, error) { return lanOf(l), nil }

func lanOf(l LAN) LANStatus {
	s := l.Status()
	s.Networks, s.Clients = orEmpty(s.Networks), orEmpty(s.Clients)
	return s
}

func lanOff(l LAN) (any, error) { return struct{}{}, l.Off() }

// LAN asks for the state of the LAN edge.
func (c *Client) LAN(ctx context.Context) (LANStatus, error) {
	var s LANStatus
	return s, c.call(ctx, http.MethodGet, "/v1/lan", nil, &s)
}

// LANOff has clients' traffic leave as it is, until the next reload or start.
func (c *Client) LANOff(ctx context.Context) error {
	var none struct{}
	return c.call(ctx, http.MethodPost, "/v1/lan/off", nil, &none)
}
