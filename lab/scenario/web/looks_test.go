package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"image"
	"image/png"
	"os"
	"strings"
	"testing"

	"globalnet/internal/chromium"
	"globalnet/lab/webfixture"
)

var update = flag.Bool("update", false, "write testdata/looks.json anew")

// Every view on phone and desktop, light and dark: nothing sticks out, axe-core finds no
// serious fault, and it looks about as it did (testdata/looks.json).
func TestLooks(t *testing.T) {
	f, url := made(t, 40)
	b := chromium.Start(t)
	axe := axeCore(t)
	looks := map[string]string{}
	known := map[string]string{}
	if text, err := os.ReadFile("testdata/looks.json"); err == nil {
		if err := json.Unmarshal(text, &known); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name   string
		device chromium.Device
		whole  bool // all views, judged by axe-core; else some, for their colours and their places
	}{
		{"desktop-light", chromium.Device{Width: 1280, Height: 800}, true},
		{"desktop-dark", chromium.Device{Width: 1280, Height: 800, Dark: true}, false},
		{"phone-light", chromium.Device{Width: 390, Height: 844, Phone: true}, false},
		{"phone-dark", chromium.Device{Width: 390, Height: 844, Phone: true, Dark: true}, true},
	} {
		x.device.Still = true // the map is laid out at once, so pictures can be compared
		b.Emulate(x.device)
		list := []string{"wizard", "", "map", "services"}
		if x.whole {
			list = append([]string{"login", "wizard", "guest"}, views...)
		}
		for _, view := range list {
			f.Update(func(s *webfixture.Server) {
				s.Session.Login = view != "login" && view != "guest" && view != "wizard"
				s.Session.ReadOnly, s.Session.Wizard = view != "login", view == "wizard"
				s.Session.Radios, s.Session.LANs = []string{"radio0", "radio1"}, []any{map[string]string{"name": "lan", "mode": "names"}}
			})
			path := view
			if view == "guest" || view == "wizard" {
				path = ""
			}
			open(b, url, path)
			if view == "" {
				view = "overview"
			}
			name := x.name + "-" + view
			quiet(t, b, name)
			var out []string
			b.Eval(`[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.unseen, thead, .toast')).map(e => e.outerHTML.slice(0, 80))`, &out)
			for _, e := range out {
				t.Errorf("%s: sticks out at the right: %s", name, e)
			}
			if x.whole && axe != "" {
				judge(t, b, axe, name)
			}
			looks[name] = thumbnail(t, b.Screenshot(name))
			if _, ok := known[name]; !ok && !*update {
				t.Errorf("%s is not in testdata/looks.json: `go test ./lab/scenario/web -run TestLooks -update` writes it", name)
			} else if d := difference(known[name], looks[name]); d > 20 && !*update {
				t.Errorf("%s looks otherwise than it did: a mean difference of %.0f of 255; if that is meant, run the test with -update", name, d)
			}
		}
	}
	if *update {
		text, err := json.MarshalIndent(looks, "", "\t")
		if err == nil {
			err = os.WriteFile("testdata/looks.json", append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// axeCore is the text of axe-core, which is not of the project: AXE says where it is.
func axeCore(t *testing.T) string {
	t.Helper()
	name := os.Getenv("AXE")
	if name == "" {
		if os.Getenv("LAB") == "required" {
			t.Error("AXE does not name axe.min.js, and LAB=required: `npm pack axe-core` has it")
		}
		return ""
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judge fails for faults that axe-core calls serious or critical.
func judge(t *testing.T, b *chromium.Browser, axe, where string) {
	t.Helper()
	var faults []struct {
		ID, Impact, Help string
		Nodes            []struct {
			HTML           string
			FailureSummary string
		}
	}
	b.Eval(axe+";0", nil)
	b.Eval(`axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)))`, &faults)
	for _, f := range faults {
		for _, n := range f.Nodes {
			t.Errorf("%s: %s, %s: %s\n%s\n%s", where, f.Impact, f.ID, f.Help, n.HTML, n.FailureSummary)
		}
	}
}

// The thumbnail of a picture: lightness of cells that are large enough that no font of
// any machine matters.
const columns, rows = 12, 16

func thumbnail(t *testing.T, picture []byte) string {
	t.Helper()
	p, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 0, columns*rows)
	size := p.Bounds().Size()
	for y := range rows {
		for x := range columns {
			out = append(out, lightness(p, image.Rect(x*size.X/columns, y*size.Y/rows, (x+1)*size.X/columns, (y+1)*size.Y/rows)))
		}
	}
	return base64.StdEncoding.EncodeToString(out)
}

func lightness(p image.Image, cell image.Rectangle) byte {
	var sum, n uint64
	for y := cell.Min.Y; y < cell.Max.Y; y += 2 {
		for x := cell.Min.X; x < cell.Max.X; x += 2 {
			r, g, b, _ := p.At(x, y).RGBA()
			sum += uint64(r+2*g+b) / 4 >> 8
			n++
		}
	}
	return byte(sum / max(n, 1))
}

// difference is the mean of the thumbnails' cells; pictures of nothing differ by all.
func difference(a, b string) float64 {
	x, _ := base64.StdEncoding.DecodeString(a)
	y, _ := base64.StdEncoding.DecodeString(b)
	if len(x) != len(y) || len(x) == 0 {
		return 255
	}
	var sum float64
	for i := range x {
		sum += max(float64(x[i])-float64(y[i]), float64(y[i])-float64(x[i]))
	}
	return sum / float64(len(x))
}

func TestDifference(t *testing.T) {
	at := func(v byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{v}, columns*rows)) }
	if d := difference(at(10), at(40)); d != 30 {
		t.Errorf("%v", d)
	}
	if d := difference(at(10), ""); d != 255 {
		t.Errorf("%v", d)
	}
}

// Nothing of the page is inline, whatever the server's policy says.
func TestNothingInline(t *testing.T) {
	text, err := os.ReadFile("../../../agent/web/static/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<style", " style=", " onclick", " onload", "<script>", "javascript:", "http://", "https://"} {
		if strings.Contains(strings.ReplaceAll(string(text), "http://www.w3.org", ""), bad) {
			t.Errorf("index.html has %q", bad)
		}
	}
}
