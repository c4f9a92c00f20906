package control

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"globalnet/agent/metrics"
	"globalnet/mesh"
)

// metricsPath is where Prometheus asks; it does not change with the API's version.
const metricsPath = "/metrics"

// versioned is an Agent that says its version.
type versioned interface{ Version() string }

// metrics answers with numbers of the node, its links and its planes. Who uses them is
// not in it: no client, no service by name, no destination.
func (a api) metrics(w http.ResponseWriter, r *http.Request) {
	s, err := a.agent.Status(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, Error{Code: "unavailable", Message: err.Error(), Hint: "the agent is starting or stopping: try again"})
		return
	}
	var t metrics.Text
	version := "unknown"
	if v, ok := a.agent.(versioned); ok {
		version = v.Version()
	}
	t.Family("globalnet_build_info", metrics.Gauge, "Version of the agent; always 1.")
	t.Sample(1, "version", version, "goversion", runtime.Version(), "arch", runtime.GOARCH)
	t.One("globalnet_uptime_seconds", metrics.Gauge, "Time since the agent started.", s.Uptime.Seconds())
	writeMesh(&t, s)
	if d := a.agent.DHT(); d != nil {
		writeDHT(r.Context(), &t, d)
	}
	if o := a.agent.Onion(); o != nil {
		writeOnion(&t, o)
	}
	if services := a.agent.Services(); services != nil {
		writeServices(&t, services.Services())
	}
	if with, ok := a.agent.(lanAgent); ok {
		writeLAN(&t, with.LAN().Status())
	}
	writeEvents(&t, s.Counters)
	writeProcess(&t)
	w.Header().Set("Content-Type", metrics.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(t.Bytes())
}

// ofNeighbours are the families with a sample a neighbour.
var ofNeighbours = []struct {
	name string
	kind metrics.Kind
	help string
	of   func(n mesh.Neighbour) float64
}{
	{"up", metrics.Gauge, "Whether the link carries traffic.", func(n mesh.Neighbour) float64 { return metrics.Flag(n.State == "up") }},
	{"cost", metrics.Gauge, "Babel's cost of the link; 65535 is infinity.", func(n mesh.Neighbour) float64 { return float64(n.Cost) }},
	{"rtt_seconds", metrics.Gauge, "Round trip on the link; 0 while unknown.", func(n mesh.Neighbour) float64 { return n.RTT.Seconds() }},
	{"state_seconds", metrics.Gauge, "Time in this state.", func(n mesh.Neighbour) float64 { return n.Since.Seconds() }},
	{"handshake_age_seconds", metrics.Gauge, "Time since WireGuard's last handshake; -1 if there was none.", func(n mesh.Neighbour) float64 { return max(n.LastHandshake.Seconds(), -1) }},
	{"receive_bytes_total", metrics.Counter, "Bytes that came over the link.", func(n mesh.Neighbour) float64 { return float64(n.RxBytes) }},
	{"transmit_bytes_total", metrics.Counter, "Bytes that left over the link.", func(n mesh.Neighbour) float64 { return float64(n.TxBytes) }},
	{"path_changes_total", metrics.Counter, "How often a path was chosen again.", func(n mesh.Neighbour) float64 { return float64(n.Restarts) }},
}

func writeMesh(t *metrics.Text, s mesh.Status) {
	t.Family("globalnet_interface_up", metrics.Gauge, "Whether neighbours are looked for on the interface.")
	for _, i := range s.Interfaces {
		t.Sample(metrics.Flag(i.Up), "interface", i.Name, "radio", strconv.FormatBool(i.Radio))
	}
	names := make([]string, len(s.Neighbours))
	for i, n := range s.Neighbours {
		names[i] = n.Node.String()
	}
	for _, f := range ofNeighbours {
		t.Family("globalnet_neighbour_"+f.name, f.kind, f.help)
		for i, n := range s.Neighbours {
			t.Sample(f.of(n), "neighbour", names[i], "class", n.Class)
		}
	}
	nodes, selected := make(map[string]bool), 0
	for _, r := range s.Routes {
		if r.Selected && r.Metric < 0xffff {
			selected++
			if r.Destination.Addr() != s.Address {
				nodes[r.Destination.String()] = true
			}
		}
	}
	t.Family("globalnet_routes", metrics.Gauge, "Routes that Babel knows, and those of them in use.")
	t.Sample(float64(len(s.Routes)), "state", "known")
	t.Sample(float64(selected), "state", "selected")
	t.One("globalnet_nodes_reachable", metrics.Gauge, "Other nodes that a route in use leads to.", float64(len(nodes)))
	t.One("globalnet_nodes_known", metrics.Gauge, "Nodes in the peer book.", float64(s.Known))
}

func writeDHT(ctx context.Context, t *metrics.Text, d DHT) {
	s, err := d.Status(ctx)
	t.One("globalnet_dht_up", metrics.Gauge, "Whether the hash table runs.", metrics.Flag(err == nil && s.Problem == ""))
	if err != nil {
		return
	}
	for _, f := range []struct {
		name, help string
		v          float64
	}{
		{"nodes", "Nodes in the hash table, estimated.", float64(s.Nodes)},
		{"contacts", "Contacts of the hash table.", float64(s.Contacts)},
		{"records", "Records kept for others.", float64(s.Records)},
		{"record_bytes", "Octets of the records kept for others.", float64(s.Bytes)},
		{"published", "Records that this node publishes.", float64(s.Published)},
		{"lookups", "Lookups under way.", float64(s.Lookups)},
		{"cut_off", "Whether no contact answers.", metrics.Flag(s.CutOff)},
		{"rtt_seconds", "Typical round trip to contacts.", s.RTT.Seconds()},
	} {
		t.One("globalnet_dht_"+f.name, metrics.Gauge, f.help, f.v)
	}
}

func writeOnion(t *metrics.Text, o Onion) {
	s := o.Status()
	up := 0
	for _, g := range s.Guards {
		if g.Listed && !g.Down {
			up++
		}
	}
	for _, f := range []struct {
		name, help string
		v          float64
	}{
		{"relay", "Whether this node carries circuits of others.", metrics.Flag(s.Relay)},
		{"relays", "Relays that are known.", float64(s.Relays)},
		{"exits", "Relays that are known and lead to the internet.", float64(s.Exits)},
		{"guards_up", "Guards of this node that are there.", float64(up)},
		{"channels", "Connections to other relays.", float64(s.Channels)},
		{"carried_circuits", "Circuits of others that pass here.", float64(s.Carried)},
		{"carried_streams", "Streams of others that end here.", float64(s.Streams)},
		{"queued_cells", "Cells that wait in queues.", float64(s.Memory.Cells)},
		{"queued_bytes", "Octets that wait to be written by the exit.", float64(s.Memory.Bytes)},
	} {
		t.One("globalnet_onion_"+f.name, metrics.Gauge, f.help, f.v)
	}
	t.Family("globalnet_onion_circuits", metrics.Gauge, "Circuits of this node.")
	t.Sample(float64(s.Ready), "state", "ready")
	t.Sample(float64(s.Used), "state", "used")
	t.Family("globalnet_onion_killed_total", metrics.Counter, "What was closed for want of memory.")
	t.Sample(float64(s.Memory.CellsKilled), "of", "circuits")
	t.Sample(float64(s.Memory.BytesKilled), "of", "streams")
}

func writeServices(t *metrics.Text, list []Service) {
	published, clients, streams, refused := 0, 0, 0, uint64(0)
	for _, s := range list {
		if s.Published >= 0 && s.Error == "" {
			published++
		}
		clients, streams, refused = clients+s.Clients, streams+s.Streams, refused+s.Refused
	}
	t.Family("globalnet_services", metrics.Gauge, "Hidden services of this node.")
	t.Sample(float64(len(list)), "state", "configured")
	t.Sample(float64(published), "state", "published")
	t.One("globalnet_service_clients", metrics.Gauge, "Clients connected to hidden services of this node.", float64(clients))
	t.One("globalnet_service_streams", metrics.Gauge, "Streams to hidden services of this node.", float64(streams))
	t.One("globalnet_service_introductions_refused_total", metrics.Counter, "Introductions that hidden services of this node refused.", float64(refused))
}

func writeLAN(t *metrics.Text, s LANStatus) {
	t.One("globalnet_lan_up", metrics.Gauge, "Whether the rules of the LAN edge are in place.", metrics.Flag(s.Error == "" && !s.Off))
	t.One("globalnet_lan_clients", metrics.Gauge, "LAN clients with connections.", float64(len(s.Clients)))
	t.One("globalnet_lan_streams", metrics.Gauge, "Connections of LAN clients.", float64(s.Streams))
	t.One("globalnet_lan_flows", metrics.Gauge, "Flows of datagrams of LAN clients.", float64(s.Flows))
	t.One("globalnet_lan_names", metrics.Gauge, "Names that have addresses.", float64(s.Names))
	t.Family("globalnet_lan_blocked_packets_total", metrics.Counter, "Packets of LAN clients that were refused, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(s.Blocked)) {
		t.Sample(float64(s.Blocked[reason]), "reason", reason)
	}
	t.Family("globalnet_lan_events_total", metrics.Counter, "What the LAN edge counted.")
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		t.Sample(float64(s.Counters[name]), "event", strings.TrimSuffix(name, "_total"))
	}
}

// planes are told by how the names of their counters begin; the rest is the mesh.
var planes = []string{"babel", "dht", "directory", "onion", "relay", "exit", "service", "lan"}

func writeEvents(t *metrics.Text, counters map[string]uint64) {
	t.Family("globalnet_events_total", metrics.Counter, "What was done and what was refused since the start, by plane.")
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		plane, event, _ := strings.Cut(name, "_")
		if !slices.Contains(planes, plane) {
			plane, event = "mesh", name
		}
		t.Sample(float64(counters[name]), "plane", plane, "event", strings.TrimSuffix(cmp.Or(event, name), "_total"))
	}
}

// writeProcess adds what Prometheus' own libraries tell of a process, by their names.
func writeProcess(t *metrics.Text) {
	t.One("go_goroutines", metrics.Gauge, "Goroutines.", float64(runtime.NumGoroutine()))
	if usage, ok := readProcess(); ok {
		t.One("process_cpu_seconds_total", metrics.Counter, "Processor time, user and system.", usage.cpu.Seconds())
		t.One("process_resident_memory_bytes", metrics.Gauge, "Memory in RAM.", float64(usage.resident))
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		t.One("process_open_fds", metrics.Gauge, "Open file descriptors.", float64(len(files)-1))
	}
}

type usage struct {
	cpu      time.Duration
	resident uint64 // bytes
}

// readProcess reads /proc/self/stat: fields 14, 15 and 24 of proc_pid_stat(5). The clock
// tick is 10 ms on all architectures of Go's Linux.
func readProcess() (usage, bool) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return usage{}, false
	}
	// The second field is a name in parentheses, which may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 22 {
		return usage{}, false
	}
	number := func(field int) uint64 {
		v, _ := strconv.ParseUint(fields[field-3], 10, 64) // zero if it cannot be read
		return v
	}
	const tick = 10 * time.Millisecond
	return usage{time.Duration(number(14)+number(15)) * tick, number(24) * uint64(os.Getpagesize())}, true
}
