package lan

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

// A neighbourhood of six on one cable, with a phone in the LAN of a.
const hall = `router a b c d e f
segment hall a b c d e f
client phone on a
set a lan.interface lan
set a lan.dns 1
`

// published waits until a service of a router can be found, and returns its address.
func published(t *testing.T, n *lab.Node) (address string) {
	t.Helper()
	agent := labtest.Agent(t)[0]
	await(t, "a published service", func() bool {
		out, err := n.Exec(t.Context(), agent, "service", "list", "--json", "--config", n.ConfigPath())
		var list []control.Service
		if err != nil || json.Unmarshal(out, &list) != nil {
			return false // it is starting
		}
		for _, s := range list {
			if s.Stored > 0 && s.Error == "" {
				address = strings.TrimSuffix(s.Address, ".gnet.alt")
			}
		}
		return address != ""
	})
	return address
}

// A phone opens cheesy.gnet.alt, a folder on a router somewhere.
func TestPhoneOpensAService(t *testing.T) {
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "index.html"), []byte("<!doctype html><title>Cheese</title><h1>Fresh cheese"), 0o644))
	l := start(t, hall+"set e hidden_service:cheese.port 80 "+folder+"\n", true)
	must(t, l.StartAgents())
	a, phone := l.Node("a"), l.Node("phone")
	address := published(t, l.Node("e"))
	reconfigure(t, a, func(text string) string { return text + "\nconfig name 'cheesy'\n\toption node '" + address + "'\n" })
	await(t, "the page by its petname", func() bool { return strings.Contains(curl(t, phone, "http://cheesy.gnet.alt/"), "Fresh cheese") })
	for _, name := range []string{address, "www." + address, "www.cheesy"} {
		if got := curl(t, phone, "http://"+name+".gnet.alt/"); !strings.Contains(got, "Fresh cheese") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := curl(t, phone, "-6", "http://cheesy.gnet.alt/"); !strings.Contains(got, "Fresh cheese") {
		t.Error("over IPv6: " + got)
	}
	if got := curl(t, phone, "-o", "/dev/null", "-w", "%{http_code}", "http://cheesy.gnet.alt:8080/"); got != "503" {
		t.Error("a port that the service has not: " + got)
	}
	// Nobody has this key's address: its checksum is right.
	const nobody = "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb"
	if got := curl(t, phone, "-m", "50", "-w", "%{http_code}", "http://"+nobody+".gnet.alt/"); !strings.Contains(got, "no such service") || !strings.HasSuffix(got, "404") {
		t.Error("an unknown service: " + got)
	}
	must(t, l.Node("e").Kill())
	if got := curl(t, phone, "-m", "50", "-o", "/dev/null", "-w", "%{http_code}", "http://cheesy.gnet.alt/"); !strings.HasPrefix(got, "50") {
		t.Error("a service that is down: " + got)
	}
}
