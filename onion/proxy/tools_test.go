package proxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"globalnet/internal/chromium"
)

// tool runs a program as its users do. A program that is missing skips the test,
// unless the laboratory is required.
func tool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("LAB") == "required" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// site is a web server that the world knows as site.test:80 and, with TLS, :443.
func (w *world) site() {
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "<p>%s %s at %s, %d bytes</p>", r.Method, r.URL, r.Host, len(body))
	})
	plain, sealed := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	w.t.Cleanup(plain.Close)
	w.t.Cleanup(sealed.Close)
	w.ports[80] = addrPort(plain.Listener.Addr()).Port()
	w.ports[443] = addrPort(sealed.Listener.Addr()).Port()
	w.hosts["site.test"] = netip.MustParseAddr("203.0.113.5")
}

func TestCurl(t *testing.T) {
	w := newWorld(t)
	w.site()
	_, addr := w.serve(Config{})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-x", "socks5h://" + addr, "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "socks5h://user:secret@" + addr, "https://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "socks5://" + addr, "--resolve", "site.test:80:203.0.113.5", "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "socks4a://" + addr, "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "socks4://" + addr, "--resolve", "site.test:80:203.0.113.5", "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "http://" + addr, "--proxytunnel", "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "http://user:secret@" + addr, "https://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "http://" + addr, "http://site.test/a"}, "GET /a at site.test, 0 bytes"},
		{[]string{"-x", "http://" + addr, "-d", strings.Repeat("x", 100000), "http://site.test/a"}, "POST /a at site.test, 100000 bytes"},
		// Two requests of one run: the first connection must not be used for the second.
		{[]string{"-x", "http://" + addr, "http://site.test/a", "http://site.test/b"}, "GET /a at site.test, 0 bytes</p><p>GET /b at site.test, 0 bytes"},
		{[]string{"-x", "socks5h://" + addr, "http://site.test/a", "http://site.test/b"}, "GET /a at site.test, 0 bytes</p><p>GET /b at site.test, 0 bytes"},
	} {
		t.Run(strings.Join(tt.args, " ")[:20], func(t *testing.T) {
			got := tool(t, nil, "curl", append([]string{"-sS", "-k", "--max-time", "30"}, tt.args...)...)
			if want := "<p>" + tt.want + "</p>"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// A browser finds its way with SOCKS5 and with HTTP proxying.
func TestChromium(t *testing.T) {
	w := newWorld(t)
	w.site()
	s, addr := w.serve(Config{})
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("chromium is not installed; it is too large to be required")
	}
	for _, scheme := range []string{"socks5", "http"} {
		for _, url := range []string{"http://site.test/a", "https://site.test/a"} {
			before := s.Stats()
			dir := t.TempDir()
			got := tool(t, chromium.Environment(dir), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
				"--ignore-certificate-errors", "--user-data-dir="+dir, "--proxy-server="+scheme+"://"+addr, "--dump-dom", url)
			if !strings.Contains(got, "GET /a at site.test, 0 bytes") {
				t.Errorf("%s by %s: %q", url, scheme, got)
			}
			if after := s.Stats(); after.Invalid != before.Invalid {
				t.Errorf("%s by %s: %d invalid requests", url, scheme, after.Invalid-before.Invalid)
			}
		}
	}
}

// The clients of others: a datagram and its answer by plain sockets.
func TestPythonAssociation(t *testing.T) {
	w := newWorld(t)
	w.udpServer(53)
	_, addr := w.serve(Config{})
	host, port, _ := net.SplitHostPort(addr)
	const script = `
import socket, struct, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.sendall(b"\x05\x01\x00"); assert c.recv(2) == b"\x05\x00"
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); u.settimeout(20)
c.sendall(b"\x05\x03\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack(">H", u.getsockname()[1]))
a = c.recv(10); assert a[:4] == b"\x05\x00\x00\x01", a
relay = (socket.inet_ntoa(a[4:8]), struct.unpack(">H", a[8:])[0])
head = b"\x00\x00\x00\x03\x09site.test\x00\x35"
u.sendto(head + b"question", relay)
p, at = u.recvfrom(2000)
assert at == relay and p == head + b"re: question", p
print("answered")
`
	if got := tool(t, nil, "python3", "-c", script, host, port); got != "answered\n" {
		t.Errorf("%q", got)
	}
}

// ssh waits for the server to speak; ncat joins it to the proxy.
func TestSSH(t *testing.T) {
	w := newWorld(t)
	w.server(22, sshServer(t))
	_, addr := w.serve(Config{})
	if _, err := exec.LookPath("ncat"); err != nil && os.Getenv("LAB") != "required" {
		t.Skip("ncat is not installed")
	}
	for _, kind := range []string{"socks5", "http"} {
		got := tool(t, nil, "ssh", "-F", "none", "-o", "ProxyCommand=ncat --proxy "+addr+" --proxy-type "+kind+" --proxy-dns remote %h %p",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30",
			"me@site.test", "hello")
		if got != "ran hello\n" {
			t.Errorf("by %s: %q", kind, got)
		}
	}
}

// sshServer lets everybody in and says what it was to run.
func sshServer(t *testing.T) func(*net.TCPConn) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(signer)
	return func(conn *net.TCPConn) {
		c, channels, requests, err := ssh.NewServerConn(conn, cfg)
		if err != nil {
			return
		}
		defer c.Close()
		go ssh.DiscardRequests(requests)
		for ch := range channels {
			session, requests, err := ch.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					fmt.Fprintf(session, "ran %s\n", r.Payload[4:])
					session.SendRequest("exit-status", false, make([]byte, 4))
					session.Close()
				}
			}
		}
	}
}

func TestProxychains(t *testing.T) {
	w := newWorld(t)
	w.site()
	_, addr := w.serve(Config{})
	host, port, _ := net.SplitHostPort(addr)
	for _, kind := range []string{"socks5", "socks4", "http"} {
		file := filepath.Join(t.TempDir(), "proxychains.conf")
		text := fmt.Sprintf("strict_chain\nproxy_dns\nremote_dns_subnet 224\n[ProxyList]\n%s %s %s\n", kind, host, port)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := tool(t, nil, "proxychains4", "-q", "-f", file, "curl", "-sS", "--noproxy", "*", "--max-time", "30", "http://site.test/a")
		if got != "<p>GET /a at site.test, 0 bytes</p>" {
			t.Errorf("by %s: %q", kind, got)
		}
	}
}
