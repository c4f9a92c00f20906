package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"globalnet/internal/chromium"
	"globalnet/lab"
	"globalnet/lab/peers"
	"globalnet/lab/webfixture"
)

func init() {
	Register(Bench{
		Name: "web", Summary: "the router's page in headless Chromium, against a router of a lab",
		Parts: []Part{
			{Name: "weight", Summary: "bytes and requests of the page", Run: webPart(webWeight)},
			{Name: "paint", Summary: "from the request to what can be read", Run: webPart(webPaint)},
			{Name: "map", Summary: "a map of 200 nodes of which 20 links change every second", Run: webPart(webMap)},
			{Name: "memory", Summary: "what two viewers add to the agent", Run: webPart(webMemory)},
		},
	})
}

const (
	webAddress  = "127.0.0.1:8080"
	webPassword = "four words are enough"
	webStreet   = `router a b c d e
radio a b c
radio c d e
set a web.listen ` + webAddress + "\n"
	webURL      = "http://" + webAddress + "/"
	webNodes    = 200
	webChanges  = 20
	webWatching = 12 * time.Second // of the map
	webViewing  = 30 * time.Second // of two viewers
)

var webViews = []string{"", "map", "neighbours", "circuits", "services", "networks", "exit", "log", "settings"}

// page is a lab with a router whose page is looked at.
type page struct {
	Env
	*trial
	t      *driver
	router *lab.Node
}

// driver lets internal/chromium end a part as it ends a test: by a panic that webPart
// turns into an error.
type driver struct {
	testing.TB // for what the browser does not use
	ends       []func()
}

type gaveUp struct{ error }

func (d *driver) Helper()                   {}
func (d *driver) Fatal(args ...any)         { panic(gaveUp{errors.New(fmt.Sprint(args...))}) }
func (d *driver) Fatalf(f string, a ...any) { panic(gaveUp{fmt.Errorf(f, a...)}) }
func (d *driver) Skip(args ...any)          { d.Fatal(args...) }
func (d *driver) Cleanup(f func())          { d.ends = append(d.ends, f) }

func (d *driver) end() {
	for i := len(d.ends) - 1; i >= 0; i-- {
		d.ends[i]()
	}
	d.ends = nil
}

func webPart(measure func(p *page) []Result) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) (results []Result, err error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		t, err := newTrial(ctx, e, webStreet, peers.GlobalNet{})
		if err != nil {
			return nil, err
		}
		defer t.stop()
		if _, err := t.start(ctx); err != nil {
			return nil, err
		}
		d := &driver{}
		defer d.end()
		defer func() {
			if r := recover(); r != nil {
				g, ok := r.(gaveUp)
				if !ok {
					panic(r)
				}
				err = g.error
			}
		}()
		return measure(&page{e, t, d, t.lab.Node("a")}), nil
	}
}

// browser starts a browser beside the router. It has no cache of an earlier one.
func (p *page) browser() *chromium.Browser {
	b := chromium.StartAt(p.t, p.router)
	b.Emulate(chromium.Desktop)
	return b
}

// owner sets the password, if there is none, and logs in.
func (p *page) owner(b *chromium.Browser) {
	b.Navigate(webURL)
	b.Eval(`fetch('/v1/session').then(r => r.json()).then(s => fetch(s.wizard ? '/v1/setup' : '/v1/login',
		{method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"password": "`+webPassword+`"}'})).then(r => { if (!r.ok) throw r.status })`, nil)
}

func (p *page) open(b *chromium.Browser, view string) {
	b.Navigate("about:blank")
	b.Navigate(webURL + "#/" + view)
	b.WaitFor(`document.querySelector('.view')?.innerText.length > 20`)
}

// webWeight opens every view, and counts each file once. The gzip'd bodies are counted
// as they came.
func webWeight(p *page) []Result {
	b := p.browser()
	p.owner(b)
	// A request that lasts is not among those that the browser lists.
	b.Call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		window.streams = 0;
		window.EventSource = class extends EventSource { constructor(...a) { super(...a); window.streams++; } };`}, nil)
	files := map[string]float64{}
	var first, asked int
	for i, v := range append([]string{"", "es"}, webViews...) {
		if v == "es" {
			b.Eval(`localStorage.setItem('language', 'es')`, nil)
			v = ""
		}
		b.Call("Network.setCacheDisabled", map[string]any{"cacheDisabled": true}, nil)
		p.open(b, v)
		var seen []struct {
			Name string
			Size float64
		}
		b.Eval(`[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map(e => ({name: e.name.split('#')[0], size: e.encodedBodySize}))`, &seen)
		if i == 0 {
			b.Eval("window.streams", &asked)
		}
		for _, s := range seen {
			switch {
			case !strings.Contains(s.Name, "/v1/"):
				files[s.Name] = max(files[s.Name], s.Size)
				if i == 0 {
					first++
				}
			case i == 0:
				asked++
			}
		}
	}
	sum := 0.0
	for _, size := range files {
		sum += size
	}
	return []Result{
		Less("page, all views and languages, gzip", sum/1024, "KiB", 100),
		Less("files of the first view", float64(first), "requests", 8),
		Info("requests for its data until it was drawn", float64(asked), "requests", "less"),
	}
}

// webPaint opens the page with nothing in the cache.
func webPaint(p *page) []Result {
	b := p.browser()
	p.owner(b)
	var paint, drawn []float64
	for range p.Times(9) {
		b.Call("Network.clearBrowserCache", nil, nil)
		p.open(b, "")
		var x struct{ Paint, Drawn float64 }
		b.WaitFor(`performance.getEntriesByName('first-contentful-paint').length > 0`)
		b.Eval(`({paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, drawn: performance.now()})`, &x)
		paint, drawn = append(paint, x.Paint), append(drawn, x.Drawn)
	}
	return []Result{
		Less("first paint, which has the status in it, median", quantile(paint, 0.5), "ms", 300),
		Info("until the scripts have drawn the first view, median", quantile(drawn, 0.5), "ms", "less"),
	}
}

// webMap puts a made-up neighbourhood in place of the router's answer, and counts frames.
func webMap(p *page) []Result {
	b := p.browser()
	p.owner(b)
	made := webfixture.New(nil, webNodes)
	set := func() {
		text, err := json.Marshal(made.Map)
		if err != nil {
			p.t.Fatal(err)
		}
		b.Eval("window.madeUp = "+string(text)+"; 0", nil)
	}
	text, _ := json.Marshal(made.Map)
	// Time of each of the page's own frames, and of each frame of the browser.
	b.Call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		window.madeUp = ` + string(text) + `;
		delete window.EventSource; // so the page asks
		const ask = window.fetch, frame = window.requestAnimationFrame.bind(window);
		window.fetch = (url, options) => String(url).endsWith('/v1/map') ? Promise.resolve(new Response(JSON.stringify(window.madeUp))) : ask(url, options);
		window.work = []; window.at = [];
		window.requestAnimationFrame = f => frame(t => { const began = performance.now(); f(t); window.work.push(performance.now() - began); });
		const tick = () => { window.at.push(performance.now()); frame(tick); };
		frame(tick);`}, nil)
	p.open(b, "map")
	b.WaitFor(fmt.Sprintf("document.querySelectorAll('tbody tr').length === %d", webNodes))
	b.Eval("window.work = []; window.at = []; 0", nil)
	before := busy(b)
	for end := time.Now().Add(webWatching); time.Now().Before(end); time.Sleep(time.Second) {
		made.Shake(webChanges)
		set()
	}
	var got struct{ Work, At []float64 }
	b.Eval("({work: window.work, at: window.at})", &got)
	used := busy(b) - before
	var gaps []float64
	for i := 1; i < len(got.At); i++ {
		gaps = append(gaps, got.At[i]-got.At[i-1])
	}
	rate := 0.0
	if n := len(got.At); n > 1 {
		rate = float64(n-1) / (got.At[n-1] - got.At[0]) * 1000
	}
	return []Result{
		More("map of 200 nodes, 20 links changing every second, frames", rate, "1/s", 30),
		Less("the same, script in a frame, 95th percentile", quantile(got.Work, 0.95), "ms", 50),
		Info("the same, most", quantile(got.Work, 1), "ms", "less"),
		Less("the same, CPU of the page a frame, with layout and painting, mean", 1000*used/float64(max(len(got.Work), 1)), "ms", 50),
		Info("the same, from frame to frame, 95th percentile", quantile(gaps, 0.95), "ms", "less"),
	}
}

// busy is the CPU time of the page's thread, in seconds: it does not count what other
// programs keep it waiting for.
func busy(b *chromium.Browser) float64 {
	b.Call("Performance.enable", map[string]any{"timeDomain": "threadTicks"}, nil)
	var answer struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	b.Call("Performance.getMetrics", nil, &answer)
	for _, m := range answer.Metrics {
		if m.Name == "TaskDuration" {
			return m.Value
		}
	}
	return 0
}

// webMemory compares the agent before and while two people look at the map and at the
// neighbours.
func webMemory(p *page) []Result {
	resident := func() float64 {
		var all []float64
		for range 10 {
			m, err := memoryOf(p.router.Pid())
			if err != nil {
				p.t.Fatal(err)
			}
			all = append(all, m.rss)
			time.Sleep(200 * time.Millisecond)
		}
		return quantile(all, 0.5)
	}
	time.Sleep(webViewing)
	before := resident()
	// As guests: trying a password takes 16 MiB for a moment, and is no part of viewing.
	for _, v := range []string{"map", "neighbours"} {
		p.open(p.browser(), v)
	}
	time.Sleep(webViewing)
	after := resident()
	return []Result{
		Less("RSS added to the agent by two viewers", after-before, "MiB", 3),
		Info("RSS of the agent before", before, "MiB", "less"),
	}
}
