package luci

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	must(t, labtest.Loopback())
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

// pictures are taken of a view as on a desktop, and as on a dark phone, where nothing
// may be wider than the screen.
func pictures(t *testing.T, b *chromium.Browser, name string) {
	t.Helper()
	prefix := "luci-"
	if os.Getenv(luciVariable) != "" {
		prefix = "real-luci-"
	}
	b.Emulate(chromium.Desktop)
	b.Screenshot(prefix + name)
	phone := chromium.Phone
	phone.Dark = true
	b.Emulate(phone)
	b.Screenshot(prefix + name + "-phone")
	var wider int
	b.Eval("document.querySelector('#view').scrollWidth - innerWidth", &wider)
	if wider > 0 {
		t.Errorf("%s is %d pixels wider than a phone", name, wider)
	}
	b.Emulate(chromium.Desktop)
	quiet(t, b)
}

// field is what finds the input of an option of a section.
func field(section, option string) string {
	return `[id="widget.cbid.globalnet.` + section + "." + option + `"]`
}

// enter replaces what is in an input.
func enter(b *chromium.Browser, selector, text string) {
	b.Click(selector)
	b.Key("Control+a")
	b.Type(text)
	b.Key("Tab")
}

// press clicks the button with that text below what a selector finds.
func press(b *chromium.Browser, within, text string) {
	mark := `Array.from(document.querySelectorAll('` + within + ` button, ` + within + ` .cbi-dropdown li')).find(e => e.textContent == '` + text + `')`
	b.WaitFor(mark)
	b.Eval(`document.querySelectorAll('.to-press').forEach(e => e.classList.remove('to-press')); `+mark+`.classList.add('to-press')`, nil)
	b.Click(".to-press")
}

// modal waits for the box over the page, and returns its text.
func modal(b *chromium.Browser) string {
	b.WaitFor("document.body.classList.contains('modal-overlay-active') && document.querySelector('#modal_overlay .modal button')")
	return b.Text("#modal_overlay .modal")
}

func TestViews(t *testing.T) {
	n, p := neighbourhood(t)
	b := chromium.Start(t)
	b.Emulate(chromium.Desktop)

	t.Run("status", func(t *testing.T) {
		p.open(b, "status", rootSession)
		b.WaitFor("document.querySelectorAll('.gn-spark path[d*=L]').length >= 2")
		id, err := n.ID()
		must(t, err)
		contains(t, b.Text("#view"), "GlobalNet is working: 2 neighbours, 4 nodes in reach.", id.String(), "radio", "this router", "Relays known")
		var shapes struct{ Nodes, Lines int }
		b.Eval("({nodes: document.querySelectorAll('.gn-node').length, lines: document.querySelectorAll('.gn-picture line').length})", &shapes)
		if shapes.Nodes != 5 || shapes.Lines != 4 {
			t.Errorf("a picture of %d nodes and %d lines, want 5 and 4", shapes.Nodes, shapes.Lines)
		}
		pictures(t, b, "status")
		press(b, "#view", "New circuits")
		b.WaitFor("document.querySelector('#maincontent').innerText.includes('New connections take new circuits')")
		quiet(t, b)
	})
	t.Run("log", func(t *testing.T) {
		p.open(b, "log", rootSession)
		b.WaitFor("document.querySelector('#gn-log').innerText.includes('<b onclick=x>not bold')")
		pictures(t, b, "log")
		b.Click("#view input")
		b.Type("NOT BOLD")
		b.WaitFor("!document.querySelector('#gn-log').innerText.includes('level=')")
		quiet(t, b)
	})
	t.Run("services", func(t *testing.T) { services(t, p, b) })
	t.Run("lan", func(t *testing.T) {
		p.open(b, "lan", rootSession)
		contains(t, b.Text("#view"), "names", "02:00:5e:00:53:01", "off")
		pictures(t, b, "lan")
		press(b, "#view", "Switch off")
		contains(t, modal(b), "Traffic of the clients leaves the router as it is")
		press(b, "#modal_overlay", "Switch off")
		b.WaitFor("document.querySelector('#view').innerText.includes('Switched off until')")
		quiet(t, b)
	})
	t.Run("settings", func(t *testing.T) { settings(t, n, p, b) })
	t.Run("reader", func(t *testing.T) { reader(t, p, b) })
	t.Run("stopped", func(t *testing.T) {
		must(t, n.Terminate(patience))
		p.open(b, "status", rootSession)
		contains(t, b.Text("#view"), "GlobalNet is not running.", "Start")
		pictures(t, b, "stopped")
		p.open(b, "services", rootSession)
		contains(t, b.Text("#view"), "no agent is running")
		quiet(t, b)
	})
}

func services(t *testing.T, p *pages, b *chromium.Browser) {
	p.open(b, "services", rootSession)
	contains(t, b.Text("#view"), "shop", ".gnet.alt", "80 → 127.0.0.1:8080")
	pictures(t, b, "services")

	enter(b, "#gn-name", "photos")
	enter(b, "#gn-port", "80")
	enter(b, "#gn-target", "nowhere")
	b.Click("#gn-add")
	b.WaitFor("document.querySelector('#maincontent').innerText.includes('want host:port, unix:PATH')")
	enter(b, "#gn-target", "/srv/photos")
	b.Click("#gn-restricted")
	b.Click("#gn-add")
	b.WaitFor("document.querySelector('#view table').innerText.includes('photos')")
	contains(t, b.Text("#view table"), "80 → /srv/photos", "only for 0 clients")
	text, err := os.ReadFile(p.ubus.conf)
	must(t, err)
	contains(t, string(text), "config hidden_service 'photos'", "80 /srv/photos")

	press(b, "#view tr:last-child", "QR code")
	contains(t, modal(b), "photos", "magnet:?", ".gnet.alt")
	out, err := p.ubus.plugin("service", []byte(`{"name":"photos"}`))
	must(t, err)
	var code struct{ Rows []string }
	must(t, json.Unmarshal(out, &code))
	black := strings.Count(strings.Join(code.Rows, ""), "1")
	var drawn int
	b.Eval("document.querySelector('.gn-qr path').getAttribute('d').split('M').length - 1", &drawn)
	if black != drawn || black < 100 {
		t.Errorf("%d squares are drawn, the code has %d", drawn, black)
	}
	pictures(t, b, "qr")
	press(b, "#modal_overlay", "Close")

	press(b, "#view tr:last-child", "Remove")
	contains(t, modal(b), "Its key stays")
	press(b, "#modal_overlay", "Remove")
	b.WaitFor("!document.querySelector('#view table').innerText.includes('photos')")
	quiet(t, b)
}

func settings(t *testing.T, n *lab.Node, p *pages, b *chromium.Browser) {
	before, err := os.ReadFile(p.ubus.conf)
	must(t, err)
	p.open(b, "settings", rootSession)
	pictures(t, b, "settings")
	neighbours := field("main", "max_neighbours")

	// What can be told at once is.
	enter(b, neighbours, "5000")
	b.WaitFor("document.querySelector('" + neighbours + "').classList.contains('cbi-input-invalid')")
	press(b, "#view .cbi-page-actions", "Save")
	contains(t, modal(b), "max_neighbours")
	press(b, "#modal_overlay", "Dismiss")

	// What only the agent can tell is told before anything is saved.
	enter(b, neighbours, "48")
	enter(b, field("main", "port_range"), "18200-18300")
	press(b, "#view .cbi-page-actions", "Save")
	contains(t, modal(b), "listen_port", "inside port_range")
	b.Problems() // LuCI itself complains of a form that was not saved
	pictures(t, b, "refused")
	press(b, "#modal_overlay", "Dismiss")
	if p.ubus.staged != nil {
		t.Error("something was saved that the agent refuses")
	}

	p.open(b, "settings", rootSession)
	enter(b, neighbours, "48")
	press(b, "#view .cbi-page-actions", "Save & Apply")
	client := control.NewClient(n.Socket())
	await(t, "the file to be written", func() bool {
		text, err := os.ReadFile(p.ubus.conf)
		return err == nil && strings.Contains(string(text), "option max_neighbours '48'")
	})
	quiet(t, b)
	text, err := os.ReadFile(p.ubus.conf)
	must(t, err)
	if got, want := strings.Count(string(text), "config "), strings.Count(string(before), "config "); got != want {
		t.Errorf("%d sections instead of %d:\n%s", got, want, text)
	}
	for _, s := range secrets {
		contains(t, string(text), s)
	}
	_, err = client.Status(t.Context())
	must(t, err)
}

// reader looks at everything as somebody who may only look.
func reader(t *testing.T, p *pages, b *chromium.Browser) {
	p.ubus.said(readerSession)
	for _, view := range []string{"status", "lan", "services", "log"} {
		p.open(b, view, readerSession)
		var buttons []string
		b.Eval("Array.from(document.querySelectorAll('#view button'), e => e.textContent)", &buttons)
		for _, text := range buttons {
			if text != "QR code" {
				t.Errorf("%s has a button %q", view, text)
			}
		}
		if view == "status" || view == "lan" {
			pictures(t, b, "reader-"+view)
		}
		quiet(t, b)
	}
	var status int
	b.Eval("fetch('settings?session="+readerSession+"').then(r => r.status)", &status)
	if status != 403 {
		t.Errorf("the settings are there: %d", status)
	}
	b.Problems() // of the refusal
	for _, call := range []struct{ object, method, args string }{
		{"uci", "get", `{"config": "globalnet"}`}, {"uci", "set", `{"config": "globalnet", "section": "main", "values": {"network": "x"}}`},
		{"globalnet", "check", `{}`}, {"globalnet", "restart", `{}`}, {"globalnet", "lan_off", `{}`}, {"globalnet", "newnym", `{}`},
		{"globalnet", "service_add", `{}`}, {"globalnet", "service_remove", `{"name": "shop"}`},
	} {
		var denied bool
		b.Eval(`fetch('/ubus/', {method: 'POST', body: JSON.stringify({jsonrpc: '2.0', id: 1, method: 'call', params: ['`+readerSession+`', '`+call.object+`', '`+call.method+`', `+call.args+`]})})
			.then(r => r.json()).then(a => a.error ? a.error.code == -32002 : a.result[0] == 6)`, &denied)
		if !denied {
			t.Errorf("who may only look may call %s %s", call.object, call.method)
		}
	}
	told := p.ubus.said(readerSession)
	if len(told) < 5 {
		t.Errorf("only %d answers", len(told))
	}
	for _, answer := range told {
		for _, secret := range secrets {
			if strings.Contains(answer, secret) {
				t.Errorf("a secret in %.200s", answer)
			}
		}
	}
}

// TestSessions: rpcd's methods are all in the access list, those that change something
// only for who may write, and the list names no others.
func TestSessions(t *testing.T) {
	out, err := exec.Command(labtest.Agent(t)[0], "rpcd", "list").Output()
	must(t, err)
	var methods map[string]any
	must(t, json.Unmarshal(out, &methods))
	all, reads := granted(t, readACL(t), true), granted(t, readACL(t), false)
	for m := range methods {
		if !all["ubus globalnet "+m] {
			t.Errorf("nobody may call %s", m)
		}
	}
	for grant := range all {
		if m, ok := strings.CutPrefix(grant, "ubus globalnet "); ok && methods[m] == nil {
			t.Errorf("there is no method %s", m)
		}
	}
	want := []string{"access-group luci-app-globalnet read", "ubus globalnet lan", "ubus globalnet log", "ubus globalnet service", "ubus globalnet services", "ubus globalnet status"}
	if got := slices.Sorted(maps.Keys(reads)); !slices.Equal(got, want) {
		t.Errorf("who may only look may %q", got)
	}
	for name, entry := range readMenu(t) {
		for _, group := range entry.Depends.ACL {
			if _, ok := readACL(t)[group]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, group)
			}
		}
		if entry.Action.Type == "view" {
			if _, err := os.Stat("htdocs/luci-static/resources/view/" + entry.Action.Path + ".js"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
