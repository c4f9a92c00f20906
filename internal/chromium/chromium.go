// Package chromium drives a headless Chromium for tests of pages, by the DevTools
// protocol over a pipe: no port is open, and nothing is left when the test ends.
// https://chromedevtools.github.io/devtools-protocol/ describes the methods.
//
// A Browser belongs to one test and has one page. Its methods end the test when
// the browser does not do what it is told.
package chromium

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a page may take for anything: the machine may be busy.
const patience = 60 * time.Second

// Browser is a browser with one page.
type Browser struct {
	t       testing.TB
	conn    *conn
	session string
	loaded  chan struct{}

	mu       sync.Mutex
	problems []string
}

// Start starts a browser with more arguments of its command line. Without Chromium
// the test is skipped, or fails if the laboratory is required.
func Start(t testing.TB, args ...string) *Browser {
	t.Helper()
	return StartIn(t, nil, args...)
}

// StartIn starts the browser by a command that runs another one, as one that enters
// a namespace does.
func StartIn(t testing.TB, enter []string, args ...string) *Browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("LAB") == "required" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed")
	}
	// Not t.TempDir: the browser's helpers may write while the folder is removed.
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	command := append(append(append([]string{}, enter...), program,
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir="+dir,
		// The pages are ours, and the sandbox is not allowed in every container.
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-sync",
		"--disable-component-update", "--disable-background-networking", "--disable-default-apps",
		"--hide-scrollbars", "--mute-audio", "--password-store=basic", "--force-color-profile=srgb"), args...)
	b := &Browser{t: t, loaded: make(chan struct{}, 1)}
	if b.conn, err = start(command, dir, b.event); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.conn.close()
		removeAll(dir)
	})
	var target struct{ TargetID string }
	b.Call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.Call(domain+".enable", nil, nil)
	}
	return b
}

// Node is a place with a network of its own.
type Node interface {
	Start(cmd *exec.Cmd) error
}

// StartAt starts the browser on a node: in its network, and in those of its namespaces that
// flags of nsenter(1) name besides.
func StartAt(t testing.TB, n Node, flags ...string) *Browser {
	t.Helper()
	there := exec.Command("sleep", "infinity")
	if err := n.Start(there); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Process.Kill(); there.Wait() })
	return StartIn(t, append([]string{"nsenter", "-t", strconv.Itoa(there.Process.Pid), "-n"}, flags...))
}

// Call calls a method of the protocol; result may be nil.
func (b *Browser) Call(method string, params, result any) {
	b.t.Helper()
	if err := b.conn.call(b.session, method, params, result); err != nil {
		b.t.Fatalf("chromium: %s: %v", method, err)
	}
}

// event is called in order, on the goroutine that reads.
func (b *Browser) event(session, method string, params json.RawMessage) {
	switch method {
	case "Page.loadEventFired":
		select {
		case b.loaded <- struct{}{}:
		default:
		}
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		if p := problem(method, params); p != "" {
			b.mu.Lock()
			b.problems = append(b.problems, p)
			b.mu.Unlock()
		}
	}
}

// Problems returns what the page has complained of since the last call: errors and
// warnings of the console, exceptions that nobody caught, what did not load.
func (b *Browser) Problems() []string {
	b.t.Helper()
	b.Eval("0", nil) // what was said before has arrived then
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.problems
	b.problems = nil
	return all
}

// Navigate loads a page, and returns when it and what it names are loaded.
func (b *Browser) Navigate(url string) {
	b.t.Helper()
	select {
	case <-b.loaded:
	default:
	}
	var answer struct{ LoaderID, ErrorText string }
	b.Call("Page.navigate", map[string]any{"url": url}, &answer)
	if answer.ErrorText != "" {
		b.t.Fatalf("chromium: %s: %s", url, answer.ErrorText)
	}
	if answer.LoaderID == "" {
		return // a place within the same document
	}
	select {
	case <-b.loaded:
	case <-time.After(patience):
		b.t.Fatalf("chromium: %s was not loaded in %s", url, patience)
	}
}

// Eval evaluates an expression in the page, waits if it is a promise, and stores its
// value in result, as JSON does; result may be nil.
func (b *Browser) Eval(expression string, result any) {
	b.t.Helper()
	value, exception, err := b.evaluate(expression)
	switch {
	case err != nil:
		b.t.Fatalf("chromium: %s: %v", expression, err)
	case exception != "":
		b.t.Fatalf("chromium: %s: %s", expression, exception)
	case result == nil:
		return
	case len(value) == 0:
		b.t.Fatalf("chromium: %s has no value", expression)
	}
	if err := json.Unmarshal(value, result); err != nil {
		b.t.Fatalf("chromium: %s is %s: %v", expression, value, err)
	}
}

func (b *Browser) evaluate(expression string) (value json.RawMessage, exception string, err error) {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *exceptionDetails
	}
	err = b.conn.call(b.session, "Runtime.evaluate", map[string]any{
		"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true,
	}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		exception = e.String()
	}
	return answer.Result.Value, exception, err
}

// WaitFor returns when the expression is true. While a page changes it may throw.
func (b *Browser) WaitFor(expression string) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		value, exception, err := b.evaluate("!!(" + expression + ")")
		if err == nil && string(value) == "true" {
			return
		}
		select {
		case <-tick.C:
		case <-b.conn.done:
			b.t.Fatalf("chromium ended while waiting for %s", expression)
		case <-deadline:
			var text string
			b.Eval("document.body ? document.body.innerText : ''", &text)
			b.t.Fatalf("chromium: waiting for %s: it is %s %s; the page says %v:\n%s", expression, value, exception, b.Problems(), text)
		}
	}
}

// Text returns the text of what a CSS selector finds first, as it is to be seen.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	var text string
	b.Eval("document.querySelector("+quote(selector)+").innerText", &text)
	return text
}

// Click clicks on what a CSS selector finds first, with the mouse: what is covered
// or hidden is not clicked.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.ClickOn(`document.querySelector(` + quote(selector) + `)`)
}

// ClickOn is Click for an element that an expression finds. A page that draws anew may put
// another in its place at any time, so that it is looked for only once.
func (b *Browser) ClickOn(expression string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.Eval(`(() => { const e = `+expression+`;
		e.scrollIntoView({block: 'center', behavior: 'instant'});
		const r = e.getBoundingClientRect();
		return {x: r.x + r.width / 2, y: r.y + r.height / 2} })()`, &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.Call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// Type writes a text where the focus is.
func (b *Browser) Type(text string) {
	b.t.Helper()
	b.Call("Input.insertText", map[string]any{"text": text}, nil)
}

// Key presses and releases keys one after the other, by their names: Tab, Shift+Tab,
// Enter, Escape, Space, ArrowDown, a letter.
func (b *Browser) Key(names ...string) {
	b.t.Helper()
	for _, name := range names {
		k := keyOf(name)
		press := map[string]any{"type": "rawKeyDown", "key": k.key, "code": k.code, "windowsVirtualKeyCode": k.number, "modifiers": k.modifiers}
		if k.text != "" {
			press["type"], press["text"] = "keyDown", k.text
		}
		b.Call("Input.dispatchKeyEvent", press, nil)
		press["type"] = "keyUp"
		delete(press, "text")
		b.Call("Input.dispatchKeyEvent", press, nil)
	}
}

// Device is what a page is shown on.
type Device struct {
	Width, Height int
	Scale         float64 // pixels of the device a pixel of CSS; 0: 1
	Phone         bool    // touch, and the viewport of phones
	Dark          bool    // prefers-color-scheme
	Still         bool    // prefers-reduced-motion
}

// Devices that pages are looked at on.
var (
	Desktop = Device{Width: 1280, Height: 800}
	Phone   = Device{Width: 390, Height: 844, Scale: 2, Phone: true}
)

// Emulate shows the page as on that device, from now on.
func (b *Browser) Emulate(d Device) {
	b.t.Helper()
	if d.Scale == 0 {
		d.Scale = 1
	}
	b.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": d.Width, "height": d.Height, "deviceScaleFactor": d.Scale, "mobile": d.Phone}, nil)
	b.Call("Emulation.setTouchEmulationEnabled", map[string]any{"enabled": d.Phone}, nil)
	scheme, motion := "light", "no-preference"
	if d.Dark {
		scheme = "dark"
	}
	if d.Still {
		motion = "reduce"
	}
	b.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion},
	}}, nil)
}

// Screenshot returns a picture of the whole page, as PNG. With SCREENSHOTS set, it is
// also kept in that folder, as name.png.
func (b *Browser) Screenshot(name string) []byte {
	b.t.Helper()
	var answer struct{ Data string }
	b.Call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &answer)
	picture, err := base64.StdEncoding.DecodeString(answer.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if folder := os.Getenv("SCREENSHOTS"); folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	return picture
}

func quote(s string) string {
	q, _ := json.Marshal(s)
	return string(q)
}

// removeAll tries for a while: helpers of the browser end after it.
func removeAll(dir string) {
	for range 50 {
		if os.RemoveAll(dir) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// key is what the protocol says of a key.
type key struct {
	key, code, text   string
	number, modifiers int
}

var keys = map[string]key{
	"Tab":        {key: "Tab", code: "Tab", number: 9},
	"Enter":      {key: "Enter", code: "Enter", text: "\r", number: 13},
	"Escape":     {key: "Escape", code: "Escape", number: 27},
	"Space":      {key: " ", code: "Space", text: " ", number: 32},
	"Backspace":  {key: "Backspace", code: "Backspace", number: 8},
	"End":        {key: "End", code: "End", number: 35},
	"Home":       {key: "Home", code: "Home", number: 36},
	"ArrowLeft":  {key: "ArrowLeft", code: "ArrowLeft", number: 37},
	"ArrowUp":    {key: "ArrowUp", code: "ArrowUp", number: 38},
	"ArrowRight": {key: "ArrowRight", code: "ArrowRight", number: 39},
	"ArrowDown":  {key: "ArrowDown", code: "ArrowDown", number: 40},
}

var modifiers = map[string]int{"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}

func keyOf(name string) key {
	held := 0
	for {
		modifier, rest, ok := strings.Cut(name, "+")
		if !ok || rest == "" {
			break
		}
		held |= modifiers[modifier]
		name = rest
	}
	k, ok := keys[name]
	if !ok {
		upper := strings.ToUpper(name)
		k = key{key: name, code: "Key" + upper, text: name, number: int(upper[0])}
	}
	if held&^modifiers["Shift"] != 0 {
		k.text = ""
	}
	k.modifiers = held
	return k
}
