package proxy

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"globalnet/onion/cell"
)

// parsed checks what all parsers promise: they take no more than there is, and
// what they take can travel.
func parsed(t *testing.T, b []byte, n int, err error, target cell.Target) {
	t.Helper()
	if err != nil {
		return
	}
	if n <= 0 || n > len(b) {
		t.Fatalf("took %d of %d bytes", n, len(b))
	}
	if (target.Name == "") == !target.Addr.IsValid() || target.Name != "" && !cell.ValidName(target.Name) || target.Addr.Zone() != "" || target.Addr.Is4In6() {
		t.Fatalf("target %+v", target)
	}
	if again, err := cell.ParseTarget(cell.AppendTarget(nil, target)); err != nil || again != target {
		t.Fatalf("%+v travels as %+v, %v", target, again, err)
	}
}

func bounded(t *testing.T, b []byte, f func()) {
	t.Helper()
	// A request of 8 KiB may cost some copies of it, not a multiple chosen by the sender.
	if n := testing.AllocsPerRun(1, f); n > 64+2*maxFields {
		t.Fatalf("%v allocations for %d bytes", n, len(b))
	}
}

func FuzzSocks5(f *testing.F) {
	for _, s := range []string{socks5To(cell.Target{Name: "Site.test.", Port: 7}), "\x05\x01\x00\x01\x01\x02\x03\x04\x00\x07", "\x05\xf1\x00\x04" + strings.Repeat("\x01", 18),
		"\x05\x03\x00\x03\x00\x00\x00", "\x05\x01\x00\x03\x09127.0.0.1\x00\x50"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		var r request
		n, err := r.parseSocks5(b)
		parsed(t, b, n, err, r.target)
		if err == nil {
			// The form of an answer is the form of a request.
			again, m, err := parseSocksAddr(appendSocksAddr(nil, r.target))
			if err != nil || again != r.target || m == 0 {
				t.Fatalf("%+v becomes %+v, %v", r.target, again, err)
			}
		}
		if err == errShort && len(b) > 3+maxSocksAddr {
			t.Fatal("wants more than the longest request")
		}
	})
}

func FuzzSocks5Greeting(f *testing.F) {
	f.Add([]byte("\x05\x02\x00\x02"))
	f.Add([]byte("\x01\x01u\x01p"))
	f.Add([]byte("\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if method, n, err := parseMethods(b); err == nil && (n > len(b) || method != noMethod && bytes.IndexByte(b[2:n], method) < 0) {
			t.Fatalf("chose %d, took %d", method, n)
		}
		if _, n, err := parsePassword(b); err == nil && n > len(b) || err == errShort && len(b) > 513 {
			t.Fatalf("took %d of %d, %v", n, len(b), err)
		}
	})
}

func FuzzSocks4(f *testing.F) {
	f.Add([]byte("\x04\x01\x00\x07\xcb\x00\x71\x05me\x00"))
	f.Add([]byte("\x04\x01\x00\x07\x00\x00\x00\x01\x00Site.test\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		n, err := r.parseSocks4(b)
		parsed(t, b, n, err, r.target)
		if err == errShort && len(b) > 8+2*max4 {
			t.Fatal("wants more than the longest request")
		}
	})
}

func FuzzHTTP(f *testing.F) {
	for _, s := range []string{"CONNECT site.test:443 HTTP/1.1\r\nHost: site.test:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
		"GET http://[2001:db8::1]:80/a?b HTTP/1.1\r\nConnection: x, close\r\nHost: a\r\n\r\n", "POST http://site.test HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
		"GET / HTTP/1.1\r\n\r\n", "CONNECT [::1%eth0]:1 HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxRequest {
			return
		}
		var r request
		n, err := r.parseHTTP(b)
		parsed(t, b, n, err, r.target)
		bounded(t, b, func() { new(request).parseHTTP(b) })
		if err != nil || r.fetch == nil {
			return
		}
		// What goes to the server is one request, and has one meaning.
		h, m, err := parseHead(r.fetch.head)
		if err != nil || m != len(r.fetch.head) || !strings.HasPrefix(h.target, "/") {
			t.Fatalf("%q became %q: %v", b, r.fetch.head, err)
		}
		hosts, lengths := 0, 0
		for _, x := range h.fields {
			switch strings.ToLower(x.name) {
			case "host":
				hosts++
			case "content-length":
				lengths++
			case "transfer-encoding", "proxy-authorization":
				t.Fatalf("%s goes to the server", x.name)
			}
		}
		if hosts != 1 || lengths > 1 || lengths == 0 && r.fetch.body > 0 || len(r.fetch.head) > 2*len(b)+100 {
			t.Fatalf("%q became %q", b, r.fetch.head)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add(datagram(cell.Target{Name: "site.test", Port: 53}, "x"))
	f.Add(datagram(cell.Target{Addr: netip.MustParseAddr("2001:db8::1"), Port: 53}, ""))
	f.Add([]byte("\x00\x00\x00\x03\x04a..b\x00\x35"))
	f.Add([]byte("\x00\x00\x00\x03\x09a.......\x00\x35"))
	f.Fuzz(func(t *testing.T, b []byte) {
		target, data, ok := parseDatagram(b)
		if !ok {
			return
		}
		parsed(t, b, len(b)-len(data), nil, target)
		again, same, ok := parseDatagram(append(appendDatagram(nil, target), data...))
		if !ok || again != target || !bytes.Equal(same, data) {
			t.Fatalf("%+v %q became %+v %q", target, data, again, same)
		}
	})
}
