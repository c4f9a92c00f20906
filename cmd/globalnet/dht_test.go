package main

import (
	"bytes"
	"context"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
)

// fakeTable is a hash table with one hop on every path.
type fakeTable struct {
	values  map[string]string
	problem string
}

var fakePath = control.DHTLookup{
	Key: "abcd", Requests: 2, Elapsed: 12 * time.Millisecond, Suspicious: true,
	Closest: []netip.Addr{netip.MustParseAddr("fd47:4e45::9")},
	Path: []control.DHTHop{
		{Node: netip.MustParseAddr("fd47:4e45::8"), Prefix: 3, RTT: 7 * time.Millisecond, Outcome: "answered"},
		{Node: netip.MustParseAddr("fd47:4e45::9"), From: "fd47:4e45::8", Prefix: 5, Outcome: "has it", Seq: 77},
	},
}

func (f *fakeTable) Status(context.Context) (control.DHTStatus, error) {
	return control.DHTStatus{
		Problem: f.problem,
		Mode:    "full", Key: "abcd", Nodes: 7, Contacts: 5, Records: 1, Bytes: 1500, CutOff: true,
		Counters: map[string]uint64{"dht_puts": 3, "dht_puts_stored": 2},
	}, nil
}

func (f *fakeTable) Get(_ context.Context, node identity.NodeID, name string, _ bool) (control.DHTRecord, error) {
	v, ok := f.values[name]
	r := control.DHTRecord{Found: ok, Node: node, Name: name, Seq: 4, Value: []byte(v), Lookup: fakePath}
	r.Withdrawn = name == "gone"
	if ok && name == "" {
		r.NodeRecord = &control.DHTNodeRecord{Roles: []string{"relay", "store"}, Addresses: []netip.Addr{node.Address()}}
	}
	return r, nil
}

func (f *fakeTable) Put(_ context.Context, name string, value []byte) (control.DHTStored, error) {
	if len(value) > 4096 {
		return control.DHTStored{}, &control.Error{Code: control.BadRequest, Message: "value too long"}
	}
	f.values[name] = string(value)
	return control.DHTStored{Node: node(1), Name: name, Seq: 5, Stored: len(value), Of: 8, Lookup: fakePath}, nil
}

func (f *fakeTable) Withdraw(_ context.Context, name string) (control.DHTStored, error) {
	stored := 4
	if name == "alone" {
		stored = 0
	}
	return control.DHTStored{Node: node(1), Name: name, Seq: 6, Stored: stored, Of: 8, Lookup: fakePath}, nil
}

func (f *fakeTable) List(context.Context) (list []control.DHTPublished, err error) {
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		list = append(list, control.DHTPublished{Name: name, Size: len(f.values[name]), Seq: 9, Stored: len(f.values[name]), Of: 8})
	}
	return list, nil
}

func (f *fakeTable) Lookup(_ context.Context, target string) (control.DHTLookup, error) {
	if target == "x" {
		return control.DHTLookup{}, &control.Error{Code: control.BadRequest, Message: "no key"}
	}
	return fakePath, nil
}

func TestDHTCommands(t *testing.T) {
	f := &fakeTable{values: map[string]string{"": "…", "n": "one\ntwo\x1b[31m", "empty": ""}}
	(&fakeAgent{table: f}).start(t)
	id := node(2).String()
	path := `(?s)2 requests in 12\.0 ms for key abcd.*closer together.*PATH +NODE.*0 +fd47:4e45::9 +fd47:4e45::8 +5 +- +has it +77`
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"dht", 2, `^$`, `dht what\? one of: status, get, put, withdraw, list, lookup`},
		{"dht status", 0, `(?s)^No other node.*nodes +7\n.*1 record, 1\.5 kB\n.*2 of 3 stored`, `^$`},
		{"dht status --json", 0, `"cut_off": true`, `^$`},
		{"dht get", 2, `^$`, `usage: globalnet dht get \[flags\] NODEID \[NAME\]`},
		{"dht get x", 2, `^$`, `node id has 1 characters`},
		{"dht get " + id, 0, `(?s)^node +` + id + `\nroles +relay, store\nversion +4\naddress +fd47:`, `^$`},
		{"dht get " + id + " n", 0, `^one\ntwo\?\[31m\n$`, `^$`},
		{"dht get " + id + " n --raw", 0, "^one\ntwo\x1b\\[31m$", `^$`},
		{"dht get " + id + " n --path", 0, path, `^$`},
		{"dht get " + id + " n --json", 0, `"value": "b25lCnR3bxtbMzFt"`, `^$`},
		{"dht get " + id + " empty", 0, `^$`, `^$`},
		{"dht get " + id + " none", 1, `^$`, `no such record is found`},
		{"dht get " + id + " none --path", 1, path, `no such record is found`},
		{"dht get " + id + " none --json", 1, `"found": false`, `no such record is found`},
		{"dht put n", 2, `^$`, `usage: globalnet dht put`},
		{"dht put n hello --path", 0, path, `^$`},
		{"dht put n hello", 0, "^stored on 5 of 8 nodes, version 5\nread it with `globalnet dht get " + node(1).String() + " n`\n$", `^$`},
		{"dht put n hello --json", 0, `"stored": 5`, `^$`},
		{"dht put n " + strings.Repeat("x", 4097), 2, `^$`, `value too long`},
		{"dht get " + id + " gone", 1, `^$`, `was withdrawn`},
		{"dht withdraw", 2, `^$`, `usage: globalnet dht withdraw`},
		{"dht withdraw n", 0, `^withdrawn on 4 of 8 nodes\n$`, `^$`},
		{"dht withdraw alone", 0, `goes on trying`, `^$`},
		{"dht withdraw n --path", 0, path, `^$`},
		{"dht withdraw n --json", 0, `"seq": 6`, `^$`},
		{"dht list", 0, `(?s)NAME +OCTETS.*\nempty +0 +nobody yet +9\nn +5 +5 of 8 +9\n`, `^$`},
		{"dht list --json", 0, `"name": "n"`, `^$`},
		{"dht put --help", 0, `(?s)Examples:.*dht put greeting hello\n.*dht put greeting -`, `^$`},
		{"dht lookup " + id, 0, `^fd47:4e45::9\n$`, `^$`},
		{"dht lookup --path " + id, 0, path, `^$`},
		{"dht lookup --json " + id, 0, `"closest": \[\n`, `^$`},
		{"dht lookup x", 2, `^$`, `no key`},
	} {
		code, stdout, stderr := globalnet(t, strings.Fields(tt.args)...)
		if code != tt.code || !regexp.MustCompile(tt.stdout).MatchString(stdout) || !regexp.MustCompile(tt.stderr).MatchString(stderr) {
			t.Errorf("%.60s: code %d\nstdout %q\nstderr %q", tt.args, code, stdout, stderr)
		}
	}
}

func TestPutFromStdin(t *testing.T) {
	f := &fakeTable{values: map[string]string{}}
	(&fakeAgent{table: f}).start(t)
	for input, code := range map[string]int{"": exitOK, "a\x00b\n": exitOK, strings.Repeat("x", 1<<20): exitUsage} {
		var out bytes.Buffer
		in := &invocation{stdin: strings.NewReader(input), stdout: &out, stderr: &out, args: []string{"n", "-"}}
		err := dhtPut(t.Context(), in)
		if exitCode(err) != code {
			t.Errorf("%.10q: %v", input, err)
		}
		if err == nil && f.values["n"] != input {
			t.Errorf("%q was stored as %q", input, f.values["n"])
		}
		if err == nil && input == "" && !strings.Contains(out.String(), "goes on trying") {
			t.Errorf("stored nowhere, but it says %q", &out)
		}
	}
}

func TestDHTDoesNotRun(t *testing.T) {
	(&fakeAgent{table: &fakeTable{problem: "its port is taken"}}).start(t)
	code, stdout, _ := globalnet(t, "dht", "status")
	if code != exitOK || !regexp.MustCompile(`does not run: its port is taken\.\n.*goes on`).MatchString(stdout) {
		t.Errorf("%d %q", code, stdout)
	}
	if _, stdout, _ = globalnet(t, "dht", "list"); !strings.Contains(stdout, "nothing is published") {
		t.Errorf("%q", stdout)
	}
}

func TestDHTSwitchedOff(t *testing.T) {
	(&fakeAgent{}).start(t)
	code, _, stderr := globalnet(t, "dht", "status")
	if code != exitFailed || !strings.Contains(stderr, "option dht") {
		t.Errorf("%d %q", code, stderr)
	}
}
