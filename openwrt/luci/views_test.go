package luci

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/chromium"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// patience is how long anything may take; it is no measurement.
const patience = 60 * time.Second

// The router with the pages is b. The secrets must not reach who may only look.
//
//	e --- a - b - c - d
//	          |
//	        phone
const street = `router a b c d e
radio a b c d
radio e a
client phone on b
set * passphrase the-street-has-a-secret
set b onion.family a-secret-of-the-family
set b exit.secret only-for-friends-of-ours
set b lan.interface lan
set b lan.client 02:00:5e:00:53:01=off
set b hidden_service:shop.port 80 127.0.0.1:8080
set c exit.policy all
`

// secrets are those of the street.
var secrets = []string{"the-street-has-a-secret", "a-secret-of-the-family", "only-for-friends-of-ours"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// neighbourhood runs agents, and a web server with the pages beside that of b.
func neighbourhood(t *testing.T) (*lab.Node, *pages) {
	t.Helper()
	labtest.Require(t)
	must(t, exec.Command("ip", "link", "set", "lo", "up").Run()) // of the sandbox, for the browser
	top, err := topology.Parse(street)
	must(t, err)
	command := labtest.Agent(t)
	l := lab.New(top, lab.Options{Agent: command, Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Start(ctx))
	t.Cleanup(func() { must(t, l.Stop()) })
	n := l.Node("b")
	client := control.NewClient(n.Socket())
	await(t, "b to know the others", func() bool {
		s, err := client.Onion(t.Context())
		return err == nil && s.Relays >= 4
	})

	bin := t.TempDir()
	must(t, os.Symlink(command[0], filepath.Join(bin, "globalnet")))
	logread := "#!/bin/sh\n[ \"$1\" = -e ] && [ \"$2\" = globalnet ] && [ \"$3\" = -l ] || exit 1\ntail -n \"$4\" '" + n.LogPath() + "'\necho 'daemon.err globalnet[7]: <b onclick=x>not bold</b>'\n"
	must(t, os.WriteFile(filepath.Join(bin, "logread"), []byte(logread), 0o755))
	plugin := func(method string, stdin []byte) ([]byte, error) {
		cmd := exec.Command("sh", "../feed/globalnet/files/usr/libexec/rpcd/globalnet", "call", method)
		cmd.Stdin = strings.NewReader(string(stdin))
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "GLOBALNET_CONFIG=" + n.ConfigPath()}
		return cmd.Output()
	}
	apply := func() {
		if _, err := client.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return n, serve(t, listener, newUBUS(t, n.ConfigPath(), apply, plugin))
}

// quiet fails if the page complained.
func quiet(t *testing.T, b *chromium.Browser) {
	t.Helper()
	for _, p := range b.Problems() {
		t.Error("the page complains: " + p)
	}
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestViews(t *testing.T) {
	n, p := neighbourhood(t)
	b := chromium.Start(t)
	b.Emulate(chromium.Desktop)

	p.open(b, "status", rootSession)
	b.WaitFor("document.querySelectorAll('.gn-spark path[d*=L]').length >= 2")
	id, err := n.ID()
	must(t, err)
	contains(t, b.Text("#view"), "GlobalNet is working: 2 neighbours, 4 nodes in reach.", id.String(), "radio", "this router", "Relays known")
	b.Screenshot("status")
	quiet(t, b)

	p.open(b, "log", rootSession)
	b.WaitFor("document.querySelector('#gn-log').innerText.includes('<b onclick=x>not bold')")
	b.Screenshot("log")
	quiet(t, b)

	p.open(b, "services", rootSession)
	contains(t, b.Text("#view"), "shop", ".gnet.alt", "80 → 127.0.0.1:8080")
	b.Screenshot("services")
	quiet(t, b)

	p.open(b, "lan", rootSession)
	contains(t, b.Text("#view"), "names", "02:00:5e:00:53:01", "off")
	b.Screenshot("lan")
	quiet(t, b)

	p.open(b, "settings", rootSession)
	b.Screenshot("settings")
	quiet(t, b)
}
