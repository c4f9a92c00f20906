package beacon

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func addrs(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func example() *announcement {
	tag := Tag{0xab, 1, 2, 15: 9}
	return &announcement{tag: tag, port: 18245, proof: proofOf([]byte("key"), tag), addrs: addrs("fe80::1", "10.0.0.1")}
}

func encode(t testing.TB, a *announcement) []byte {
	t.Helper()
	msg, err := appendAnnouncement(nil, a, recordTTL)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestAnnouncementRoundTrip(t *testing.T) {
	a := example()
	msg := encode(t, a)
	got, err := parseAnnouncement(msg)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Fatalf("parsed %+v, %v; want %+v", got, err, a)
	}
	if len(msg) > 300 {
		t.Errorf("an announcement has %d bytes", len(msg))
	}
	goodbye, err := appendAnnouncement(nil, a, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseAnnouncement(goodbye); !errors.Is(err, errGoodbye) {
		t.Errorf("goodbye parsed as %v", err)
	}
}

// What identifies the node or the network must not be in the air.
func TestAnnouncementNamesNobody(t *testing.T) {
	key := []byte("a network and its passphrase")
	a, b := NewTag(), NewTag()
	if a == b {
		t.Error("tags repeat")
	}
	if proofOf(key, a) == proofOf(key, b) {
		t.Error("the proof is the same for all tags: it would name the network")
	}
	if proofOf(key, a) == proofOf([]byte("another"), a) {
		t.Error("the proof does not depend on the network")
	}
	msg := encode(t, &announcement{tag: a, port: 1, proof: proofOf(key, a), addrs: addrs("fe80::1")})
	if bytes.Contains(msg, key[:9]) {
		t.Error("the network is in the message")
	}
}

// edit changes the records of an announcement as a stranger might.
func edit(t testing.TB, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(encode(t, example())); err != nil {
		t.Fatal(err)
	}
	change(&m)
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func name(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

func TestContradictionsAreRefused(t *testing.T) {
	const ptr, srv, txt, aaaa, a4 = 0, 1, 2, 3, 4
	other := strings.Repeat("cd", 16)
	body := func(i int, b dnsmessage.ResourceBody) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.Answers[i].Body = b }
	}
	owner := func(i int, s string) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.Answers[i].Header.Name = name(s) }
	}
	twice := func(i int) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.Answers = append(m.Answers, m.Answers[i]) }
	}
	without := func(i int) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.Answers = append(m.Answers[:i:i], m.Answers[i+1:]...) }
	}
	text := func(s ...string) func(*dnsmessage.Message) { return body(txt, &dnsmessage.TXTResource{TXT: s}) }
	tag, proof := "t="+example().tag.String(), "n=0123456789abcdef"
	for _, c := range []struct {
		name   string
		change func(*dnsmessage.Message)
		ok     bool
	}{
		{"nothing", func(*dnsmessage.Message) {}, true},
		{"capitals", owner(srv, strings.ToUpper(example().instanceName())), true},
		{"question", func(m *dnsmessage.Message) { m.Response = false }, false},
		{"error code", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }, false},
		{"opcode", func(m *dnsmessage.Message) { m.OpCode = 5 }, false},
		{"no PTR", without(ptr), false},
		{"no SRV", without(srv), false},
		{"no TXT", without(txt), false},
		{"no AAAA", without(aaaa), true},
		{"no address", func(m *dnsmessage.Message) { m.Answers = m.Answers[:aaaa] }, false},
		{"two PTR", twice(ptr), false},
		{"two SRV", twice(srv), false},
		{"two TXT", twice(txt), false},
		{"many addresses", func(m *dnsmessage.Message) { twice(a4)(m); twice(a4)(m); twice(a4)(m) }, false},
		{"records in the additional section", func(m *dnsmessage.Message) { m.Additionals, m.Answers = m.Answers[srv:], m.Answers[:srv] }, true},
		{"another service", owner(ptr, "_http._tcp.local."), false},
		{"instance of another tag", body(ptr, &dnsmessage.PTRResource{PTR: name(other + "." + serviceName)}), false},
		{"SRV of another instance", owner(srv, other+"."+serviceName), false},
		{"TXT of another instance", owner(txt, other+"."+serviceName), false},
		{"host of another tag", body(srv, &dnsmessage.SRVResource{Port: 1, Target: name(other + ".local.")}), false},
		{"address of another host", owner(aaaa, "printer.local."), false},
		{"port 0", body(srv, &dnsmessage.SRVResource{Target: name(example().hostName())}), false},
		{"mapped address", body(aaaa, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("::ffff:1.2.3.4").As16()}), false},
		{"another class", func(m *dnsmessage.Message) { m.Answers[srv].Header.Class = dnsmessage.ClassCHAOS }, false},
		{"later keys", text("x=1", "v=1", "flag", tag, proof, "="), true},
		{"first key counts", text("v=1", tag, proof, "v=7", "t=junk"), true},
		{"capital keys", text("V=1", "T"+tag[1:], "N"+proof[1:]), true},
		{"no version", text(tag, proof), false},
		{"later version", text("v=2", tag, proof), false},
		{"no tag", text("v=1", proof), false},
		{"short tag", text("v=1", tag[:32], proof), false},
		{"no hex", text("v=1", "t="+strings.Repeat("z", 32), proof), false},
		{"tag of another", text("v=1", "t="+other, proof), false},
		{"no proof", text("v=1", tag), false},
		{"long proof", text("v=1", tag, proof+"00"), false},
		{"many records", func(m *dnsmessage.Message) {
			for range maxRecords {
				m.Additionals = append(m.Additionals, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: name("x."), Type: dnsmessage.TypeHINFO, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.UnknownResource{Type: dnsmessage.TypeHINFO},
				})
			}
		}, false},
		{"unknown record", func(m *dnsmessage.Message) {
			m.Additionals = append(m.Additionals, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name("x."), Type: 47, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.UnknownResource{Type: 47, Data: []byte{1}},
			})
		}, true},
	} {
		_, err := parseAnnouncement(edit(t, c.change))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLaterVersionIsToldApart(t *testing.T) {
	if _, err := parseText([]string{"v=2"}); !errors.Is(err, errVersion) {
		t.Errorf("got %v", err)
	}
}

func TestPlausibleSource(t *testing.T) {
	c := &segmentConn{prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
	for _, x := range []struct {
		src   string
		addrs []netip.Addr
		ok    bool
	}{
		{"fe80::1%w0", addrs("fe80::1"), true},
		{"fe80::1%w0", addrs("fe80::1", "10.0.0.1"), true},
		{"fe80::1%w0", addrs("10.0.0.1"), true}, // the library names one family only
		{"fe80::2%w0", addrs("fe80::1"), false},
		{"2001:db8::1", addrs("2001:db8::1"), false}, // not of this segment
		{"::1", addrs("::1"), false},
		{"10.0.0.1", addrs("10.0.0.1"), true},
		{"10.0.0.1", addrs("fe80::1", "10.0.0.1"), true},
		{"10.0.0.1", addrs("fe80::1"), true},
		{"10.0.0.1", addrs("10.0.0.2"), false},
		{"10.0.1.1", addrs("10.0.1.1"), false},
		{"169.254.3.4", addrs("169.254.3.4"), true},
	} {
		if got := c.plausible(netip.MustParseAddr(x.src), &announcement{addrs: x.addrs}); got != x.ok {
			t.Errorf("%s saying %v: %v", x.src, x.addrs, got)
		}
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	query, _ := appendQuery(nil)
	f.Add(query)
	f.Add(encode(f, example()))
	f.Add(encode(f, &announcement{tag: Tag{1}, port: 1, addrs: addrs("10.0.0.1")}))
	f.Add(edit(f, func(m *dnsmessage.Message) { m.Additionals, m.Answers = m.Answers[1:], m.Answers[:1] }))
	f.Add(bytes.Repeat([]byte{0xc0, 12}, 300))
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := parseAnnouncement(msg)
		if err != nil {
			return
		}
		if len(a.addrs) == 0 || len(a.addrs) > maxAddresses || a.port == 0 {
			t.Fatalf("accepted %+v", a)
		}
		again, err := parseAnnouncement(encode(t, a))
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add(strings.Join(example().text(), "\n"))
	f.Add("v=1\nt=\nn=\n=\nv")
	f.Fuzz(func(t *testing.T, joined string) {
		a, err := parseText(strings.Split(joined, "\n"))
		if err != nil {
			return
		}
		if b, err := parseText(a.text()); err != nil || b.tag != a.tag || b.proof != a.proof {
			t.Fatalf("%+v became %+v, %v", a, b, err)
		}
	})
}
