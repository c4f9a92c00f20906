package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/board"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// globalnet runs one command line.
func globalnet(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// fakeAgent answers on the control socket in place of an agent.
type fakeAgent struct {
	status    mesh.Status
	diff      config.Diff
	reloadErr error
	table     control.DHT
	onion     control.Onion
	services  control.Services
}

func (f *fakeAgent) Status(context.Context) (mesh.Status, error) { return f.status, nil }
func (f *fakeAgent) Reload(context.Context) (config.Diff, error) { return f.diff, f.reloadErr }

func (f *fakeAgent) Onion() control.Onion { return f.onion }

func (f *fakeAgent) Services() control.Services { return f.services }

func (f *fakeAgent) DHT() control.DHT { return f.table }

// start serves f and makes a configuration file that leads to it.
func (f *fakeAgent) start(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "globalnet.uci")
	writeFile(t, file, "config globalnet 'main'\n\toption state_dir '.'\n")
	t.Setenv("GLOBALNET_CONFIG", file)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := control.Listen(ctx, filepath.Join(dir, "globalnet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, f, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func node(n byte) identity.NodeID {
	i, err := identity.FromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		panic(err)
	}
	return i.NodeID()
}

func working() mesh.Status {
	a, b, c := node(1), node(2), node(3)
	return mesh.Status{
		Node: a, Address: a.Address(), Network: "globalnet", Uptime: 3 * time.Minute, Known: 7,
		Interfaces: []mesh.InterfaceStatus{{Name: "radio0", Up: true, Radio: true}, {Name: "eth0", Up: true}, {Name: "eth1"}},
		Neighbours: []mesh.Neighbour{
			{Node: b, Address: b.Address(), Ifname: "gn-b", State: "up", Class: "radio", Via: "radio0", Cost: 96, RTT: 1234 * time.Microsecond, Since: time.Minute, LastHandshake: 5 * time.Second, RxBytes: 1500, TxBytes: 2_500_000, Endpoint: "[fe80::2%radio0]:18250"},
			{Node: c, Address: c.Address(), Ifname: "gn-c", State: "connecting", Class: "internet", Cost: 65535, LastHandshake: -1},
		},
		Routes: []mesh.RouteStatus{
			{Destination: netip.PrefixFrom(a.Address(), 128), Selected: true},
			{Destination: netip.PrefixFrom(b.Address(), 128), Gateway: b.LinkLocal(), Ifname: "gn-b", Neighbour: b.String(), Metric: 96, Seqno: 4, Selected: true, Feasible: true, Age: time.Second},
			{Destination: netip.PrefixFrom(c.Address(), 128), Gateway: b.LinkLocal(), Ifname: "gn-b", Metric: 200, Selected: true, Feasible: true},
			{Destination: netip.PrefixFrom(node(4).Address(), 128), Gateway: b.LinkLocal(), Metric: 65535, Selected: true},
		},
		Counters: map[string]uint64{"b": 2, "a": 1},
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GLOBALNET_CONFIG", "")
	good, bad, warned := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "warned")
	writeFile(t, good, "config globalnet\n\toption state_dir .\n\toption passphrase hunter22\n")
	writeFile(t, bad, "config globalnet\n\n\toption listen_port x\n")
	writeFile(t, warned, "config globalnet\n\toption state_dir .\n\toption colour red\n")
	id := node(1)
	tests := []struct {
		args           string
		code           int
		stdout, stderr string // patterns
	}{
		{"", 0, `(?s)usage: globalnet COMMAND.*neighbours.*Exit codes: 0`, `^$`},
		{"help", 0, `(?m)^  config check +Check`, `^$`},
		{"--help", 0, `usage: globalnet COMMAND`, `^$`},
		{"help status", 0, `usage: globalnet status`, `^$`},
		{"help config show", 0, `usage: globalnet config show`, `^$`},
		{"help nothing", 2, `^$`, `no command "nothing"`},
		{"help status now", 2, `^$`, `no command "status now"`},
		{"help key", 2, `^$`, `key what\? one of: show, new, address`},
		{"frobnicate", 2, `^$`, `no command "frobnicate"; .globalnet help. lists them`},
		{"key", 2, `^$`, `key what\? one of: show, new, address`},
		{"status --nonsense", 2, `^$`, `(?s)not defined: -nonsense\nusage: globalnet status`},
		{"status extra", 2, `^$`, `usage: globalnet status \[flags\]$`},
		{"version", 0, `^globalnet unknown \(go1\.`, `^$`},
		{"--version", 0, `^globalnet unknown`, `^$`},
		{"version --json", 0, `"version": "unknown"`, `^$`},
		{"config check " + good, 0, `good is valid`, `^$`},
		{"config check --config " + good, 0, `good is valid`, `^$`},
		{"config check " + good + " --config " + good, 2, `^$`, `give the file once`},
		{"config check " + bad, 4, `^$`, `bad:3: listen_port: "x" is no port: want 1 to 65535`},
		{"config check --json " + bad, 4, `"valid": false,\n  "error": ".*bad:3`, `bad:3`},
		{"config check --json " + good, 0, `"valid": true`, `^$`},
		{"config check " + warned, 0, `is valid`, `warning: .*warned:3: colour: not a known option`},
		{"config check " + dir + "/none", 4, `^$`, `no such file`},
		{"config show " + good, 0, `(?s)option passphrase '\[secret\]'.*list interface '\*'`, `^$`},
		{"config show " + good + " --json", 0, `"passphrase": "\[secret\]"`, `^$`},
		{"key address " + id.String(), 0, "^" + id.Address().String() + "\n$", `^$`},
		{"key address " + id.String() + " --json", 0, `"node": "` + id.String(), `^$`},
		{"key address xyz", 2, `^$`, `node id has 3 characters`},
		{"key show --config " + good, 1, `^$`, `no key at .*identity.key yet: .*globalnet run.* or .*key new`},
		{"key new --config " + good, 0, `(?m)^node        [a-z2-7]{56}$\n^address     fd47:4e45:`, `^$`},
		{"key new --config " + good, 1, `^$`, `never overwritten`},
		{"key show --config " + good, 0, `(?s)node .*address .*link-local  fe80:.*file .*identity.key\n$`, `^$`},
		{"key address --config " + good, 0, `^fd47:4e45:[0-9a-f:]+\n$`, `^$`},
		{"key show --identity " + good, 1, `^$`, `is damaged`},
		{"run --config " + bad, 4, `^$`, `bad:3`},
		{"status --config " + good, 3, `^$`, `(?s)no agent is running \(asked on .*globalnet.sock\).*start it with .globalnet run.`},
		{"reload --socket " + dir + "/x", 3, `^$`, `no agent is running`},
		{"neighbours --config " + bad, 4, `^$`, `bad:3`},
	}
	for _, tt := range tests {
		code, stdout, stderr := globalnet(t, strings.Fields(tt.args)...)
		if code != tt.code || !regexp.MustCompile(tt.stdout).MatchString(stdout) || !regexp.MustCompile(tt.stderr).MatchString(strings.TrimSpace(stderr)) {
			t.Errorf("globalnet %s\nexit %d, want %d\nstdout %q, want %s\nstderr %q, want %s", tt.args, code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
		}
		if strings.Contains(stdout+stderr, "hunter22") {
			t.Errorf("globalnet %s shows the passphrase", tt.args)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range commands() {
		code, stdout, stderr := globalnet(t, append(strings.Fields(c.name), "--help")...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, c.summary) || !strings.Contains(stdout, "usage: globalnet "+c.name) ||
			!strings.Contains(stdout, "Examples:\n  ") {
			t.Errorf("%s: exit %d\n%s%s", c.name, code, stdout, stderr)
		}
		for line := range strings.Lines(c.example) {
			if !strings.Contains(line, "globalnet "+c.name) {
				t.Errorf("%s: the example %q shows another command", c.name, line)
			}
		}
		if !c.has("json") && !slices.Contains([]string{"run", "help", "rpcd", "completion", "manual"}, c.name) {
			t.Errorf("%s has no --json", c.name)
		}
	}
}

func TestShow(t *testing.T) {
	(&fakeAgent{status: working()}).start(t)
	b := node(2)
	tests := []struct {
		args string
		want []string
	}{
		{"status", []string{
			"GlobalNet is working: 1 neighbour, 2 nodes in reach.\n\nnode        " + node(1).String(),
			"network     globalnet\nup for      3 min\ninterfaces  radio0 (radio), eth0, eth1 (down)\n",
			b.Short() + "  up          1 min  radio     radio0  96           1.2 ms  5 s        1.5 kB    2.5 MB  [fe80::2%radio0]:18250\n",
			"connecting  0 s    internet  -       unreachable  -       never      0 B       0 B\n",
		}},
		{"neighbours", []string{"NODE      STATE", b.Short()}},
		{"routes", []string{
			"*  " + b.Address().String() + " ", "  96           " + b.Short() + "                  gn-b       4      1 s\n",
			"unreachable  " + b.LinkLocal().String()[:9], "not feasible",
		}},
		{"peers", []string{"7 nodes known\n", node(3).Short()}},
		{"counters", []string{"a  1\nb  2\n"}},
	}
	for _, tt := range tests {
		code, stdout, stderr := globalnet(t, tt.args)
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit %d, %s", tt.args, code, stderr)
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s lacks %q in\n%s", tt.args, want, stdout)
			}
		}
	}
	if _, stdout, _ := globalnet(t, "peers"); strings.Contains(stdout, b.Short()) {
		t.Errorf("a radio neighbour among the peers:\n%s", stdout)
	}
}

func TestShowJSON(t *testing.T) {
	want := working()
	(&fakeAgent{status: want}).start(t)
	decode := func(into any, args ...string) {
		t.Helper()
		code, stdout, stderr := globalnet(t, append(args, "--json")...)
		if err := json.Unmarshal([]byte(stdout), into); err != nil || code != 0 || stderr != "" {
			t.Errorf("%v: exit %d, %v, %s", args, code, err, stderr)
		}
	}
	var status struct {
		verdict
		mesh.Status
	}
	decode(&status, "status")
	if status.Word != "working" || status.Node != want.Node || len(status.Routes) != 4 {
		t.Errorf("status %+v", status)
	}
	var neighbours []mesh.Neighbour
	decode(&neighbours, "neighbours")
	var routes []mesh.RouteStatus
	decode(&routes, "routes")
	var peers struct {
		Known int              `json:"known_nodes"`
		Peers []mesh.Neighbour `json:"peers"`
	}
	decode(&peers, "peers")
	var counters map[string]uint64
	decode(&counters, "counters")
	if len(neighbours) != 2 || len(routes) != 4 || peers.Known != 7 || len(peers.Peers) != 1 || counters["b"] != 2 {
		t.Errorf("%d neighbours, %d routes, peers %+v, counters %v", len(neighbours), len(routes), peers, counters)
	}
}

func TestShowNothing(t *testing.T) {
	(&fakeAgent{}).start(t)
	for args, want := range map[string]string{
		"neighbours": "no neighbours\n", "routes": "no routes\n", "counters": "nothing counted yet\n",
		"peers":             "0 nodes known\nno link over the internet or through the mesh\n",
		"neighbours --json": "[]\n", "routes --json": "[]\n", "counters --json": "{}\n",
	} {
		if code, stdout, _ := globalnet(t, strings.Fields(args)...); code != 0 || stdout != want {
			t.Errorf("%s: exit %d, %q, want %q", args, code, stdout, want)
		}
	}
}

func TestReload(t *testing.T) {
	f := &fakeAgent{}
	f.start(t)
	tests := []struct {
		diff   config.Diff
		err    error
		code   int
		output string
	}{
		{config.Diff{}, nil, 0, "nothing changed\n"},
		{config.Diff{Live: []string{"a", "b"}, Restart: []string{"c"}}, nil, 0, "applied: a, b\nafter a restart: c\n"},
		{config.Diff{}, errors.New("x:3: wrong"), 1, "globalnet reload: x:3: wrong\nnothing was changed; mend the file and reload again\n"},
	}
	for _, tt := range tests {
		f.diff, f.reloadErr = tt.diff, tt.err
		if code, stdout, stderr := globalnet(t, "reload"); code != tt.code || stdout+stderr != tt.output {
			t.Errorf("exit %d, %q, want %d, %q", code, stdout+stderr, tt.code, tt.output)
		}
	}
}

func TestOneAgentANamespace(t *testing.T) {
	lock, err := lockNamespace()
	if err != nil {
		t.Skip("an agent is running here:", err)
	}
	for _, args := range []string{"cleanup", "run"} {
		t.Setenv("GLOBALNET_CONFIG", filepath.Join(t.TempDir(), "c"))
		writeFile(t, os.Getenv("GLOBALNET_CONFIG"), "config globalnet\n\toption state_dir .\n")
		if code, _, stderr := globalnet(t, args); code != 1 || !strings.Contains(stderr, "another agent is running") {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = lockNamespace(); err != nil {
		t.Fatal("the lock outlives its owner:", err)
	}
	lock.Close()
}

// fakeRunner is an agent without a mesh.
type fakeRunner struct {
	run      func(ctx context.Context) error
	reloaded chan struct{}
}

func (f *fakeRunner) Run(ctx context.Context) error { return f.run(ctx) }

func (f *fakeRunner) Reload(context.Context) (config.Diff, error) {
	f.reloaded <- struct{}{}
	return config.Diff{}, errors.New("no file")
}

func TestServe(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	failure := errors.New("no kernel")
	for name, tt := range map[string]struct {
		run  func(ctx context.Context) error
		want string
	}{
		"ends when told":   {func(ctx context.Context) error { <-ctx.Done(); return nil }, ""},
		"fails":            {func(context.Context) error { return failure }, "no kernel"},
		"fails at the end": {func(ctx context.Context) error { <-ctx.Done(); return failure }, "no kernel"},
		"hangs":            {func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Minute); return nil }, "did not end within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				err := serve(ctx, &fakeRunner{run: tt.run}, log, nil, cancel)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				if d := time.Since(begin); d > time.Second+stopTime {
					t.Errorf("took %v", d)
				}
				time.Sleep(time.Hour) // what hangs ends some time
			})
		})
	}
}

func TestHangupReloads(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeRunner{reloaded: make(chan struct{}), run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	hangup := make(chan os.Signal)
	done := make(chan error, 1)
	go func() { done <- serve(ctx, f, slog.New(slog.DiscardHandler), hangup, cancel) }()
	for range 2 { // a reload that failed does not end it
		hangup <- syscall.SIGHUP
		<-f.reloaded
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestProfileFor(t *testing.T) {
	for _, tt := range []struct {
		memory config.Memory
		kib    uint64
		small  bool
		limit  int
	}{
		{config.MemoryAuto, 59_000, true, 24}, {config.MemoryAuto, 500_000, false, 128},
		{config.MemorySmall, 59_000, true, 24}, {config.MemorySmall, 500_000, true, 32},
		{config.MemoryLarge, 59_000, false, 0}, {config.MemoryLarge, 500_000, false, 0},
	} {
		if p := profileFor(tt.memory, board.ProfileFor(tt.kib)); p.SmallBuffers != tt.small || p.MemoryLimit != tt.limit {
			t.Errorf("%s with %d KiB: %+v", tt.memory, tt.kib, p)
		}
	}
}
