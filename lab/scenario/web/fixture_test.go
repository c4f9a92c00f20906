// Package web tests the router's page in a browser: with made-up routers for how it
// looks and feels, with real ones for what it does. SCREENSHOTS names a folder for
// pictures, AXE the file axe.min.js of axe-core, which judges accessibility.
package web

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"globalnet/internal/chromium"
	"globalnet/lab/labtest"
	"globalnet/lab/webfixture"
)

func TestMain(m *testing.M) {
	if err := labtest.Loopback(); err != nil {
		panic(err)
	}
	labtest.Main(m)
}

// made serves the page of a made-up router with so many nodes.
func made(t *testing.T, nodes int) (*webfixture.Server, string) {
	t.Helper()
	f := webfixture.New(os.DirFS("../../../agent/web/static"), nodes)
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, s.URL + "/"
}

var views = []string{"", "map", "neighbours", "circuits", "services", "networks", "exit", "log", "settings"}

// open opens a view anew, and waits until it shows something.
func open(b *chromium.Browser, url, view string) {
	b.Navigate("about:blank")
	b.Navigate(url + "#/" + view)
	shown(b)
}

func shown(b *chromium.Browser) {
	b.WaitFor(`document.querySelector('.view')?.innerText.length > 20`)
	// A picture that has something in it, where there is one.
	b.WaitFor(`[...document.querySelectorAll('canvas')].every(c => c.toDataURL().length > 5000)`)
	b.Eval(`document.fonts.ready.then(() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r))))`, nil)
}

// quiet fails the test for whatever the browser complained of, but what is expected.
func quiet(t *testing.T, b *chromium.Browser, where string, expected ...string) {
	t.Helper()
next:
	for _, p := range b.Problems() {
		for _, e := range expected {
			if strings.Contains(p, e) {
				continue next
			}
		}
		t.Errorf("%s: the browser says %s", where, p)
	}
}

func js(s string) string {
	q, _ := json.Marshal(s)
	return string(q)
}

// button clicks the button that has this text, or this label.
func button(b *chromium.Browser, text string) {
	find := `[...document.querySelectorAll('button, a, summary')].find(e => e.checkVisibility() && (e.innerText.trim() === ` + js(text) + ` || e.getAttribute('aria-label') === ` + js(text) + `))`
	b.WaitFor(find)
	b.ClickOn(find)
}

// fill writes into a field of a form.
func fill(b *chromium.Browser, selector, text string) {
	b.WaitFor(`document.querySelector(` + js(selector) + `)?.checkVisibility()`)
	b.Eval(`(e => { e.focus(); e.select?.() })(document.querySelector(`+js(selector)+`))`, nil)
	if text == "" {
		b.Key("Backspace")
	} else {
		b.Type(text)
	}
}

// says waits until the page shows a text.
func says(b *chromium.Browser, text string) {
	b.WaitFor(`document.body.innerText.includes(` + js(text) + `)`)
}
