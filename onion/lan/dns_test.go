package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/stream"
)

// exits answers as an exit would, and remembers what it was asked.
type exits struct {
	mu    sync.Mutex
	asked []string
	who   []client.Isolation
	wait  chan struct{}
}

func (e *exits) Resolve(ctx context.Context, who client.Isolation, name string) (cell.Resolved, error) {
	e.mu.Lock()
	e.asked, e.who = append(e.asked, name), append(e.who, who)
	wait := e.wait
	e.mu.Unlock()
	if wait != nil {
		<-wait
	}
	addrs := func(list ...string) (r cell.Resolved, err error) {
		for _, a := range list {
			r.Addrs = append(r.Addrs, netip.MustParseAddr(a))
		}
		r.TTL = 300 * time.Second
		return r, nil
	}
	switch name {
	case "www.example":
		return addrs("203.0.113.80", "2001:db8::80")
	case "six.example":
		return addrs("2001:db8::80")
	case "rebind.example":
		return addrs("192.168.1.1", "127.0.0.1", "10.192.1.1", "203.0.113.9")
	case "80.113.0.203.in-addr.arpa":
		return cell.Resolved{Names: []string{"www.example"}, TTL: time.Second}, nil
	case "long.example":
		return addrs(strings.Fields(strings.Repeat("203.0.113.1 ", 30))...)
	case "www.example/16":
		return cell.Resolved{TTL: time.Minute, Records: [][]byte{[]byte("\x05hello"), []byte("\x05world")}}, nil
	case "long.example/16":
		return cell.Resolved{TTL: time.Minute, Records: [][]byte{append([]byte{250}, make([]byte, 250)...), append([]byte{250}, make([]byte, 250)...)}}, nil
	case "www.example/65":
		return cell.Resolved{TTL: time.Minute, Records: [][]byte{
			[]byte("\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x04\x00\x04\xc0\xa8\x01\x01"),   // 1 . alpn=h2 ipv4hint=192.168.1.1
			[]byte("\x00\x01\x00\x00\x00\x00\x02\x00\x04\x00\x04\x00\x04\xc0\xa8\x01\x01"), // the hint is mandatory
			[]byte("\x00\x01"),
		}}, nil
	case "broken.example":
		return cell.Resolved{}, errors.New("no circuit")
	}
	return cell.Resolved{}, &stream.EndError{Reason: cell.EndResolve}
}

func newTestDNS(e *exits) *DNS {
	return NewDNS(DNSConfig{Name: "lan", Resolver: e, Names: Names{Zone: "gnet.alt", Pool: NewPool(),
		Known: func(name string) bool { return strings.HasSuffix(name, "cheesy") }}})
}

func question(name string, kind dnsmessage.Type) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7, RecursionDesired: true})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET})
	m, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return m
}

// told is an answer as text: the code, and what is in it.
func told(t *testing.T, m []byte) string {
	t.Helper()
	if m == nil {
		return "nothing"
	}
	if len(m) > ednsSize {
		t.Errorf("an answer of %d bytes", len(m))
	}
	var p dnsmessage.Parser
	h, err := p.Start(m)
	if err != nil {
		t.Fatal(err)
	}
	if h.ID != 7 || !h.Response {
		t.Errorf("%v", h)
	}
	words := []string{strings.TrimPrefix(h.RCode.String(), "RCode")}
	if h.Truncated {
		words = append(words, "truncated")
	}
	if err := p.SkipAllQuestions(); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return strings.Join(words, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		switch r.Type {
		case dnsmessage.TypeA:
			r, _ := p.AResource()
			words = append(words, netip.AddrFrom4(r.A).String())
		case dnsmessage.TypeAAAA:
			r, _ := p.AAAAResource()
			words = append(words, netip.AddrFrom16(r.AAAA).String())
		case dnsmessage.TypePTR:
			r, _ := p.PTRResource()
			words = append(words, r.PTR.String())
		default:
			r, _ := p.UnknownResource()
			words = append(words, fmt.Sprintf("%q", r.Data))
		}
	}
}

func ask(t *testing.T, d *DNS, q []byte, from netip.Addr) string {
	t.Helper()
	var slow []byte
	fast := d.answer(q, from, nil, func(later func(context.Context) []byte) { slow = later(t.Context()) })
	if fast == nil {
		fast = slow
	}
	return told(t, fast)
}

func TestAnswers(t *testing.T) {
	const a, aaaa, ptr = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR
	six := netip.MustParseAddr("fd00::20")
	e := &exits{}
	d := newTestDNS(e)
	v4, v6, _ := d.cfg.Names.Pool.Assign("cheesy.gnet.alt", phone)
	virtual := func(name string) (netip.Addr, netip.Addr) {
		v4, v6, _ := d.cfg.Names.Pool.Assign(name, phone)
		return v4, v6
	}
	www, _ := virtual("www.cheesy.gnet.alt")
	_, example6 := virtual("www.example")
	for _, tt := range []struct {
		settings DNSSettings
		name     string
		kind     dnsmessage.Type
		from     netip.Addr
		want     string
		asked    bool
	}{
		{name: "cheesy.gnet.alt.", kind: a, want: "Success " + v4.String()},
		{name: "CHEESY.gnet.ALT.", kind: aaaa, want: "Success " + v6.String()},
		{name: "www.cheesy.gnet.alt.", kind: a, want: "Success " + www.String()},
		{name: "cheesy.gnet.alt.", kind: 65, want: "Success"},
		{name: "cheesy.gnet.alt.", kind: dnsmessage.TypeTXT, want: "Success"},
		{name: "nope.gnet.alt.", kind: a, want: "NameError"},
		{name: "gnet.alt.", kind: dnsmessage.TypeSOA, want: "Success"},
		{name: "gnet.alt.", kind: a, want: "Success"},
		{name: "xgnet.alt.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "www.example.", kind: a, want: "Refused"},
		{name: "www.example.", kind: a, settings: DNSSettings{Exits: true}, want: "Success 203.0.113.80", asked: true},
		{name: "www.example.", kind: aaaa, settings: DNSSettings{Exits: true}, want: "Success"},
		{name: "www.example.", kind: aaaa, from: six, settings: DNSSettings{Exits: true}, want: "Success " + example6.String()},
		{name: "www.example.", kind: 64, settings: DNSSettings{Exits: true}, want: "Success"},
		{name: "www.example.", kind: 65, settings: DNSSettings{Exits: true}, want: `Success "\x00\x01\x00\x00\x01\x00\x03\x02h2"`, asked: true},
		{name: "www.example.", kind: dnsmessage.TypeTXT, settings: DNSSettings{Exits: true}, want: `Success "\x05hello" "\x05world"`, asked: true},
		{name: "none.example.", kind: dnsmessage.TypeTXT, settings: DNSSettings{Exits: true}, want: "Success", asked: true},
		{name: "none.example.", kind: 65, settings: DNSSettings{Exits: true}, want: "Success", asked: true},
		{name: "www.example.", kind: dnsmessage.TypeTXT, want: "Refused"},
		{name: "cheesy.gnet.alt.", kind: 65, want: "Success"},
		{name: "cheesy.gnet.alt.", kind: dnsmessage.TypeTXT, settings: DNSSettings{Exits: true}, want: "Success"},
		{name: "www.example.", kind: dnsmessage.TypeMX, settings: DNSSettings{Exits: true}, want: "NotImplemented"},
		{name: "none.example.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError", asked: true},
		{name: "six.example.", kind: a, settings: DNSSettings{Exits: true}, want: "Success", asked: true},
		{name: "broken.example.", kind: a, settings: DNSSettings{Exits: true}, want: "ServerFailure", asked: true},
		{name: "rebind.example.", kind: a, settings: DNSSettings{Exits: true}, want: "Success 203.0.113.9", asked: true},
		{name: "long.example.", kind: a, settings: DNSSettings{Exits: true}, want: "Success" + strings.Repeat(" 203.0.113.1", maxAddrs), asked: true},
		{name: "80.113.0.203.in-addr.arpa.", kind: ptr, settings: DNSSettings{Exits: true}, want: "Success www.example.", asked: true},
		{name: reverse(v4), kind: ptr, want: "Success cheesy.gnet.alt."},
		{name: reverse(v6), kind: ptr, want: "Success cheesy.gnet.alt."},
		{name: "1.1.193.10.in-addr.arpa.", kind: ptr, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "1.1.168.192.in-addr.arpa.", kind: ptr, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "168.192.in-addr.arpa.", kind: ptr, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "printer.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "printer.lan.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "use-application-dns.net.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "_dns.resolver.arpa.", kind: 64, settings: DNSSettings{Exits: true}, want: "NameError"},
		{name: "dns.google.", kind: a, settings: DNSSettings{Exits: true, BlockDoH: true}, want: "NameError"},
		{name: "dns.google.", kind: a, settings: DNSSettings{Exits: true}, want: "NameError", asked: true},
		{name: ".", kind: dnsmessage.TypeNS, settings: DNSSettings{Exits: true}, want: "NameError"},
	} {
		d.Apply(tt.settings)
		from := tt.from
		if !from.IsValid() {
			from = phone
		}
		e.asked = nil
		d.cache = newCache()
		if got := ask(t, d, question(tt.name, tt.kind), from); got != tt.want {
			t.Errorf("%s %v %+v: %s, want %s", tt.name, tt.kind, tt.settings, got, tt.want)
		}
		if asked := len(e.asked) > 0; asked != tt.asked {
			t.Errorf("%s %v %+v: exits were asked %v", tt.name, tt.kind, tt.settings, e.asked)
		}
	}
	for _, name := range e.asked {
		if strings.HasSuffix(name, "alt") {
			t.Errorf("%s left the router", name)
		}
	}
}

// reverse is the name of an address's reverse look-up.
func reverse(a netip.Addr) string {
	var labels []string
	for _, b := range a.AsSlice() {
		if a.Is4() {
			labels = append([]string{fmt.Sprint(b)}, labels...)
		} else {
			labels = append([]string{fmt.Sprintf("%x.%x", b&15, b>>4)}, labels...)
		}
	}
	if a.Is4() {
		return strings.Join(labels, ".") + ".in-addr.arpa."
	}
	return strings.Join(labels, ".") + ".ip6.arpa."
}

// What has no room in a datagram is asked for again over TCP.
func TestLongRecords(t *testing.T) {
	d := newTestDNS(&exits{})
	d.Apply(DNSSettings{Exits: true})
	plain := question("long.example.", dnsmessage.TypeTXT)
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName("long.example."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET})
	b.StartAdditionals()
	var opt dnsmessage.ResourceHeader
	opt.SetEDNS0(1232, dnsmessage.RCodeSuccess, false)
	b.OPTResource(opt, dnsmessage.OPTResource{})
	edns, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	ask(t, d, plain, phone) // into the cache
	for _, tt := range []struct {
		query     []byte
		dst       []byte
		truncated bool
	}{{plain, []byte{}, true}, {edns, []byte{}, false}, {plain, nil, false}} {
		a := d.answer(tt.query, phone, tt.dst, nil)
		got := told(t, a)
		if strings.Contains(got, "truncated") != tt.truncated || (len(a) > 500) == tt.truncated {
			t.Errorf("%d bytes: %s", len(a), got)
		}
	}
}

func TestAnswersAreKeptApart(t *testing.T) {
	e := &exits{}
	d := newTestDNS(e)
	d.Apply(DNSSettings{Exits: true})
	now := time.Now()
	d.cache.now = func() time.Time { return now }
	q := question("www.example.", dnsmessage.TypeA)
	for range 3 {
		ask(t, d, q, phone)
	}
	if len(e.asked) != 1 {
		t.Errorf("asked %d times", len(e.asked))
	}
	ask(t, d, q, tv)
	if len(e.asked) != 2 || e.who[0] == e.who[1] || e.who[0] != (client.Isolation{Listener: "lan", Client: phone}) {
		t.Errorf("two clients share an answer: %v", e.who)
	}
	now = now.Add(301 * time.Second)
	ask(t, d, q, phone)
	if len(e.asked) != 3 {
		t.Error("an old answer was given")
	}
	for i := range 2 * maxCached {
		ask(t, d, question(fmt.Sprintf("n%d.example.", i), dnsmessage.TypeA), phone)
	}
	if n := d.cache.len(); n > maxCached || d.cache.recent.Len() != n {
		t.Errorf("%d answers are kept", n)
	}
	before := len(e.asked)
	ask(t, d, question("broken.example.", dnsmessage.TypeA), phone)
	ask(t, d, question("broken.example.", dnsmessage.TypeA), phone)
	if len(e.asked) != before+2 {
		t.Error("a failure was kept")
	}
}

func TestQuestionsAtATimeAreBounded(t *testing.T) {
	e := &exits{wait: make(chan struct{})}
	d := newTestDNS(e)
	d.Apply(DNSSettings{Exits: true})
	var running sync.WaitGroup
	refusals := 0
	for i := range maxSlowEach + 5 {
		a := d.answer(question(fmt.Sprintf("n%d.example.", i), dnsmessage.TypeA), phone, nil, func(later func(context.Context) []byte) {
			running.Go(func() { later(t.Context()) })
		})
		if a != nil {
			refusals++
			if got := told(t, a); got != "ServerFailure" {
				t.Error(got)
			}
		}
	}
	if refusals != 5 || d.Stats().Busy != 5 {
		t.Errorf("%d refused, %d counted", refusals, d.Stats().Busy)
	}
	close(e.wait)
	running.Wait()
	if len(d.each) != 0 || d.slow != 0 {
		t.Errorf("%d %v left", d.slow, d.each)
	}
}

func TestMalformedQueries(t *testing.T) {
	d := newTestDNS(&exits{})
	good := question("cheesy.gnet.alt.", dnsmessage.TypeA)
	change := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	for name, tt := range map[string]struct {
		query []byte
		want  string
	}{
		"empty":         {nil, "nothing"},
		"short":         {good[:11], "nothing"},
		"an answer":     {change(func(b []byte) []byte { b[2] |= 0x80; return b }), "nothing"},
		"status":        {change(func(b []byte) []byte { b[2] |= 0x10; return b }), "NotImplemented"},
		"cut":           {good[:len(good)-2], "FormatError"},
		"two questions": {change(func(b []byte) []byte { b[5] = 2; return append(b, b[12:]...) }), "FormatError"},
		"no question":   {change(func(b []byte) []byte { b[5] = 0; return b[:12] }), "FormatError"},
		"chaos":         {change(func(b []byte) []byte { b[len(b)-1] = 3; return b }), "Refused"},
	} {
		if got := ask(t, d, tt.query, phone); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(question("cheesy.gnet.alt.", dnsmessage.TypeA))
	f.Add(question("www.example.", dnsmessage.TypeAAAA))
	f.Add(question("www.example.", 65))
	f.Add(question("long.example.", dnsmessage.TypeTXT))
	f.Add(append(question("1.0.192.10.in-addr.arpa.", dnsmessage.TypePTR), 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, q []byte) {
		d := newTestDNS(&exits{})
		d.Apply(DNSSettings{Exits: true, BlockDoH: true})
		var slow []byte
		a := d.answer(q, phone, nil, func(later func(context.Context) []byte) { slow = later(t.Context()) })
		for _, m := range [][]byte{a, slow} {
			var p dnsmessage.Message
			if m == nil {
				continue
			}
			if err := p.Unpack(m); err != nil || len(m) > ednsSize || !p.Response || [2]byte(m) != [2]byte(q) {
				t.Fatalf("%x answered by %x: %v", q, m, err)
			}
		}
	})
}

// Real sockets: UDP and TCP, both families, and an end.
func TestServe(t *testing.T) {
	d := newTestDNS(&exits{})
	d.Apply(DNSSettings{Exits: true})
	ctx, cancel := context.WithCancel(t.Context())
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- d.Run(ctx, []*net.UDPConn{udp}, []net.Listener{tcp}) }()
	for _, at := range []net.Addr{udp.LocalAddr(), tcp.Addr()} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network(), at.String())
		}}
		for name, want := range map[string]bool{"www.example": true, "cheesy.gnet.alt": true, "nope.gnet.alt": false} {
			got, err := r.LookupNetIP(ctx, "ip4", name+".")
			if want != (err == nil && len(got) == 1) {
				t.Errorf("%s over %s: %v %v", name, at.Network(), got, err)
			}
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}

func BenchmarkAnswerKnownName(b *testing.B) { benchmarkAnswer(b, "cheesy.gnet.alt.") }
func BenchmarkAnswerCached(b *testing.B)    { benchmarkAnswer(b, "www.example.") }

func benchmarkAnswer(b *testing.B, name string) {
	d := newTestDNS(&exits{})
	d.Apply(DNSSettings{Exits: true})
	q, out := question(name, dnsmessage.TypeA), make([]byte, 0, answerSize)
	d.answer(q, phone, nil, func(later func(context.Context) []byte) { later(b.Context()) })
	b.ReportAllocs()
	for b.Loop() {
		if d.answer(q, phone, out[:0], nil) == nil {
			b.Fatal("no answer")
		}
	}
}

// What is left of a record of HTTPS is one, without addresses; it is a stranger's.
func FuzzWithoutHints(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x04\x00\x04\xc0\xa8\x01\x01"))
	f.Add([]byte("\x00\x00\x03www\x07example\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		clean, ok := withoutHints(data)
		if !ok {
			return
		}
		again, ok := withoutHints(clean)
		if !ok || !bytes.Equal(again, clean) || len(clean) > len(data) {
			t.Fatalf("%x becomes %x, and that %x", data, clean, again)
		}
	})
}
