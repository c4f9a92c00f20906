package chromium

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const page = `<!doctype html><title>A page</title><meta name=viewport content="width=device-width">
<style>body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }</style>
<button id=b onclick="document.title = 'clicked'">A button</button><input id=i><p hidden>not seen</p><p id=p>seen</p>
<script>i.onkeydown = e => p.textContent += ' ' + e.key + (e.ctrlKey ? '+' : '')</script>`

func TestBrowser(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, page)
		case "/bad":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<link rel=icon href=data:,><script>console.error('oh', {a: 1}); console.log('no problem'); setTimeout(() => { throw new Error('thrown') }); fetch('/missing')</script>`)
		case "/favicon.ico":
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	t.Setenv("SCREENSHOTS", t.TempDir())
	b := Start(t)

	b.Navigate(s.URL + "/")
	var title string
	if b.Eval("document.title", &title); title != "A page" {
		t.Errorf("title %q", title)
	}
	b.Click("#b")
	b.WaitFor("document.title == 'clicked'")
	b.Key("Tab") // from the button to the field
	b.Type("größe")
	b.Key("x", "Control+y", "Shift+Tab")
	var value string
	if b.Eval("i.value", &value); value != "größex" {
		t.Errorf("value %q", value)
	}
	if got := b.Text("#p"); got != "seen x y+ Tab" {
		t.Errorf("keys: %q", got)
	}
	if got := b.Text("body"); strings.Contains(got, "not seen") || !strings.Contains(got, "A button") {
		t.Errorf("text %q", got)
	}
	if p := b.Problems(); len(p) > 0 {
		t.Errorf("problems of a good page: %q", p)
	}

	b.Emulate(Device{Width: 390, Height: 844, Scale: 2, Phone: true, Dark: true})
	var seen struct {
		Width  int
		Colour string
	}
	b.Eval("({width: innerWidth, colour: getComputedStyle(document.body).backgroundColor})", &seen)
	if seen.Width != 390 || seen.Colour != "rgb(0, 0, 0)" {
		t.Errorf("on a dark phone: %+v", seen)
	}
	picture, err := png.Decode(bytes.NewReader(b.Screenshot("phone")))
	if err != nil || picture.Bounds().Dx() != 780 {
		t.Errorf("picture of %v, %v", picture.Bounds(), err)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("SCREENSHOTS"), "phone.png")); err != nil {
		t.Error(err)
	}

	b.Navigate(s.URL + "/bad")
	var all []string
	b.WaitFor("performance.getEntriesByName(location.origin + '/missing').length > 0")
	for i := 0; len(all) < 3 && i < 1000; i++ {
		all = append(all, b.Problems()...)
	}
	for _, want := range []string{"oh", "thrown", "404"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%q is not among the problems: %q", want, all)
		}
	}
	dir := ""
	for _, arg := range b.conn.cmd.Args {
		if d, ok := strings.CutPrefix(arg, "--user-data-dir="); ok {
			dir = d
		}
	}
	b.conn.close()
	removeAll(dir)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left", dir)
	}
}

func TestKeyOf(t *testing.T) {
	for name, want := range map[string]key{
		"Tab":       {key: "Tab", code: "Tab", number: 9},
		"Shift+Tab": {key: "Tab", code: "Tab", number: 9, modifiers: 8},
		"a":         {key: "a", code: "KeyA", text: "a", number: 'A'},
		"Control+a": {key: "a", code: "KeyA", number: 'A', modifiers: 2},
		"+":         {key: "+", code: "Key+", text: "+", number: '+'},
	} {
		if got := keyOf(name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
