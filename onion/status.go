package onion

import (
	"time"

	"globalnet/onion/client"
	"globalnet/onion/path"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
)

// Status is a copy of the state of a Node.
type Status struct {
	Relay    bool           // carries circuits of others
	Exit     policy.Summary // what leaves here
	Relays   int            // that are known
	Exits    int            // of them
	Client   client.State
	Guards   []path.GuardStatus
	Carried  relay.Stats
	Channels int

	Cells       int // that wait
	CellsKilled uint64
	Bytes       int // that wait to be written by the exit
	BytesKilled uint64
}

// Status returns the state.
func (n *Node) Status(now time.Time) Status {
	relays := n.directory.Relays(now)
	s := Status{
		Relay: n.relays(), Exit: n.exit.Summary(), Relays: len(relays),
		Client: n.client.State(), Guards: n.chooser.Guards(now), Carried: n.relay.Stats(), Channels: len(n.manager.Channels()),
		Cells: n.circuits.Used(), CellsKilled: n.circuits.Killed(), Bytes: n.streams.Used(), BytesKilled: n.streams.Killed(),
	}
	for _, r := range relays {
		if r.Exit.IsExit() {
			s.Exits++
		}
	}
	return s
}

// Counters returns what was counted since New, by metric name.
func (n *Node) Counters() map[string]uint64 {
	counters := n.client.Counters()
	for name, v := range n.directory.Counters() {
		counters[name] = v
	}
	r, e := n.relay.Stats(), n.exit.Stats()
	services := r.Services
	for name, v := range map[string]uint64{
		"relay_introductions_total": services.Introduced, "relay_introductions_limited_total": services.Limited,
		"relay_introductions_unknown_total": services.Unknown, "relay_rendezvous_total": services.Met,
		"relay_rendezvous_unknown_total": services.WrongCookies, "relay_table_questions_total": services.Tables,
		"relay_circuits_created_total": r.Created, "relay_circuits_refused_total": r.Refused, "relay_circuits_extended_total": r.Extended,
		"relay_circuits_broken_total": r.Broken, "relay_cells_total": r.CellsRelay,
		"exit_connections_total": e.Connected, "exit_names_resolved_total": e.Resolved,
		"exit_refused_policy_total": e.RefusedPolicy, "exit_refused_private_total": e.RefusedPrivate,
		"exit_refused_secret_total": e.RefusedSecret, "exit_refused_limit_total": e.RefusedLimit, "exit_refused_quota_total": e.RefusedQuota,
		"exit_resolve_failed_total": e.ResolveFailed, "exit_connect_failed_total": e.ConnectFailed,
		"exit_sent_bytes_total": e.BytesOut, "exit_received_bytes_total": e.BytesIn,
	} {
		counters[name] = v
	}
	return counters
}
