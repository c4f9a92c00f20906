package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// callRPCD asks as rpcd does; what it answers is an object.
func callRPCD(t *testing.T, method, stdin string) map[string]any {
	t.Helper()
	cmd, rest, err := find([]string{"rpcd", "call", method})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	in := &invocation{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	if err := in.parse(cmd, rest); err != nil {
		t.Fatal(err)
	}
	if err := cmd.run(t.Context(), in); err != nil || errs.Len() > 0 {
		t.Fatalf("%s: %v %s", method, err, errs.String())
	}
	var answer map[string]any
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", method, err, out.String())
	}
	return answer
}

// rpcd takes the types of arguments from the examples in the list.
func TestRPCDList(t *testing.T) {
	var list map[string]map[string]any
	if err := json.Unmarshal([]byte(must(t, "rpcd", "list")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(rpcMethods()) || len(list["status"]) != 0 || list["service"]["name"] != "" || list["service_add"]["port"] != 0.0 || list["service_add"]["listing"] != true {
		t.Errorf("%v", list)
	}
	if _, ok := list["check"]["sections"].([]any); !ok {
		t.Errorf("%v", list["check"])
	}
	for _, args := range [][]string{{"rpcd"}, {"rpcd", "call"}, {"rpcd", "call", "shutdown"}, {"rpcd", "say", "status"}} {
		if code, stdout, _ := globalnet(t, args...); code != exitUsage || stdout != "" {
			t.Errorf("%v: exit %d, %s", args, code, stdout)
		}
	}
}

func TestRPCDWithoutAnAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "globalnet.uci")
	writeFile(t, file, "config globalnet 'main'\n\toption state_dir '.'\n")
	t.Setenv("GLOBALNET_CONFIG", file)
	if s := callRPCD(t, "status", ""); s["running"] != false || s["verdict"] != "stopped" || s["next"] == "" {
		t.Errorf("%v", s)
	}
	for _, method := range []string{"lan", "services", "newnym", "lan_off"} {
		if a := callRPCD(t, method, "{}"); a["code"] != "not_running" || a["error"] == "" {
			t.Errorf("%s: %v", method, a)
		}
	}
	if a := callRPCD(t, "service_add", `{"name":"web","port":80,"target":"nothing"}`); !strings.Contains(a["error"].(string), "host:port") {
		t.Errorf("%v", a)
	}
	for _, bad := range []string{"{", `{"lines":"many"}`, strings.Repeat("[", 1000)} {
		if a := callRPCD(t, "log", bad); a["error"] == nil {
			t.Errorf("%.20s: %v", bad, a)
		}
	}
}

func TestRPCDStatus(t *testing.T) {
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeAgent{status: mesh.Status{Node: id.NodeID(), Neighbours: []mesh.Neighbour{{State: "up"}}, Routes: []mesh.RouteStatus{
		{Selected: true, Metric: 96, Neighbour: "n", Destination: netip.PrefixFrom(id.NodeID().Address(), 128)},
		{Selected: true, Metric: unreachable}, {Metric: 7},
	}}}
	f.start(t)
	s := callRPCD(t, "status", "")
	if s["running"] != true || s["verdict"] != "working" || s["node"] != id.NodeID().String() || s["nodes"] != 1.0 || s["onion"] != nil {
		t.Errorf("%v", s)
	}
	if routes := s["routes"].([]any); len(routes) != 1 || routes[0].(map[string]any)["neighbour"] != "n" {
		t.Errorf("%v", routes)
	}
	f.services = &fakeServices{list: []control.Service{{Name: "web", Published: -1}}}
	if list := callRPCD(t, "services", "")["services"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// The picture is the one that `service address --qr` draws.
func TestRPCDService(t *testing.T) {
	file := filepath.Join(t.TempDir(), "globalnet.uci")
	writeFile(t, file, "config globalnet 'main'\n\toption state_dir '.'\n")
	t.Setenv("GLOBALNET_CONFIG", file)
	must(t, "service", "add", "web", "--to", "127.0.0.1:80")
	a := callRPCD(t, "service", `{"name":"web"}`)
	if address := strings.TrimSpace(must(t, "service", "address", "web")); a["address"] != address {
		t.Errorf("address %v, want %s", a["address"], address)
	}
	picture, err := qrCode(a["link"].(string), false)
	if err != nil {
		t.Fatal(err)
	}
	var drawn []string
	for line := range strings.Lines(picture) {
		for _, half := range []string{"█▀", "█▄"} { // what is white above, and below
			var row strings.Builder
			for _, r := range strings.TrimRight(line, "\n") {
				row.WriteByte("10"[btoi(strings.ContainsRune(half, r))])
			}
			drawn = append(drawn, row.String())
		}
	}
	for y, row := range a["rows"].([]any) {
		if got := drawn[y+quiet][quiet : quiet+len(row.(string))]; got != row {
			t.Fatalf("row %d is %s, drawn %s", y, row, got)
		}
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "services", "web.key"))
	if err != nil {
		t.Fatal(err)
	}
	if answer, _ := json.Marshal(a); bytes.Contains(answer, bytes.TrimSpace(text)) {
		t.Error("the answer has the key")
	}
	if a := callRPCD(t, "service", `{"name":"../identity"}`); a["error"] == nil {
		t.Errorf("%v", a)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestRPCDCheck(t *testing.T) {
	question := `{"ubus_rpc_session":"x","sections":[
		{"type":"globalnet","name":"main","options":{"network":"it's\nours","passphrase":"short-but-secret","listen_port":"70000"}},
		{"type":"peer","name":"","options":{"node":"x"}},
		{"type":"lan","name":"lan","options":{"interface":["br-lan"],"client":["192.168.1.20=off","x=all"]}}]}`
	var got []string
	for _, p := range callRPCD(t, "check", question)["problems"].([]any) {
		m := p.(map[string]any)
		got = append(got, string('0'+rune(m["section"].(float64)))+" "+m["option"].(string))
		if strings.Contains(m["text"].(string), "short-but-secret") {
			t.Error("a secret is repeated")
		}
	}
	all := strings.Join(got, ",")
	for _, want := range []string{"0 network", "0 listen_port", "1 node", "1 address", "2 client"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
	if p := callRPCD(t, "check", `{"sections":[{"type":"globalnet","name":"main","options":{"network":"our 'street'"}}]}`)["problems"].([]any); len(p) != 0 {
		t.Errorf("%v", p)
	}
}

func TestRPCDLog(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(bin, "logread"), []byte("#!/bin/sh\n[ \"$*\" = '-e globalnet -l 2' ] && printf 'one\\ntwo\\nthree\\n'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if lines := callRPCD(t, "log", `{"lines":2}`)["lines"].([]any); len(lines) != 2 || lines[1] != "three" {
		t.Errorf("%v", lines)
	}
	if a := callRPCD(t, "log", `{"lines":3}`); a["error"] == nil {
		t.Errorf("%v", a)
	}
}
