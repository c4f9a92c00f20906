// Package web tests the router's page in a browser: with made-up routers for how it
// looks and feels, with real ones for what it does.
package web

import (
	"net/http/httptest"
	"os"
	"testing"

	"globalnet/internal/chromium"
	"globalnet/lab/webfixture"
)

// made serves the page of a made-up router with so many nodes.
func made(t *testing.T, nodes int) (*webfixture.Server, string) {
	t.Helper()
	f := webfixture.New(os.DirFS("../../../agent/web/static"), nodes)
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, s.URL + "/"
}

var views = []string{"", "map", "neighbours", "circuits", "services", "networks", "exit", "log", "settings"}

func TestLooks(t *testing.T) {
	_, url := made(t, 40)
	b := chromium.Start(t)
	for name, d := range map[string]chromium.Device{"desktop-light": {Width: 1280, Height: 800}, "phone-dark": {Width: 390, Height: 844, Scale: 2, Phone: true, Dark: true}} {
		d.Still = true
		b.Emulate(d)
		for _, v := range views {
			b.Navigate("about:blank")
			b.Navigate(url + "#/" + v)
			b.WaitFor(`document.querySelector('.view > *, .view')?.innerText.length > 20`)
			b.Eval(`new Promise(r => setTimeout(r, 500))`, nil)
			if v == "" {
				v = "overview"
			}
			b.Screenshot(name + "-" + v)
			for _, p := range b.Problems() {
				t.Errorf("%s %s: %s", name, v, p)
			}
		}
	}
}
