package agent

import (
	"sort"

	"globalnet/agent/control"
	"globalnet/agent/firewall"
)

// The methods below are control.LAN.

// Status returns what LAN clients use of this node.
func (e *lanEdge) Status() control.LANStatus {
	dns, server := e.dns.Stats(), e.server.Stats()
	names, evicted := e.pool.Len()
	s := control.LANStatus{Networks: []control.LANNetwork{}, Clients: []control.LANClient{}, Names: names, Streams: server.Open, Flows: server.Flows,
		Restored: e.firewall.Restored(), Blocked: map[string]uint64{}, Counters: map[string]uint64{
			"lan_dns_queries_total": dns.Queries, "lan_dns_malformed_total": dns.Malformed, "lan_dns_zone_total": dns.Zone,
			"lan_dns_unknown_total": dns.Unknown, "lan_dns_asked_total": dns.Asked, "lan_dns_failed_total": dns.Failed,
			"lan_dns_busy_total": dns.Busy, "lan_names_full_total": dns.Full, "lan_names_evicted_total": evicted,
			"lan_connections_total": server.Accepted, "lan_connections_refused_total": server.Full, "lan_loops_total": server.Loops,
			"lan_unknown_address_total": server.Unknown, "lan_failed_total": server.Failed, "lan_pages_total": server.Pages,
			"lan_streams_total": server.Streams, "lan_sent_bytes_total": server.Sent, "lan_received_bytes_total": server.Received,
			"lan_flows_total": server.FlowsBegun, "lan_datagrams_sent_total": server.DatagramsOut,
			"lan_datagrams_received_total": server.DatagramsIn, "lan_datagrams_dropped_total": server.DatagramsDropped,
		}}
	for _, c := range e.server.Clients() {
		s.Clients = append(s.Clients, control.LANClient{Addr: c.Addr, Streams: c.Conns})
	}
	sort.Slice(s.Clients, func(i, j int) bool { return s.Clients[i].Addr.Less(s.Clients[j].Addr) })
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Off = e.off
	if e.failed != nil {
		s.Error = e.failed.Error()
	}
	for _, n := range e.networks {
		l := control.LANNetwork{Name: n.Name, Interfaces: n.Interfaces, Mode: string(n.Mode), DNS: n.DNS || usesAll(n), UDP: n.UDP && e.firewall.TProxy(),
			Mesh: n.Mesh, Clients: []string{}}
		for _, c := range n.Clients {
			l.Clients = append(l.Clients, c.String())
		}
		s.Networks = append(s.Networks, l)
	}
	if len(e.networks) > 0 && !e.off {
		if blocked, err := firewall.Blocked(); err == nil {
			s.Blocked = blocked
		}
	}
	return s
}

// Off removes the rules until the next reload or start.
func (e *lanEdge) Off() error { return e.turnOff() }
