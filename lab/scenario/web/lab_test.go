package web

import (
	"context"
	"os"
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

// patience is how long anything may take; it is no measurement.
const patience = 90 * time.Second

// Twenty-five routers; a phone in the LAN of the middle one, a tablet in that of a corner.
//
//	 r1 - r2 - r3 - r4 - r5
//	  |    |    |    |    |
//	 …         r13 --- phone
//	  |    |    |    |    |
//	r21 - …              r25 --- tablet
const village = `grid 5x5
client phone on r13
client tablet on r25
set r13 lan.interface lan
set r13 lan.dns 1
set r25 lan.interface lan
set r25 lan.dns 1
`

const pagePassword = "four words are enough"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func start(t *testing.T, text string) *lab.Lab {
	t.Helper()
	labtest.Require(t)
	top, err := topology.Parse(text)
	must(t, err)
	l := lab.New(top, lab.Options{Agent: labtest.Agent(t), Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Start(ctx))
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(l.Node("r13").LogPath())
			t.Logf("log of r13:\n%s", b[max(0, len(b)-4000):])
		}
		must(t, l.Stop())
	})
	return l
}

// browser starts a browser on a node: its network and its resolver are the node's.
func browser(t *testing.T, n *lab.Node) *chromium.Browser {
	t.Helper()
	labtest.RequireProgram(t, "nsenter")
	return chromium.StartAt(t, n, "-m", "-u")
}

// What an owner does with a phone on the day the router comes: it is set up, a link of the
// neighbourhood fails, a site is published and read at the other end, the mode changes.
func TestVillage(t *testing.T) {
	l := start(t, village)
	r13 := l.Node("r13")
	eventually(t, "all routes at r13", func() bool {
		s, err := r13.Status(t.Context())
		n := map[string]bool{}
		for _, r := range s.Routes {
			if r.Selected && r.Metric < 0xffff {
				n[r.Destination.String()] = true
			}
		}
		return err == nil && len(n) >= 24
	})
	b := browser(t, l.Node("phone"))
	b.Emulate(chromium.Device{Width: 1280, Height: 800, Still: true})
	const url = "http://router.gnet.alt/"
	for _, x := range []struct {
		name string
		run  func(*testing.T, *lab.Lab, *chromium.Browser, string)
	}{
		{"wizard", villageWizard}, {"map", villageMap}, {"service", villageService}, {"mode", villageMode}, {"password", villagePassword},
	} {
		if !t.Run(x.name, func(t *testing.T) { x.run(t, l, b, url) }) {
			b.Screenshot("village-failed-" + x.name)
			return
		}
	}
}

func villageWizard(t *testing.T, _ *lab.Lab, b *chromium.Browser, url string) {
	b.Navigate(url)
	fill(b, "[name=name]", "middle house")
	button(b, "Next")
	fill(b, "[name=password]", pagePassword)
	fill(b, "[name=repeat]", pagePassword)
	button(b, "Next")
	b.WaitFor(`document.querySelector('[name=mode][value=names]').checkVisibility()`)
	b.Screenshot("village-wizard")
	button(b, "Finish")
	says(b, "nodes in reach")
	says(b, "Log out")
	b.WaitFor(`document.querySelector('.router').innerText === 'middle house'`)
	b.Screenshot("village-overview")
	quiet(t, b, "wizard")
}

func villageMap(t *testing.T, l *lab.Lab, b *chromium.Browser, url string) {
	open(b, url, "map")
	b.WaitFor(`document.querySelectorAll('tbody tr').length === 25`)
	b.Screenshot("village-map")
	id, err := l.Node("r14").ID()
	must(t, err)
	row := `[...document.querySelectorAll('tbody tr')].find(r => r.innerText.includes(` + js(id.Short()) + `))?.innerText`
	b.WaitFor(row + `.includes('neighbour')`)
	before := canvas(b)
	began := time.Now()
	must(t, l.Cut("r13", "r14"))
	b.WaitFor(`!` + row + `.includes('neighbour')`)
	t.Logf("the map followed %.1f s after the cut", time.Since(began).Seconds())
	b.WaitFor(`document.querySelector('canvas').toDataURL() !== ` + js(before))
	b.WaitFor(`document.querySelectorAll('tbody tr').length === 25`) // there is another way to it
	b.Screenshot("village-map-cut")
	must(t, l.Heal("r13", "r14"))
	b.WaitFor(row + `.includes('neighbour')`)
	quiet(t, b, "map")
}

func villageService(t *testing.T, l *lab.Lab, b *chromium.Browser, url string) {
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "index.html"), []byte("<!doctype html><title>Cheese</title><link rel=icon href=data:,><h1>Fresh cheese"), 0o644))
	open(b, url, "services")
	fill(b, "[name=name]", "cheese")
	fill(b, "[name=target]", folder)
	button(b, "Add the service")
	b.WaitFor(`document.querySelector('.in-services a.code')`)
	says(b, "reachable")
	b.WaitFor(`[...document.querySelectorAll('.badge')].some(e => e.innerText === 'reachable')`)
	button(b, "QR code")
	b.Screenshot("village-service")
	link := b.Text("a.code")
	tablet := browser(t, l.Node("tablet"))
	eventually(t, "the site at the other end", func() bool {
		out, err := l.Node("tablet").Exec(t.Context(), labtest.RequireProgram(t, "curl"), "-s", "-m", "30", link)
		return err == nil && strings.Contains(string(out), "Fresh cheese")
	})
	tablet.Navigate(link)
	if title := tablet.Text("h1"); title != "Fresh cheese" {
		t.Errorf("the tablet shows %q", title)
	}
	quiet(t, b, "service")
}

func villageMode(t *testing.T, l *lab.Lab, b *chromium.Browser, url string) {
	open(b, url, "networks")
	b.WaitFor(`document.querySelector('[name=mode-lan][value=all]')`)
	b.Click("[name=mode-lan][value=all]")
	says(b, "Saved.")
	s, err := control.NewClient(l.Node("r13").Socket()).LAN(t.Context())
	must(t, err)
	if len(s.Networks) != 1 || s.Networks[0].Mode != "all" {
		t.Errorf("the LAN is %+v", s.Networks)
	}
	b.WaitFor(`document.querySelector('[name=mode-lan][value=all]').checked`)
	b.Screenshot("village-mode")
	quiet(t, b, "mode")
}

func villagePassword(t *testing.T, l *lab.Lab, b *chromium.Browser, url string) {
	button(b, "Log out")
	says(b, "Log in")
	button(b, "Log in")
	fill(b, "[name=password]", "wrong")
	b.Key("Enter")
	says(b, "This is not the password.")
	fill(b, "[name=password]", pagePassword)
	b.Key("Enter")
	says(b, "Log out")
	// A new password ends all sessions.
	open(b, url, "services")
	says(b, "cheese")
	r13 := l.Node("r13")
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("another one of ours\n"), 0o600))
	out, err := r13.Exec(t.Context(), "sh", "-c", labtest.Agent(t)[0]+" web password --config "+r13.ConfigPath()+" < "+file)
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	says(b, "Your session has ended.")
	fill(b, "[name=password]", "another one of ours")
	b.Key("Enter")
	says(b, "cheese")
	b.Screenshot("village-again")
	quiet(t, b, "password", "403")
}
