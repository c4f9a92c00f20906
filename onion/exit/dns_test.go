package exit

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"globalnet/onion/cell"
)

// dnsServer answers on loopback, UDP and TCP, what reply says.
func dnsServer(t *testing.T, reply func(network string, q dnsmessage.Message) []dnsmessage.Message) netip.AddrPort {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		t.Skip("the UDP port is taken:", err)
	}
	answers := func(network string, b []byte) (out [][]byte) {
		var q dnsmessage.Message
		if err := q.Unpack(b); err != nil {
			t.Error(err)
			return nil
		}
		for _, m := range reply(network, q) {
			p, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			out = append(out, p)
		}
		return out
	}
	var group sync.WaitGroup
	group.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			for _, p := range answers("udp", b[:n]) {
				udp.WriteTo(p, from)
			}
		}
	})
	group.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			b := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, b)
			for _, p := range answers("tcp", b) {
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		group.Wait()
	})
	return addr
}

func answerTo(q dnsmessage.Message, code dnsmessage.RCode, bodies ...dnsmessage.ResourceBody) dnsmessage.Message {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: code}, Questions: q.Questions}
	for i, b := range bodies {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: uint32(100 * (i + 1))}, Body: b})
	}
	return m
}

func a(s string) dnsmessage.ResourceBody {
	return &dnsmessage.AResource{A: netip.MustParseAddr(s).As4()}
}

func aaaa(s string) dnsmessage.ResourceBody {
	return &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(s).As16()}
}

func TestStub(t *testing.T) {
	good := func(network string, q dnsmessage.Message) []dnsmessage.Message {
		if !q.RecursionDesired || len(q.Questions) != 1 {
			t.Errorf("query %+v", q)
		}
		name, kind := q.Questions[0].Name.String(), q.Questions[0].Type
		alias := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("other.example.org.")}
		switch {
		case name == "nothing.example.org.":
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeNameError)}
		case name == "empty.example.org.", name == "four.example.org." && kind == dnsmessage.TypeAAAA:
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess, alias)}
		case name == "34.216.184.93.in-addr.arpa." && kind == dnsmessage.TypePTR:
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("www.example.org.")})}
		case name == "long.example.org." && network == "udp":
			m := answerTo(q, dnsmessage.RCodeSuccess)
			m.Truncated = true
			return []dnsmessage.Message{m}
		case name == "forged.example.org.":
			wrongID, wrongName, echo, right := answerTo(q, 0, a("6.6.6.6")), answerTo(q, 0, a("6.6.6.6")), answerTo(q, 0, a("6.6.6.6")), answerTo(q, 0, a("93.184.216.34"))
			wrongID.ID++
			wrongName.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("x.org."), Type: kind, Class: dnsmessage.ClassINET}}
			echo.Response = false
			return []dnsmessage.Message{wrongID, wrongName, echo, right}
		case kind == dnsmessage.TypeTXT && name == "www.example.org.":
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess, alias, &dnsmessage.TXTResource{TXT: []string{"v=1"}})}
		case kind == dnsmessage.TypeTXT, kind == 65:
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess)}
		case kind == dnsmessage.TypeA:
			return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess, alias, a("93.184.216.34"), a("93.184.216.35"))}
		}
		return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeSuccess, aaaa("2606:4700::1"))}
	}
	broken := dnsServer(t, func(_ string, q dnsmessage.Message) []dnsmessage.Message {
		return []dnsmessage.Message{answerTo(q, dnsmessage.RCodeServerFailure)}
	})
	s := NewStub("", broken, dnsServer(t, good))
	for _, tt := range []struct {
		name  string
		addrs string
		ttl   time.Duration
		err   error
	}{
		{"www.example.org", "2606:4700::1 93.184.216.34 93.184.216.35", 100 * time.Second, nil},
		{"four.example.org", "93.184.216.34 93.184.216.35", 200 * time.Second, nil},
		{"long.example.org", "2606:4700::1 93.184.216.34 93.184.216.35", 100 * time.Second, nil},
		{"nothing.example.org", "", 0, errNotFound},
		{"empty.example.org", "", 0, errNotFound},
		{strings.Repeat("a", 300), "", 0, errNotFound},
	} {
		addrs, ttl, err := s.LookupAddrs(t.Context(), tt.name)
		var texts []string
		for _, a := range addrs {
			texts = append(texts, a.String())
		}
		if got := strings.Join(texts, " "); got != tt.addrs || ttl != tt.ttl || !errors.Is(err, tt.err) {
			t.Errorf("%s: %s, %v, %v; want %s, %v, %v", tt.name, got, ttl, err, tt.addrs, tt.ttl, tt.err)
		}
	}
	e := New(Config{Self: self, Policy: parsed(t, "web"), Resolver: s, Own: noAddresses})
	for question, want := range map[string]string{
		cell.Record("www.example.org", 16): "\x03v=1", cell.Record("www.example.org", 65): "", cell.Record("www.example.org", 15): "",
		cell.Record("printer", 16): "", cell.Record("1.168.192.in-addr.arpa", 16): "", "www.example.org/x": "",
	} {
		r, err := e.Resolve(t.Context(), question)
		if (err == nil) != (want != "") || err == nil && (len(r.Records) != 1 || string(r.Records[0]) != want || len(r.Addrs) != 0 || r.TTL != time.Minute) {
			t.Errorf("%s: %+v, %v", question, r, err)
		}
	}
	addrs, _, err := s.LookupAddrs(t.Context(), "forged.example.org")
	if err != nil || slices.Contains(addrs, netip.MustParseAddr("6.6.6.6")) {
		t.Errorf("forged answers: %v, %v", addrs, err)
	}
	names, ttl, err := s.LookupNames(t.Context(), netip.MustParseAddr("93.184.216.34"))
	if err != nil || !slices.Equal(names, []string{"www.example.org."}) || ttl != 100*time.Second {
		t.Errorf("names %v, %v, %v", names, ttl, err)
	}
	if _, _, err := NewStub("", broken).LookupAddrs(t.Context(), "example.org"); !errors.Is(err, errServer) {
		t.Errorf("a broken server: %v", err)
	}
}

func TestStubGivesUpWithItsContext(t *testing.T) {
	silent := dnsServer(t, func(string, dnsmessage.Message) []dnsmessage.Message { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := NewStub("", silent).LookupAddrs(ctx, "example.org"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
}

func TestServersOfTheSystem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := NewStub(path).list(); err != errNoServer {
		t.Errorf("without a file: %v", err)
	}
	text := "# comment\nsearch lan\nnameserver 127.0.0.1\nnameserver\nnameserver nonsense\n nameserver fe80::1%eth0 # x\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := NewStub(path).list()
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("9.9.9.9:53")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("servers %v, %v, want %v", got, err, want)
	}
}

func TestArpa(t *testing.T) {
	for _, tt := range []struct{ name, addr string }{
		{"34.216.184.93.in-addr.arpa", "93.184.216.34"}, {"34.216.184.93.IN-ADDR.arpa.", "93.184.216.34"},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.4.6.0.6.2.ip6.arpa", "2606:4700::1"},
	} {
		if got, reverse := FromArpa(tt.name); !reverse || got.String() != tt.addr {
			t.Errorf("%s is %v, %v", tt.name, got, reverse)
		}
	}
	for _, name := range []string{".in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.256.in-addr.arpa", "01.2.3.4.in-addr.arpa", "1.2.3.4.5.in-addr.arpa",
		"+1.2.3.4.in-addr.arpa", "1.ip6.arpa", strings.Repeat("g.", 31) + "0.ip6.arpa", strings.Repeat("00.", 31) + "0.ip6.arpa"} {
		if got, reverse := FromArpa(name); !reverse || got.IsValid() {
			t.Errorf("%s is %v, %v", name, got, reverse)
		}
	}
	for _, name := range []string{"", "in-addr.arpa", "example.org", "x.arpa", "1.2.3.4.in-addr.arpa.example.org"} {
		if _, reverse := FromArpa(name); reverse {
			t.Errorf("%s is an address", name)
		}
	}
}

func FuzzFromArpa(f *testing.F) {
	f.Add("34.216.184.93.in-addr.arpa")
	f.Add(toArpa(netip.MustParseAddr("2606:4700::1")))
	f.Fuzz(func(t *testing.T, name string) {
		a, _ := FromArpa(name)
		if !a.IsValid() || a.Is4In6() {
			return
		}
		if got := toArpa(a); !strings.EqualFold(got, strings.TrimSuffix(name, ".")) {
			t.Fatalf("%q is %v is %q", name, a, got)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 1}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("example.org."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	for _, m := range []dnsmessage.Message{answerTo(q, 0, a("1.2.3.4"), aaaa("::1")), answerTo(q, 3), answerTo(q, 0)} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, truncated, err := parseAnswer(b, 1, q.Questions[0])
		if err == nil && (len(a.addrs) == 0 || len(a.addrs) > maxAnswers || len(a.names) > 0 || truncated) {
			t.Fatalf("%x is %+v", b, a)
		}
	})
}
