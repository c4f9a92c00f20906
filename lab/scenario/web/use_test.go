package web

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"rsc.io/qr"
	"rsc.io/qr/coding"

	"globalnet/internal/chromium"
	"globalnet/lab/webfixture"
)

// What people do on the page, in the order they do it. One browser, for speed.
func TestUse(t *testing.T) {
	f, url := made(t, 25)
	b := chromium.Start(t)
	b.Emulate(chromium.Device{Width: 1280, Height: 800, Still: true})
	for _, x := range []struct {
		name string
		run  func(*testing.T, *webfixture.Server, *chromium.Browser, string)
	}{
		{"wizard", useWizard}, {"guest", useGuest}, {"expired", useExpired}, {"map", useMap}, {"keyboard", useKeyboard}, {"services", useServices},
		{"mode", useMode}, {"settings", useSettings}, {"exit", useExit}, {"spanish", useSpanish}, {"hostile", useHostile}, {"offline", useOffline},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t, f, b, url) })
	}
}

// posted waits for a change that the page asked for.
func posted(t *testing.T, f *webfixture.Server, b *chromium.Browser, path string) map[string]any {
	t.Helper()
	for range 300 {
		for _, p := range f.Posts() {
			if p.Path == path {
				return p.Body
			}
		}
		b.Eval(`new Promise(r => setTimeout(r, 20))`, nil)
	}
	t.Fatalf("nothing was posted to %s", path)
	return nil
}

func useWizard(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	f.Update(func(s *webfixture.Server) {
		s.Session.Login, s.Session.Wizard = false, true
		s.Session.Radios, s.Session.LANs = []string{"radio0"}, []any{map[string]string{"name": "lan", "mode": "names"}}
	})
	open(b, url, "")
	fill(b, "[name=name]", "hut")
	button(b, "Next")
	fill(b, "[name=password]", "short")
	button(b, "Next")
	says(b, "At least 8 characters.")
	fill(b, "[name=password]", webfixture.Password)
	fill(b, "[name=repeat]", "another one")
	button(b, "Next")
	says(b, "The two are not the same.")
	fill(b, "[name=repeat]", webfixture.Password)
	b.Key("Enter")
	b.WaitFor(`document.querySelector('[name=radio]').checkVisibility()`)
	button(b, "Next")
	b.Click("[name=mode][value=all]")
	button(b, "Finish")
	got := posted(t, f, b, "/v1/setup")
	want := map[string]any{"name": "hut", "password": webfixture.Password, "radio": "radio0", "lan": "lan", "lan_mode": "all"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked for %v", got)
	}
	says(b, "nodes in reach")
	quiet(t, b, "wizard")
}

func useGuest(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	f.Update(func(s *webfixture.Server) { s.Session.Login = false })
	open(b, url, "networks")
	says(b, "Names below gnet.alt")
	var changes int
	b.Eval(`document.querySelectorAll('main button, main input').length`, &changes)
	if changes != 0 {
		t.Errorf("a guest has %d buttons and fields", changes)
	}
	var text string
	if b.Eval("document.body.innerText", &text); strings.Contains(text, "192.168.") || strings.Contains(text, "Settings") {
		t.Errorf("a guest sees:\n%s", text)
	}
	// What is the owner's asks for the password, and goes on there.
	b.Navigate(url + "#/settings")
	fill(b, "[name=password]", "wrong")
	b.Key("Enter")
	says(b, "This is not the password.")
	b.WaitFor(`document.activeElement.name === 'password'`)
	fill(b, "[name=password]", webfixture.Password)
	b.Key("Enter")
	b.WaitFor(`document.querySelector('h1').innerText === 'Settings'`)
	button(b, "Log out")
	says(b, "Log in")
	f.Update(func(s *webfixture.Server) { s.Session.Login = true })
	quiet(t, b, "guest", "403")
}

func useExpired(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "circuits")
	says(b, "Circuits of this router")
	f.Update(func(s *webfixture.Server) { s.Session.Login = false })
	says(b, "Your session has ended.")
	fill(b, "[name=password]", webfixture.Password)
	b.Key("Enter")
	says(b, "Circuits of this router")
	quiet(t, b, "expired", "403")
}

func useMap(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "map")
	b.WaitFor(`document.querySelectorAll('tbody tr').length === 25`)
	button(b, "church")
	says(b, "Way there")
	fill(b, "[type=search]", "bak")
	b.WaitFor(`document.querySelectorAll('tbody tr').length === 1`)
	fill(b, "[type=search]", "")
	// A link fails: the picture and the table follow.
	before := canvas(b)
	f.Update(func(s *webfixture.Server) {
		for i := range s.Map.Links {
			s.Map.Links[i].Cost = 65535
		}
		for i := range s.Map.Nodes[1:] {
			s.Map.Nodes[i+1].Metric, s.Map.Nodes[i+1].Via = 65535, ""
		}
	})
	b.WaitFor(`[...document.querySelectorAll('tbody tr')].filter(r => r.innerText.includes('∞')).length === 24`)
	b.WaitFor(`document.querySelector('canvas').toDataURL() !== ` + js(before))
	b.WaitFor(`document.querySelector('canvas').getAttribute('aria-label').includes('1 node,')`)
	again := webfixture.New(os.DirFS("../../../agent/web/static"), 25).Map
	f.Update(func(s *webfixture.Server) { s.Map = again })
	quiet(t, b, "map")
}

func canvas(b *chromium.Browser) (picture string) {
	b.Eval(`document.querySelector('canvas').toDataURL()`, &picture)
	return picture
}

// Everything can be done with keys, and where the focus is can be seen.
func useKeyboard(t *testing.T, _ *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "")
	b.Key("Tab")
	if text := b.Text(":focus"); text != "Skip to content" {
		t.Errorf("the first thing is %q", text)
	}
	seen := map[string]bool{}
	for range 60 {
		b.Key("Tab")
		var at struct {
			Text  string
			Shown bool
		}
		b.Eval(`(e => ({text: (e.innerText || e.getAttribute('aria-label') || e.id || '').split('\n')[0], shown: e === document.body || getComputedStyle(e).outlineStyle !== 'none'}))(document.activeElement)`, &at)
		if !at.Shown {
			t.Errorf("the focus on %q cannot be seen", at.Text)
		}
		seen[at.Text] = true
	}
	for _, name := range []string{"GlobalNet", "Log out", "Overview", "Map", "Services", "Settings", "Open the map", "baker"} {
		if !seen[name] {
			t.Errorf("Tab does not come to %q: %v", name, seen)
		}
	}
	b.Eval(`document.querySelector('a[href="#/services"]').focus()`, nil)
	b.Key("Enter")
	b.WaitFor(`document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'Services'`)
}

func useServices(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "services")
	fill(b, "[name=name]", "not a name")
	button(b, "Add the service")
	says(b, "1 to 32 letters, digits or _.")
	says(b, "Say where it leads")
	fill(b, "[name=name]", "blog")
	fill(b, "[name=port]", "8000")
	fill(b, "[name=target]", "/srv/www")
	b.Click("[name=listing]")
	f.Posts()
	button(b, "Add the service")
	got, _ := json.Marshal(posted(t, f, b, "/v1/services/add"))
	if string(got) != `{"listing":true,"name":"blog","ports":[{"port":8000,"target":"/srv/www"}],"restricted":false}` {
		t.Errorf("asked for %s", got)
	}
	button(b, "QR code")
	b.WaitFor(`document.querySelector('svg.qr path').getAttribute('d').length > 1000`)
	button(b, "Remove web")
	button(b, "Cancel")
	button(b, "Remove web")
	b.WaitFor(`document.querySelector('dialog')`)
	b.Click("dialog button.main")
	if got := posted(t, f, b, "/v1/services/remove"); got["name"] != "web" {
		t.Errorf("asked for %v", got)
	}
	quiet(t, b, "services")
}

func useMode(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "networks")
	b.WaitFor(`document.querySelector('[name=mode-guest][value=all]')`)
	f.Posts()
	b.Click("[name=mode-guest][value=all]")
	if got := posted(t, f, b, "/v1/lan/mode"); got["network"] != "guest" || got["mode"] != "all" || got["confirm_seconds"] != 60.0 {
		t.Errorf("asked for %v", got)
	}
	says(b, "Is the router still there?")
	if got := posted(t, f, b, "/v1/config/confirm"); got["id"] != "4f" {
		t.Errorf("confirmed %v", got)
	}
	b.WaitFor(`!document.querySelector('dialog') && document.querySelector('[name=mode-guest][value=all]').checked`)
	quiet(t, b, "mode")
}

func useSettings(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "settings")
	fill(b, "[type=search]", "max_neighbours")
	find := func(name, control string) string {
		return `[...document.querySelectorAll('.field')].find(f => f.querySelector('label').innerText === ` + js(name) + `).querySelector('` + control + `')`
	}
	b.WaitFor(find("max_neighbours", "input") + `.checkVisibility()`)
	b.Eval(find("max_neighbours", "input")+`.focus()`, nil)
	b.Type("many")
	says(b, "This must be a number.")
	button(b, "Apply")
	b.Eval(find("max_neighbours", "input")+`.select()`, nil)
	b.Type("12")
	fill(b, "[type=search]", "relay")
	b.Eval(find("relay", "input")+`.click()`, nil)
	says(b, "2 changes")
	f.Posts()
	button(b, "Apply")
	got, _ := json.Marshal(posted(t, f, b, "/v1/config")["changes"])
	if string(got) != `[{"option":"max_neighbours","section":"main","type":"globalnet","value":"12"},{"option":"relay","section":"onion","type":"onion","value":"0"}]` {
		t.Errorf("asked for %s", got)
	}
	posted(t, f, b, "/v1/config/confirm")
	says(b, "Saved. After a restart it holds too for: globalnet.")
	quiet(t, b, "settings")
}

func useExit(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "exit")
	b.WaitFor(`document.querySelector('[name=policy][value=none]')`)
	b.Click("[name=policy][value=none]")
	fill(b, "textarea", "accept a.example:443\nreject *:*")
	f.Posts()
	button(b, "Apply")
	got, _ := json.Marshal(posted(t, f, b, "/v1/config")["changes"])
	if !strings.Contains(string(got), `"value":"none"`) || !strings.Contains(string(got), `["accept a.example:443","reject *:*"]`) {
		t.Errorf("asked for %s", got)
	}
	posted(t, f, b, "/v1/config/confirm")
	b.WaitFor(`!document.querySelector('dialog')`)
	quiet(t, b, "exit")
}

func useSpanish(t *testing.T, _ *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "")
	b.Eval(`(s => { s.value = 'es'; s.dispatchEvent(new Event('change')) })(document.querySelector('#nav select'))`, nil)
	says(b, "nodos al alcance")
	for _, v := range views {
		open(b, url, v)
		var lang string
		if b.Eval("document.documentElement.lang", &lang); lang != "es" {
			t.Errorf("%s is in %s", v, lang)
		}
	}
	open(b, url, "settings")
	says(b, "El nodo")
	b.WaitFor(`document.querySelector('.group .help[lang=es]')?.textContent === 'El nodo.'`)
	b.Eval(`localStorage.removeItem('language')`, nil)
	quiet(t, b, "spanish")
}

// What strangers can name is text, whatever it is.
func useHostile(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	const bad = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	f.Update(func(s *webfixture.Server) {
		for i := range s.Map.Nodes {
			s.Map.Nodes[i].Name = bad
		}
		s.Session.Name = bad
	})
	for _, v := range []string{"", "map", "neighbours", "circuits"} {
		open(b, url, v)
		b.WaitFor(`document.body.innerText.includes('<img src=x')`)
		var title string
		var images int
		b.Eval("document.title", &title)
		if b.Eval("document.images.length", &images); images != 0 || title == "owned" {
			t.Errorf("%s: %d images, title %q", v, images, title)
		}
	}
	again := webfixture.New(os.DirFS("../../../agent/web/static"), 25)
	f.Update(func(s *webfixture.Server) { s.Map, s.Session = again.Map, again.Session })
	quiet(t, b, "hostile")
}

// The router goes away and comes back; the page says so, and goes on.
func useOffline(t *testing.T, f *webfixture.Server, b *chromium.Browser, url string) {
	open(b, url, "")
	gone := func(is bool) { f.Update(func(s *webfixture.Server) { s.Gone = is }) }
	gone(true)
	says(b, "The router does not answer.")
	gone(false)
	b.WaitFor(`!document.getElementById('offline')`)
	b.Problems()
}

// Without JavaScript the page has what the agent wrote into it.
func TestWithoutJavaScript(t *testing.T) {
	f := webfixture.New(os.DirFS("../../../agent/web/static"), 3)
	s := httptest.NewServer(f)
	defer s.Close()
	b := chromium.Start(t)
	b.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.Navigate(s.URL + "/")
	var tree struct {
		Nodes []struct{ Name struct{ Value string } }
	}
	b.Call("Accessibility.getFullAXTree", map[string]any{}, &tree)
	for _, n := range tree.Nodes {
		if strings.Contains(n.Name.Value, "need JavaScript") {
			return
		}
	}
	t.Errorf("it does not say what needs JavaScript: %+v", tree)
}

// The codes of the page are those of another encoder, for every version that it knows.
func TestQR(t *testing.T) {
	_, url := made(t, 3)
	b := chromium.Start(t)
	open(b, url, "")
	for n := 1; n <= 660; n += 11 {
		text := strings.Repeat("http://é/", n)[:n]
		var got struct {
			Version, Mask, Size int
			Dark                []string
		}
		b.Eval(`import('/static/qr.js').then(m => m.encode(`+js(text)+`)).then(q => ({version: q.version, mask: q.mask, size: q.size, dark: q.dark.map(r => [...r].join(''))}))`, &got)
		plan, err := coding.NewPlan(coding.Version(got.Version), coding.Level(qr.M), coding.Mask(got.Mask))
		if err != nil {
			t.Fatal(err)
		}
		// JSON has made what is no UTF-8 into U+FFFD.
		var sent string
		json.Unmarshal([]byte(js(text)), &sent)
		want, err := plan.Encode(coding.String(sent))
		if err != nil {
			t.Fatalf("%d bytes, version %d: %v", n, got.Version, err)
		}
		for y := range got.Size {
			for x := range got.Size {
				if want.Black(x, y) != (got.Dark[y][x] == '1') {
					t.Fatalf("%d bytes, version %d, mask %d: (%d, %d) differs", n, got.Version, got.Mask, x, y)
				}
			}
		}
	}
}
