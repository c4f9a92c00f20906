package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"globalnet/internal/identity"
)

// Status is the part of an agent's status (mesh.Status) that the lab shows and
// waits for. The lab talks to agents as any program would, through their socket.
type Status struct {
	Node       identity.NodeID   `json:"node"`
	Address    netip.Addr        `json:"address"`
	Uptime     time.Duration     `json:"uptime_ns"`
	Neighbours []Neighbour       `json:"neighbours"`
	Routes     []Route           `json:"routes"`
	Counters   map[string]uint64 `json:"counters"`
}

// Neighbour is a link of the agent.
type Neighbour struct {
	Node     identity.NodeID `json:"node"`
	Ifname   string          `json:"ifname"`
	State    string          `json:"state"`
	Class    string          `json:"class"`
	Endpoint string          `json:"endpoint"`
	Via      string          `json:"via"`
	Cost     uint16          `json:"cost"`
	RTT      time.Duration   `json:"rtt_ns"`
	RxBytes  uint64          `json:"rx_bytes"`
	TxBytes  uint64          `json:"tx_bytes"`
}

// Route is a route of the agent.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Ifname      string       `json:"ifname"`
	Neighbour   string       `json:"neighbour"`
	Metric      uint16       `json:"metric"`
	Selected    bool         `json:"selected"`
}

// maxStatus bounds what is read from an agent.
const maxStatus = 64 << 20

// Socket is the path of the agent's control socket.
func (n *Node) Socket() string { return n.socket() }

// Status asks the router's agent.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.socket())
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/status", nil)
	if err != nil {
		return s, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return s, fmt.Errorf("asking the agent of %s: %w", n.Name, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("asking the agent of %s: %s", n.Name, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("status of %s: %w", n.Name, err)
	}
	return s, nil
}
