package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder makes a folder beside which there is a secret.
func folder(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "www")
	for name, text := range map[string]string{
		"secret": "SECRET", "www/index.html": "<p>hello", "www/a.txt": "0123456789", "www/sub/b.CSS": "b{}", "www/.hidden": "SECRET",
		"www/.git/config": "SECRET", "www/sub/.key": "SECRET", "www/x y/ü.bin": "u", "www/http:/c.txt": "c", "www/idx/index.html/z": "z",
		"www2/file": "SECRET",
	} {
		full := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"out": "../secret", "outdir": "..", "abs": filepath.Join(base, "secret"), "in": "a.txt", "sub/up": "../a.txt", "loop": "loop", "dev": "/dev/zero",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func serve(t *testing.T, cfg Config) *Server {
	t.Helper()
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

// ask writes a request as it stands and reads the whole answer.
func ask(t *testing.T, s *Server, request string) (status int, head http.Header, raw, body string) {
	t.Helper()
	c, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	all, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%q: %v", request, err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v in %q", request, err, all)
	}
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(all), string(text)
}

func get(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

func TestFiles(t *testing.T) {
	s := serve(t, Config{Dir: folder(t)})
	for _, tt := range []struct {
		request, body, typ string
		status             int
	}{
		{get("/"), "<p>hello", "text/html; charset=utf-8", 200},
		{get("/index.html"), "<p>hello", "text/html; charset=utf-8", 200},
		{get("/a.txt"), "0123456789", "text/plain; charset=utf-8", 200},
		{get("/a.txt?x=y"), "0123456789", "text/plain; charset=utf-8", 200},
		{get("http://x/a.txt"), "0123456789", "text/plain; charset=utf-8", 200},
		{"GET /a.txt HTTP/1.0\r\n\r\n", "0123456789", "text/plain; charset=utf-8", 200},
		{get("/sub/b.CSS"), "b{}", "text/css; charset=utf-8", 200},
		{get("/x%20y/%C3%BC.bin"), "u", "application/octet-stream", 200},
		{get("/in"), "0123456789", "application/octet-stream", 200},
		{get("/sub/up"), "0123456789", "application/octet-stream", 200},
		{strings.Replace(get("/a.txt"), "GET", "HEAD", 1), "", "text/plain; charset=utf-8", 200},
		{get("/a.txt", "Range: bytes=2-4"), "234", "text/plain; charset=utf-8", 206},
		{get("/a.txt", "Range: bytes=-3"), "789", "text/plain; charset=utf-8", 206},
		{get("/a.txt", "Range: bytes=0-0,2-2"), "0123456789", "text/plain; charset=utf-8", 200}, // one range or none
		{get("/a.txt", "Range: bytes=4-2"), "0123456789", "text/plain; charset=utf-8", 200},
		{strings.Replace(get("/a.txt", "Range: bytes=2-4"), "GET", "HEAD", 1), "", "text/plain; charset=utf-8", 200},
		{get("/a.txt", "If-Match: \"x\", \"y\""), "precondition failed\n", "text/plain; charset=utf-8", 412},
		{get("/a.txt", "If-Match: *"), "0123456789", "text/plain; charset=utf-8", 200},
		{get("/a.txt", "If-None-Match: \"x\""), "0123456789", "text/plain; charset=utf-8", 200},
		{get("/a.txt", "If-None-Match: *"), "", "", 304},
		{get("/a.txt", "If-Range: Fri, 01 Jan 2100 00:00:00 GMT", "Range: bytes=2-4"), "0123456789", "text/plain; charset=utf-8", 200},
		{get("/a.txt", "Range: bytes=20-"), "requested range not satisfiable\n", "text/plain; charset=utf-8", 416},
	} {
		status, head, _, body := ask(t, s, tt.request)
		if status != tt.status || body != tt.body || head.Get("Content-Type") != tt.typ {
			t.Errorf("%q: %d %q %s, want %d %q %s", tt.request, status, body, head.Get("Content-Type"), tt.status, tt.body, tt.typ)
		}
	}
}

// Nothing that is not in the folder under its own plain name comes out, and no
// answer is dated or names a program.
func TestAttacks(t *testing.T) {
	for _, listing := range []bool{false, true} {
		s := serve(t, Config{Dir: folder(t), Listing: listing})
		for _, tt := range []struct {
			request string
			status  int
		}{
			{get("/../secret"), 404}, {get("/%2e%2e/secret"), 404}, {get("/..%2fsecret"), 404}, {get("/sub/../../secret"), 404},
			{get("/sub/%2e%2e/a.txt"), 404}, {get("/..\\secret"), 404}, {get("/%5c..%5csecret"), 404}, {get("/./a.txt"), 404},
			{get("//a.txt"), 404}, {get("//"), 404}, {get("/sub//b.CSS"), 404}, {get("/sub//"), 404}, {get("/a.txt/"), 404}, {get("/a.txt/x"), 404},
			{get("/a.txt%00.html"), 404}, {get("/%00"), 404}, {get("/../www2/file"), 404}, {get("/www2/file"), 404},
			{get("/.hidden"), 404}, {get("/.git/config"), 404}, {get("/.git/"), 404}, {get("/sub/.key"), 404}, {get("/sub/%2ekey"), 404},
			{get("/out"), 404}, {get("/outdir/secret"), 404}, {get("/outdir/"), 404}, {get("/abs"), 404}, {get("/loop"), 404}, {get("/dev"), 404},
			{get("/pipe"), 404}, {get("/none"), 404}, {get("/" + strings.Repeat("a", 2000)), 404}, {get("/" + strings.Repeat("a", 300)), 404},
			{get("/" + strings.Repeat("a/", 400)), 404},
			{get("file:///etc/passwd"), 404}, {get("http://x/../../../../etc/passwd"), 404},
			{"GET ../secret HTTP/1.1\r\nHost: x\r\n\r\n", 400}, {"GET /a.txt HTTP/1.1\r\n\r\n", 400}, {"nonsense\r\n\r\n", 400},
			{"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 20000) + "\r\n\r\n", 431},
			{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 413}, {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
			{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405}, {"TRACE / HTTP/1.1\r\nHost: x\r\nCookie: y\r\n\r\n", 405},
			{"PUT /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 405}, {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n", 405},
			{"DELETE /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 405}, {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
			{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405},
			{get("/sub"), 301}, {get("/http:"), 301},
			{get("/a.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), 200},
			{get("/a.txt", "If-Unmodified-Since: Fri, 01 Jan 1971 00:00:00 GMT"), 200},
		} {
			status, head, raw, body := ask(t, s, tt.request)
			if status != tt.status {
				t.Errorf("listing %v: %.80q: %d, want %d", listing, tt.request, status, tt.status)
			}
			if strings.Contains(raw, "SECRET") || strings.Contains(body, "root:") {
				t.Errorf("%.80q: what is outside came out: %q", tt.request, raw)
			}
			if head.Values("Date") != nil || head.Values("Server") != nil || head.Values("Last-Modified") != nil {
				t.Errorf("%.80q: the head tells of the machine: %q", tt.request, raw)
			}
			if l := head.Get("Location"); l != "" && !regexp.MustCompile(`^\./[^/]+/$`).MatchString(l) {
				t.Errorf("%.80q: leads to %q", tt.request, l)
			}
		}
	}
}

func TestListing(t *testing.T) {
	dir := folder(t)
	if err := os.Remove(filepath.Join(dir, "index.html")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, `<b>"&javascript:.txt`), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, _, _ := ask(t, serve(t, Config{Dir: dir}), get("/")); status != 404 {
		t.Errorf("without an index and not listed: %d", status)
	}
	s := serve(t, Config{Dir: dir, Listing: true})
	_, _, _, body := ask(t, s, get("/"))
	for _, want := range []string{`<a href="./a.txt">a.txt</a>`, `<a href="./sub/">sub/</a>`, `<a href="./x%20y/">x y/</a>`, `<a href="./in">`,
		`<a href="./%3Cb%3E%22&amp;javascript:.txt">&lt;b&gt;&#34;&amp;javascript:.txt</a>`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	for _, not := range []string{".hidden", ".git", ">out<", ">outdir", ">abs<", ">pipe<", ">loop<", ">dev<", "../"} {
		if strings.Contains(body, not) {
			t.Errorf("%s is listed", not)
		}
	}
	if _, _, _, body = ask(t, s, get("/sub/")); !strings.Contains(body, `<h1>/sub/</h1>`) || !strings.Contains(body, `href="../"`) {
		t.Errorf("below: %s", body)
	}
	big := filepath.Join(dir, "big")
	if err := os.Mkdir(big, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range maxListing + 5 {
		if err := os.WriteFile(filepath.Join(big, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, body = ask(t, s, get("/big/")); strings.Count(body, "<li>") != maxListing+1 || !strings.Contains(body, "There is more") {
		t.Errorf("%d names are listed", strings.Count(body, "<li>"))
	}
}

func TestTags(t *testing.T) {
	dir := folder(t)
	s, other := serve(t, Config{Dir: dir, Secret: [32]byte{1}}), serve(t, Config{Dir: dir, Secret: [32]byte{2}})
	tag := func(s *Server) string {
		_, head, _, _ := ask(t, s, get("/a.txt"))
		return head.Get("Etag")
	}
	first := tag(s)
	if tag(s) != first || tag(other) == first {
		t.Error("the tag follows from the file and the secret, nothing else")
	}
	for _, condition := range []string{"If-None-Match: " + first, "If-None-Match: \"x\", W/" + first} {
		if status, head, _, body := ask(t, s, get("/a.txt", condition)); status != 304 || body != "" || head.Get("Etag") != first {
			t.Errorf("%s: %d", condition, status)
		}
	}
	if status, _, _, _ := ask(t, s, get("/a.txt", "If-Match: W/"+first)); status != 412 {
		t.Errorf("a weak tag is the same to the byte: %d", status)
	}
	if status, _, _, body := ask(t, s, get("/a.txt", "If-Range: "+first, "Range: bytes=5-")); status != 206 || body != "56789" {
		t.Errorf("going on with a download: %d %q", status, body)
	}
	if err := os.Chtimes(filepath.Join(dir, "a.txt"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if tag(s) == first {
		t.Error("the file has changed, its tag has not")
	}
	if status, _, _, body := ask(t, s, get("/a.txt", "If-Range: "+first, "Range: bytes=5-")); status != 200 || body != "0123456789" {
		t.Errorf("going on where the file has changed: %d %q", status, body)
	}
}

func TestFolderComesLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	s := serve(t, Config{Dir: dir})
	if status, _, _, _ := ask(t, s, get("/")); status != 503 {
		t.Errorf("no folder yet: %d", status)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, _, body := ask(t, s, get("/f")); status != 200 || body != "f" {
		t.Errorf("then: %d %q", status, body)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := serve(t, Config{Dir: folder(t)})
	var open []net.Conn
	for range maxConnections {
		c, err := s.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := s.Connect(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	for _, c := range open {
		c.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := s.Connect(t.Context())
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("places are not given back: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// One connection serves many requests, and Close ends it.
func TestClose(t *testing.T) {
	s := New(Config{Dir: folder(t)})
	c, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for range 3 {
		io.WriteString(c, get("/a.txt"))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "0123456789" {
			t.Fatalf("%q", body)
		}
	}
	s.Close()
	s.Close()
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection lives on")
	}
	if _, err := s.Connect(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("connecting to what is closed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Connect(ctx); err == nil {
		t.Error("connected without a server")
	}
}

func FuzzLocalName(f *testing.F) {
	for _, s := range []string{"/", "/a", "/a/b/", "//", "/..", "/a/../b", "/.x", "", "a", "/\x00", "/a\\b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := localName(s)
		if ok && (!filepath.IsLocal(name) || name != filepath.Clean(name) || name != "." && strings.Contains("/"+name, "/.")) {
			t.Errorf("%q is %q", s, name)
		}
	})
}

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		text         string
		size         int64
		from, length int64
		want         rangeResult
	}{
		{"bytes=0-0", 10, 0, 1, partial}, {"bytes=0-", 10, 0, 10, partial}, {"bytes=9-", 10, 9, 1, partial}, {"bytes=9-99", 10, 9, 1, partial},
		{"bytes=-1", 10, 9, 1, partial}, {"bytes=-99", 10, 0, 10, partial}, {"bytes= 1-2 ", 10, 1, 2, partial},
		{"bytes=0-99999999999999999999999", 10, 0, 10, partial}, {"bytes=-99999999999999999999999", 10, 0, 10, partial},
		{"bytes=10-", 10, 0, 0, outside}, {"bytes=10-20", 10, 0, 0, outside}, {"bytes=-0", 10, 0, 0, outside}, {"bytes=0-", 0, 0, 0, outside},
		{"bytes=-5", 0, 0, 0, outside}, {"bytes=99999999999999999999999-", 10, 0, 0, outside},
		{"bytes=", 10, 0, 0, whole}, {"bytes=-", 10, 0, 0, whole}, {"bytes=5", 10, 0, 0, whole}, {"bytes=5-4", 10, 0, 0, whole},
		{"bytes=+1-2", 10, 0, 0, whole}, {"bytes=1--2", 10, 0, 0, whole}, {"bytes=1-2,3-4", 10, 0, 0, whole}, {"lines=1-2", 10, 0, 0, whole}, {"", 10, 0, 0, whole},
	} {
		from, length, got := parseRange(tt.text, tt.size)
		if from != tt.from || length != tt.length || got != tt.want {
			t.Errorf("%q of %d: %d %d %d, want %d %d %d", tt.text, tt.size, from, length, got, tt.from, tt.length, tt.want)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-5", int64(10))
	f.Add("bytes=-5", int64(10))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(1))
	f.Fuzz(func(t *testing.T, text string, size int64) {
		size = max(size, 0)
		from, length, got := parseRange(text, size)
		if got == partial && (from < 0 || length < 1 || from > size-length) {
			t.Errorf("%q of %d is %d bytes from %d", text, size, length, from)
		}
	})
}
