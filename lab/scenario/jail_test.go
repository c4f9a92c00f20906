package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

// TestCapabilities runs agents with the capabilities that OpenWrt's jail would leave them
// and no others: links, circuits, the rules of a LAN and a low port must be possible.
//
//	phone --- a - b - c - d
func TestCapabilities(t *testing.T) {
	text, err := os.ReadFile("../../openwrt/feed/globalnet/files/etc/capabilities/globalnet.json")
	must(t, err)
	var sets map[string][]string
	must(t, json.Unmarshal(text, &sets))
	keep := "-all"
	for _, name := range sets["bounding"] {
		keep += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	for _, set := range []string{"effective", "permitted", "inheritable", "ambient"} {
		if strings.Join(sets[set], " ") != strings.Join(sets["bounding"], " ") {
			t.Errorf("the set %s differs: %v", set, sets[set])
		}
	}
	setpriv := labtest.RequireProgram(t, "setpriv")
	top, err := topology.Parse("router a b c d\nradio a b c d\nclient phone on a\nset a lan.interface lan\nset a lan.mode all\nset a proxy.listen 127.0.0.1:80\nset d exit.policy all\nset a hidden_service:web.port 80 127.0.0.1:8080\n")
	must(t, err)
	l := lab.New(top, lab.Options{Dir: t.TempDir(), Agent: append([]string{setpriv, "--no-new-privs", "--bounding-set", keep}, labtest.Agent(t)...)})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Start(ctx))
	t.Cleanup(func() { must(t, l.Stop()) })
	allReach(t, l)
	a := l.Node("a")
	status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(a.Pid()), "status"))
	must(t, err)
	for _, want := range []string{"CapEff:\t0000000000003400\n", "NoNewPrivs:\t1\n"} { // bits 10, 12, 13
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	client := control.NewClient(a.Socket())
	eventually(t, "a circuit is there", func() bool {
		o, err := client.Onion(t.Context())
		return err == nil && o.Relays >= 3 && o.Ready+o.Used > 0
	})
	lan, err := client.LAN(t.Context())
	must(t, err)
	if lan.Error != "" || len(lan.Networks) != 1 {
		t.Errorf("the LAN: %+v", lan)
	}
	must(t, a.Namespace().Do(func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:80")
		if err == nil {
			conn.Close()
		}
		return err
	}))
}
