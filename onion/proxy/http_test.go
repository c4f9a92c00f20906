package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"globalnet/onion/cell"
)

// webServer says each request back as it came, with its body of n bytes.
func (w *world) webServer(port uint16, n int) {
	w.server(port, func(conn *net.TCPConn) {
		var got strings.Builder
		for b := make([]byte, 1); !strings.HasSuffix(got.String(), "\r\n\r\n"); {
			if _, err := conn.Read(b); err != nil {
				return
			}
			got.Write(b)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		got.Write(body)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", got.String())
		conn.CloseWrite()
		if more, _ := io.ReadAll(conn); len(more) > 0 {
			w.t.Errorf("the server also got %q", more)
		}
	})
}

func TestPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, say string
		target    cell.Target
		body      int
		want      string
	}{
		{"simple", "GET http://site.test/a?b HTTP/1.1\r\nHost: site.test\r\nUser-Agent: x\r\n\r\n", cell.Target{Name: "site.test", Port: 80}, 0,
			"GET /a?b HTTP/1.1\r\nHost: site.test\r\nUser-Agent: x\r\nConnection: close\r\n\r\n"},
		{"port, no path", "GET HTTP://Site.test:8080 HTTP/1.0\r\naccept:x\r\n\r\n", cell.Target{Name: "site.test", Port: 8080}, 0,
			"GET / HTTP/1.0\r\nHost: Site.test:8080\r\naccept: x\r\nConnection: close\r\n\r\n"},
		{"query, no path", "GET http://site.test?q HTTP/1.1\r\n\r\n", cell.Target{Name: "site.test", Port: 80}, 0,
			"GET /?q HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"},
		{"other host field", "GET http://site.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n", cell.Target{Name: "site.test", Port: 80}, 0,
			"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"},
		{"hop by hop", "GET http://site.test/ HTTP/1.1\r\nProxy-Authorization: Basic dTpw\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nx-mine: y\r\nUpgrade: h2c\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n\r\n",
			cell.Target{Name: "site.test", Port: 80}, 0, "GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"},
		{"body", "POST http://site.test/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", cell.Target{Name: "site.test", Port: 80}, 5,
			"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"length named hop by hop", "POST http://site.test/ HTTP/1.1\r\nConnection: content-length, host\r\nContent-Length: 5\r\n\r\nhello", cell.Target{Name: "site.test", Port: 80}, 5,
			"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.webServer(tt.target.Port, tt.body)
			_, addr := w.serve(Config{})
			conn := connectTo(t, addr)
			// What follows the request could be one to another server.
			io.WriteString(conn, tt.say+"GET http://other.test/ HTTP/1.1\r\n\r\n")
			got, err := io.ReadAll(conn)
			_, body, _ := strings.Cut(string(got), "\r\n\r\n")
			if err != nil || body != tt.want {
				t.Errorf("%q, %v; want %q", body, err, tt.want)
			}
			asked := w.asked()
			if len(asked) != 1 || asked[0].target != tt.target || asked[0].early != tt.want {
				t.Errorf("%+v", asked)
			}
		})
	}
}

// A body longer than what is read with the head.
func TestLongBody(t *testing.T) {
	const n = 1 << 20
	w := newWorld(t)
	w.webServer(80, n)
	_, addr := w.serve(Config{})
	conn := connectTo(t, addr)
	body := strings.Repeat("0123456789abcdef", n/16)
	go io.WriteString(conn, fmt.Sprintf("PUT http://site.test/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n%sGET ", n, body))
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), "\r\n\r\n"+body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The client may close its way once it has asked; the server does not hear of it.
func TestPlainHTTPHalfClosed(t *testing.T) {
	w := newWorld(t)
	w.webServer(80, 0)
	_, addr := w.serve(Config{})
	conn := connectTo(t, addr)
	io.WriteString(conn, "GET http://site.test/ HTTP/1.1\r\n\r\n")
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK") {
		t.Errorf("%q, %v", got, err)
	}
}
