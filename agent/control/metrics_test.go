package control

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"globalnet/agent/metrics"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// fakeLAN is an edge with one client.
type fakeLAN struct{ off int }

func (f *fakeLAN) Status() LANStatus {
	return LANStatus{
		Networks: []LANNetwork{{Name: "lan", Interfaces: []string{"br-lan"}, Mode: "names", Clients: []string{}}},
		Clients:  []LANClient{{Addr: netip.MustParseAddr("192.168.1.77"), Streams: 3}}, Streams: 3,
		Blocked: map[string]uint64{"quic": 7}, Counters: map[string]uint64{"lan_dns_questions_total": 9},
	}
}

func (f *fakeLAN) Off() error { f.off++; return nil }

// withLAN is an agent that has everything.
type withLAN struct {
	*fake
	edge *fakeLAN
}

func (w withLAN) LAN() LAN { return w.edge }

func whole(neighbours int) withLAN {
	s := sample()
	s.Neighbours, s.Routes = nil, nil
	for n := range neighbours {
		id := identity.NodeID{byte(n), byte(n >> 8), 9}
		s.Neighbours = append(s.Neighbours, mesh.Neighbour{
			Node: id, Ifname: "gn-" + id.String()[:8], State: "up", Class: "radio", Endpoint: "[fe80::1%wlan0]:18250",
			RTT: 1234567 * time.Nanosecond, Since: time.Hour, LastHandshake: time.Minute, RxBytes: 1 << 40, TxBytes: 1 << 41, Cost: 100,
		})
		s.Routes = append(s.Routes, mesh.RouteStatus{Destination: netip.PrefixFrom(id.Address(), 128), Selected: true, Metric: 96})
	}
	for n := range 250 {
		s.Counters[fmt.Sprintf("babel_a_counter_with_a_long_name_%d_total", n)] = 1 << 50
	}
	services := &fakeServices{list: []Service{
		{Name: "secret-name", Address: "address", Published: time.Second, Clients: 2, Refused: 5}, {Name: "down", Published: -1},
	}}
	f := &fake{status: s, onion: &fakeOnion{}, services: services, table: &fakeTable{}}
	return withLAN{f, &fakeLAN{}}
}

func page(t *testing.T, a Agent) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(a).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Header().Get("Content-Type"); w.Code != 200 || got != metrics.ContentType {
		t.Fatalf("%d, type %q", w.Code, got)
	}
	return w.Body.String()
}

var sampleLine = regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (\S+)$`)

// parse reads a page as a strict reader would: help and type before samples, each
// family and each series once, the suffix _total for counters and for nothing else.
func parse(t *testing.T, text string) map[string]float64 {
	t.Helper()
	series, kinds, family := map[string]float64{}, map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if _, twice := kinds[name]; twice || !strings.HasSuffix(help, ".") {
				t.Errorf("%s is there twice, or is not explained: %q", name, help)
			}
			family, kinds[name] = name, ""
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != family || (kind == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("%s is a %s, after %s", name, kind, family)
			}
			kinds[name] = kind
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || m[1] != family || kinds[family] == "" {
			t.Fatalf("in %s: %q", family, line)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if _, twice := series[m[1]+m[2]]; twice || err != nil {
			t.Errorf("%q: twice, or %v", line, err)
		}
		series[m[1]+m[2]] = v
	}
	return series
}

func TestMetrics(t *testing.T) {
	a := whole(2)
	got := parse(t, page(t, a))
	first := a.status.Neighbours[0].Node.String()
	for series, want := range map[string]float64{
		`globalnet_uptime_seconds`:                                                         60,
		`globalnet_neighbour_up{neighbour="` + first + `",class="radio"}`:                  1,
		`globalnet_neighbour_rtt_seconds{neighbour="` + first + `",class="radio"}`:         0.001234567,
		`globalnet_neighbour_receive_bytes_total{neighbour="` + first + `",class="radio"}`: 1 << 40,
		`globalnet_interface_up{interface="eth0",radio="false"}`:                           1,
		`globalnet_nodes_reachable`:                                                        2,
		`globalnet_routes{state="selected"}`:                                               2,
		`globalnet_dht_up`:                                                                 1,
		`globalnet_dht_nodes`:                                                              3,
		`globalnet_onion_relay`:                                                            1,
		`globalnet_services{state="configured"}`:                                           2,
		`globalnet_services{state="published"}`:                                            1,
		`globalnet_service_clients`:                                                        2,
		`globalnet_service_introductions_refused_total`:                                    5,
		`globalnet_lan_blocked_packets_total{reason="quic"}`:                               7,
		`globalnet_lan_clients`:                                                            1,
		`globalnet_events_total{plane="mesh",event="link_refused"}`:                        1 << 60,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", series, v, ok, want)
		}
	}
}

func TestMetricsOfTheProcess(t *testing.T) {
	got := parse(t, page(t, whole(2)))
	if got["process_resident_memory_bytes"] < 1<<20 || got["go_goroutines"] < 1 {
		t.Error("the process is not told of")
	}
}

// TestMetricsAreNotPersonal: what a page of numbers must not tell is who uses the node.
func TestMetricsAreNotPersonal(t *testing.T) {
	text := page(t, whole(2))
	for _, personal := range []string{"192.168.1.77", "secret-name", "fe80::1%wlan0"} {
		if strings.Contains(text, personal) {
			t.Errorf("the page tells of %s", personal)
		}
	}
}

func TestMetricsOfLittle(t *testing.T) {
	got := parse(t, page(t, &fake{status: sample()}))
	if _, ok := got["globalnet_onion_relays"]; ok {
		t.Error("tells of an onion that is switched off")
	}
}

// TestMetricsBound: 25 neighbours are at most 64 KB.
func TestMetricsBound(t *testing.T) {
	if n := len(page(t, whole(25))); n > 64<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestMetricsByPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(page(t, whole(25)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func BenchmarkMetrics(b *testing.B) {
	h := Handler(whole(25))
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}
}

// TestDashboardAndAlerts: what they ask for is there.
func TestDashboardAndAlerts(t *testing.T) {
	families := map[string]bool{"up": true}
	for line := range strings.Lines(page(t, whole(2))) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			families[strings.Fields(rest)[0]] = true
		}
	}
	for _, name := range []string{"grafana.json", "alerts.yml"} {
		text, err := os.ReadFile("../../docs/monitoring/" + name)
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`\b(globalnet|process|go)_[a-z_]+`).FindAllString(string(text), -1)
		if len(asked) < 8 {
			t.Errorf("%s asks for %v", name, asked)
		}
		for _, family := range asked {
			if !families[family] {
				t.Errorf("%s asks for %s, which is not served", name, family)
			}
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	text, _ := os.ReadFile("../../docs/monitoring/grafana.json")
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 10 {
		t.Errorf("%v, %d panels", err, len(dashboard.Panels))
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	if out, err := exec.Command(tool, "check", "rules", "../../docs/monitoring/alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	rules := "groups:\n  - name: dashboard\n    rules:\n" // the panels' questions, in a form that is checked
	for i, p := range dashboard.Panels {
		for _, target := range p.Targets {
			rules += fmt.Sprintf("      - record: panel_%d\n        expr: '%s'\n", i, strings.ReplaceAll(target.Expr, "$router", ".*"))
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s%s", err, out, rules)
	}
}
