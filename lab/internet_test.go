package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"globalnet/lab"
)

// get fetches a page from inside a node.
func get(t *testing.T, l *lab.Lab, node, url string) (string, error) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, address string) (conn net.Conn, err error) {
			err = l.Node(node).Namespace().Do(func() error {
				conn, err = net.DialTimeout(network, address, 2*time.Second)
				return err
			})
			return conn, err
		},
	}}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return strings.TrimSpace(string(b)), err
}

// socket opens a UDP socket in a node.
func socket(t *testing.T, l *lab.Lab, node, address string) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	err := l.Node(node).Namespace().Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a datagram until something comes back from that address.
func ask(t *testing.T, conn net.PacketConn, to netip.AddrPort, query []byte) []byte {
	t.Helper()
	buf := make([]byte, 1500)
	for range 20 {
		if _, err := conn.WriteTo(query, net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, from, err := conn.ReadFrom(buf)
		if err == nil && from.(*net.UDPAddr).AddrPort() == to {
			return buf[:n]
		}
	}
	t.Fatalf("no answer from %v", to)
	return nil
}

// mapped is how the internet sees a socket, asked from one of its servers.
func mapped(t *testing.T, conn net.PacketConn, server netip.Addr) netip.AddrPort {
	t.Helper()
	seen, err := netip.ParseAddrPort(string(ask(t, conn, netip.AddrPortFrom(server, lab.ReflectPort), []byte("?"))))
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// hears reports whether a datagram from one socket to an address arrives at the other.
func hears(t *testing.T, to net.PacketConn, from net.PacketConn, address netip.AddrPort) bool {
	t.Helper()
	buf := make([]byte, 100)
	for range 5 {
		from.WriteTo([]byte("knock"), net.UDPAddrFromAddrPort(address))
		to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, _, err := to.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err == nil && string(buf[:n]) == "knock" {
				return true
			}
		}
	}
	return false
}

func TestInternet(t *testing.T) {
	l := start(t, "host a b c\nuplink a\nuplink b c nat=cone\nclient phone on a\nclient tv on a", lab.Options{})
	for node, want := range map[string]string{"a": "198.51.100.2", "b": "198.51.100.6", "c": "198.51.100.6", "phone": "198.51.100.2"} {
		if got, err := get(t, l, node, "http://203.0.113.80/ip"); err != nil || got != want {
			t.Errorf("%s is seen as %q, %v; want %s", node, got, err, want)
		}
	}
	if got, err := get(t, l, "a", "http://[2001:db8:ffff::80]/ip"); err != nil || got != "2001:db8:0:1::2" {
		t.Errorf("a is seen over IPv6 as %q, %v", got, err)
	}
	if body, err := get(t, l, "b", "http://203.0.113.80/bytes?n=200000"); err != nil || len(body) != 200000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if addr, ok := l.PublicAddress("a"); !ok || addr != netip.MustParseAddr("198.51.100.2") {
		t.Errorf("public address of a: %v, %v", addr, ok)
	}
	if _, ok := l.PublicAddress("b"); ok {
		t.Error("b has a public address behind its NAT")
	}

	apply(t, l, "cut a internet")
	if _, err := get(t, l, "a", "http://203.0.113.80/ip"); err == nil {
		t.Error("a reaches the internet without a plug")
	}
	if _, err := get(t, l, "b", "http://203.0.113.80/ip"); err != nil {
		t.Error("b lost the internet with a's plug:", err)
	}
	apply(t, l, "heal a internet")
	until(t, "a has the internet again", func() bool { _, err := get(t, l, "a", "http://203.0.113.80/ip"); return err == nil })
}

func TestDNS(t *testing.T) {
	l := start(t, "host a\nuplink a", lab.Options{})
	conn := socket(t, l, "a", ":0")
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want []byte
		code dnsmessage.RCode
	}{
		{"www.example.", dnsmessage.TypeA, lab.WebServer.AsSlice(), 0},
		{"WWW.example.", dnsmessage.TypeAAAA, lab.WebServer6.AsSlice(), 0},
		{"www.example.", dnsmessage.TypeTXT, nil, 0},
		{"nothing.example.", dnsmessage.TypeA, nil, dnsmessage.RCodeNameError},
	} {
		q := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(c.name), Type: c.kind, Class: dnsmessage.ClassINET}},
		}
		query, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var got dnsmessage.Message
		if err := got.Unpack(ask(t, conn, netip.AddrPortFrom(lab.DNSServer, 53), query)); err != nil {
			t.Fatal(err)
		}
		var data []byte
		for _, r := range got.Answers {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				data = b.A[:]
			case *dnsmessage.AAAAResource:
				data = b.AAAA[:]
			}
		}
		if got.ID != 77 || got.RCode != c.code || !bytes.Equal(data, c.want) {
			t.Errorf("%s %v: %v, %v", c.name, c.kind, got.RCode, data)
		}
	}
}

// What hole punching needs: a cone NAT shows the same port to all, so that after
// both have sent, both hear. A symmetric one shows each server another port.
func TestNATKinds(t *testing.T) {
	for _, c := range []struct {
		kind    string
		punches bool
	}{{"cone", true}, {"symmetric", false}} {
		t.Run(c.kind, func(t *testing.T) {
			l := start(t, "host a b\nuplink a nat="+c.kind+"\nuplink b nat="+c.kind, lab.Options{})
			a, b := socket(t, l, "a", ":18250"), socket(t, l, "b", ":18251")
			a1, a2 := mapped(t, a, lab.WebServer), mapped(t, a, lab.DNSServer)
			b1 := mapped(t, b, lab.WebServer)
			if a1.Addr() != netip.MustParseAddr("198.51.100.2") {
				t.Errorf("a is seen as %v", a1)
			}
			if same := a1 == a2; same != c.punches {
				t.Errorf("a is seen as %v and %v", a1, a2)
			}
			if hears(t, a, b, a1) {
				t.Error("a hears b without having sent to it")
			}
			// Both send at once, as ICE does. Of b's earlier packets, a's box may
			// remember nothing: it dropped them.
			punched := hears(t, b, a, b1) || hears(t, a, b, a1) || hears(t, b, a, b1)
			if punched != c.punches {
				t.Errorf("hole punching works: %v, want %v", punched, c.punches)
			}
		})
	}
}
