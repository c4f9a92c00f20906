package cell

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSizesOnTheWire(t *testing.T) {
	single := func(body int) int { return RecordPrefix + HeaderSize + RecordTag + body }
	if got := single(LargeBody); got != 1344 {
		t.Errorf("a large cell alone takes %d bytes", got)
	}
	if got := single(SmallBody); got != 256 {
		t.Errorf("a small cell alone takes %d bytes", got)
	}
	// A hybrid handshake with 26 bytes of parameters fits in a large and a small cell.
	extend := MessageHeader + 32 + 1 + 4 + 32 + 1184 + 22 + 16
	if room := ForwardPayload(LargeBody) + ForwardPayload(SmallBody); extend > room {
		t.Errorf("extend takes %d bytes of %d", extend, room)
	}
	if extended := MessageHeader + 32 + 1088 + 32 + 64; extended > BackwardPayload(LargeBody) {
		t.Errorf("extended takes %d bytes", extended)
	}
}

func TestHeader(t *testing.T) {
	good := []struct {
		h    Header
		body int
		form []byte
	}{
		{Header{1, Relay, 0}, LargeBody, []byte{0, 0, 0, 1, 1, 0}},
		{Header{1 << 31, Relay, Small | Congested | Ratchet}, SmallBody, []byte{128, 0, 0, 0, 1, 7}},
		{Header{0, Padding, Small}, SmallBody, []byte{0, 0, 0, 0, 0, 1}},
		{Header{0x01020304, Destroy, Small}, SmallBody, []byte{1, 2, 3, 4, 4, 1}},
	}
	for _, tt := range good {
		form := AppendHeader(nil, tt.h)
		if !bytes.Equal(form, tt.form) {
			t.Errorf("%+v written as %v", tt.h, form)
		}
		if h, err := ParseHeader(form); err != nil || h != tt.h || h.BodySize() != tt.body {
			t.Errorf("%v read as %+v, %v", form, h, err)
		}
	}
	bad := map[string][]byte{
		"truncated":                 {0, 0, 0, 1, 1},
		"unknown command":           {0, 0, 0, 1, 5, 0},
		"unknown flag":              {0, 0, 0, 1, 1, 8},
		"relay on no circuit":       {0, 0, 0, 0, 1, 0},
		"padding on a circuit":      {0, 0, 0, 1, 0, 0},
		"create on no circuit":      {0, 0, 0, 0, 2, 0},
		"congestion of a control":   {0, 0, 0, 1, 2, 2},
		"ratchet in a control cell": {0, 0, 0, 1, 4, 5},
	}
	for name, form := range bad {
		if h, err := ParseHeader(form); err == nil {
			t.Errorf("%s: read as %+v", name, h)
		}
	}
}

func collect(t *testing.T, payloads ...[]byte) (got []Message, err error) {
	t.Helper()
	var a Assembler
	for _, p := range payloads {
		err = a.Feed(p, func(m Message) error {
			m.Body = bytes.Clone(m.Body)
			got = append(got, m)
			return nil
		})
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestMessagesShareACell(t *testing.T) {
	payload := make([]byte, 0, 300)
	want := []Message{
		{MsgBegin, 7, []byte("to")},
		{MsgData, 7, []byte("GET /")},
		{MsgEOF, 7, []byte{}},
		{MsgCredit, 0, make([]byte, creditSize)},
	}
	for _, m := range want {
		payload = AppendMessage(payload, m)
	}
	for _, spare := range []int{0, 1, 4, 5, 200} {
		got, err := collect(t, append(bytes.Clone(payload), make([]byte, spare)...))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d bytes of padding: %v, %v", spare, got, err)
		}
	}
}

func TestExtendCrossesCells(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 128)
	form := AppendMessage(nil, Message{MsgExtend, 0, body})
	tail := AppendMessage(nil, Message{MsgData, 3, []byte("after")})
	for _, cut := range []int{5, 6, 104, 1192, len(form) - 1, len(form)} {
		second := append(bytes.Clone(form[cut:]), tail...)
		got, err := collect(t, form[:cut], second)
		if err != nil || len(got) != 2 || !bytes.Equal(got[0].Body, body) || string(got[1].Body) != "after" {
			t.Errorf("cut at %d: %d messages, %v", cut, len(got), err)
		}
	}
	got, err := collect(t, form[:100], form[100:200], form[200:])
	if err != nil || len(got) != 1 {
		t.Errorf("three cells: %d messages, %v", len(got), err)
	}
}

func TestBadMessages(t *testing.T) {
	tests := []struct {
		name, want string
		payload    []byte
	}{
		{"unknown command", "unknown command 23", []byte{23, 0, 0, 0, 1}},
		{"too long", "1501 bytes", []byte{byte(MsgExtend), 5, 221, 0, 0}},
		{"data on no stream", "on stream 0", []byte{byte(MsgData), 0, 0, 0, 0}},
		{"credit on a stream", "on stream 1", []byte{byte(MsgCredit), 0, 0, 0, 1}},
		{"data beyond the cell", "crosses", []byte{byte(MsgData), 0, 2, 0, 1, 'x'}},
	}
	for _, tt := range tests {
		got, err := collect(t, tt.payload)
		if !errors.Is(err, ErrMessage) || !strings.Contains(err.Error(), tt.want) || len(got) > 0 {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func TestFeedStopsAtTheFirstError(t *testing.T) {
	payload := AppendMessage(AppendMessage(nil, Message{MsgEOF, 1, nil}), Message{MsgEOF, 2, nil})
	calls := 0
	stop := errors.New("stop")
	if err := new(Assembler).Feed(payload, func(Message) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

var begins = []Begin{
	{1 << 18, Target{Name: "example.org", Port: 443}},
	{0, Target{Network: UDP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 53}},
	{1<<32 - 1, Target{Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}},
	{5, Target{Node: [32]byte{1, 2, 31: 9}, Port: 0}},
	{5, Target{Name: strings.Repeat("a", 255)}},
}

func TestBegin(t *testing.T) {
	for _, want := range begins {
		form := AppendBegin(nil, want)
		if got, err := ParseBegin(form); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		for cut := range form {
			if got, err := ParseBegin(form[:cut]); err == nil {
				t.Errorf("cut at %d: %+v", cut, got)
			}
		}
		if got, err := ParseBegin(append(form, 0)); err == nil {
			t.Errorf("with a byte more: %+v", got)
		}
	}
	mapped := append([]byte{0, 0, 0, 0, 0, 0, 80, kindIPv6}, netip.MustParseAddr("::ffff:10.0.0.1").AsSlice()...)
	for name, form := range map[string][]byte{
		"IPv4 in IPv6":    mapped,
		"network":         {0, 0, 0, 0, 2, 0, 80, kindIPv4, 1, 2, 3, 4},
		"empty name":      {0, 0, 0, 0, 0, 0, 80, kindName, 0},
		"space in a name": {0, 0, 0, 0, 0, 0, 80, kindName, 2, 'a', ' '},
		"kind":            {0, 0, 0, 0, 0, 0, 80, 9, 1, 2, 3, 4},
	} {
		if got, err := ParseBegin(form); !errors.Is(err, ErrMessage) || got != (Begin{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if ValidName("") || ValidName(strings.Repeat("a", 256)) || ValidName("a\nb") || !ValidName("a_b.c") {
		t.Error("ValidName judges wrongly")
	}
}

func TestResolve(t *testing.T) {
	for _, name := range []string{"example.org", "1.2.0.192.in-addr.arpa"} {
		if got, err := ParseResolve(AppendResolve(nil, name)); err != nil || got != name {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, want := range []Resolved{
		{Reason: EndResolve},
		{TTL: time.Minute, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
		{TTL: 1<<32*time.Second - time.Second, Names: []string{"example.org", "example.com"}},
		{TTL: time.Minute, Records: [][]byte{[]byte("\x05hello"), {0}}},
	} {
		form := AppendResolved(nil, want)
		if got, err := ParseResolved(form); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		for cut := range form {
			if got, err := ParseResolved(form[:cut]); err == nil && cut != 5 && reflect.DeepEqual(got, want) {
				t.Errorf("cut at %d: %+v", cut, got)
			}
		}
	}
	many := Resolved{Addrs: make([]netip.Addr, 100)}
	for i := range many.Addrs {
		many.Addrs[i] = netip.MustParseAddr("2001:db8::1")
	}
	form := AppendResolved(nil, many)
	if got, err := ParseResolved(form); err != nil || len(got.Addrs) == 0 || len(form) > maxResolved {
		t.Errorf("%d answers in %d bytes, %v", len(got.Addrs), len(form), err)
	}
	for name, form := range map[string][]byte{
		"empty": nil, "kind": {0, 0, 0, 0, 0, 9}, "node": append([]byte{0, 0, 0, 0, 0, kindNode}, make([]byte, 32)...),
		"cut name": {0, 0, 0, 0, 0, kindName, 5, 'a'}, "no name": {0, 0, 0, 0, 0, kindName},
		"cut record": {0, 0, 0, 0, 0, kindRecord, 0, 2, 1}, "no length": {0, 0, 0, 0, 0, kindRecord, 0},
	} {
		if got, err := ParseResolved(form); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for question, want := range map[string]string{"example.org": "example.org 0", Record("example.org", 65): "example.org 65", "example.org/": "", "example.org/0": "",
		"example.org/65536": "", "/65": "", "a/65/16": "", "a/x": "", "a/-1": ""} {
		name, kind, err := ParseRecord(question)
		if got := fmt.Sprint(name, " ", kind); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s: %s, %v", question, got, err)
		}
		if name, err := ParseResolve(AppendResolve(nil, question)); err != nil || name != question {
			t.Errorf("%s does not travel: %v", question, err)
		}
	}
	if _, err := ParseResolve([]byte("a b")); err == nil {
		t.Error("a name with a space")
	}
}

func TestBodies(t *testing.T) {
	credit := Credit{Cells: 1<<32 - 8, Tag: [16]byte{1, 15: 2}, Held: 1234 * time.Microsecond, Congested: 65535}
	if got, err := ParseCredit(AppendCredit(nil, credit)); err != nil || got != credit {
		t.Errorf("%+v, %v", got, err)
	}
	long := AppendCredit(nil, Credit{Held: 1e6 * time.Hour})
	if got, err := ParseCredit(long); err != nil || got.Held != (1<<32-1)*time.Microsecond {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []Connected{{}, {netip.MustParseAddr("192.0.2.7")}, {netip.MustParseAddr("2001:db8::7")}} {
		if got, err := ParseConnected(AppendConnected(nil, c)); err != nil || got != c {
			t.Errorf("%+v, %v", got, err)
		}
	}
	extend := Extend{[32]byte{5}, 1, []byte("request")}
	if got, err := ParseExtend(AppendExtend(nil, extend)); err != nil || !reflect.DeepEqual(got, extend) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseExtend(make([]byte, 32)); err == nil {
		t.Error("extend without a handshake type")
	}
	if _, err := ParseExtend(make([]byte, 33+ControlSize)); err == nil {
		t.Error("extend that fits in no create cell")
	}
	if n, err := ParseWindow(AppendWindow(nil, 77)); n != 77 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for name, err := range map[string]error{
		"credit":    second(ParseCredit(make([]byte, creditSize-1))),
		"connected": second(ParseConnected([]byte{4, 1, 2, 3, 4, 5})),
		"window":    second(ParseWindow(make([]byte, 5))),
		"reason":    second(ParseReason(nil)),
		"end":       second(ParseEnd([]byte{1, 2})),
	} {
		if !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestReasonsHaveWords(t *testing.T) {
	if len(reasonTexts) != int(ReasonShutdown)+1 || len(endTexts) != int(EndWrongKey)+1 {
		t.Errorf("%d and %d texts", len(reasonTexts), len(endTexts))
	}
	if Reason(200).String() != "reason 200" || EndReason(201).String() != "reason 201" || ReasonTimeout.String() != "timeout" {
		t.Error("wrong words")
	}
	// What only this node says of itself is not believed of others.
	for _, r := range []EndReason{EndNeedsKey, EndWrongKey} {
		if got, err := ParseEnd([]byte{byte(r)}); got != EndMisc || err != nil {
			t.Errorf("%q from elsewhere is %q, %v", r, got, err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 0})
	f.Add([]byte{128, 0, 0, 0, 4, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err == nil && !bytes.Equal(AppendHeader(nil, h), b[:HeaderSize]) {
			t.Fatalf("%v read as %+v", b[:HeaderSize], h)
		}
	})
}

// FuzzAssembler cuts the input at a place into two cells; what is read, written
// again, must be a prefix of the input up to padding.
func FuzzAssembler(f *testing.F) {
	f.Add(AppendMessage(nil, Message{MsgData, 1, []byte("x")}), 3)
	f.Add(AppendMessage(nil, Message{MsgExtend, 0, make([]byte, 1250)}), 1192)
	f.Add(AppendMessage(AppendMessage(nil, Message{MsgEOF, 1, nil}), Message{MsgCredit, 0, make([]byte, creditSize)}), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			return
		}
		var a Assembler
		total := 0
		each := func(m Message) error {
			form := AppendMessage(nil, m)
			total += len(form)
			if !bytes.Contains(b, m.Body) {
				t.Fatal("a body that was not in the input")
			}
			parseBody(t, m)
			return nil
		}
		for _, p := range [][]byte{b[:cut], b[cut:]} {
			if a.Feed(p, each) != nil {
				return
			}
			if cap(a.partial) > 2*MaxMessage {
				t.Fatalf("%d bytes kept", cap(a.partial))
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of messages from %d", total, len(b))
		}
	})
}

// parseBody checks that what is accepted is written the same way.
func parseBody(t *testing.T, m Message) {
	var form []byte
	switch m.Command {
	case MsgBegin:
		v, err := ParseBegin(m.Body)
		if err != nil {
			return
		}
		form = AppendBegin(nil, v)
	case MsgConnected:
		v, err := ParseConnected(m.Body)
		if err != nil {
			return
		}
		form = AppendConnected(nil, v)
	case MsgCredit:
		v, err := ParseCredit(m.Body)
		if err != nil {
			return
		}
		form = AppendCredit(nil, v)
	case MsgResolved:
		v, err := ParseResolved(m.Body)
		if err != nil || len(m.Body) > maxResolved {
			return
		}
		form = AppendResolved(nil, v)
		if len(v.Addrs) > 0 && len(v.Names) > 0 {
			return // written in another order
		}
	case MsgExtend:
		v, err := ParseExtend(m.Body)
		if err != nil {
			return
		}
		form = AppendExtend(nil, v)
	default:
		return
	}
	if !bytes.Equal(form, m.Body) {
		t.Fatalf("command %d: %x written as %x", m.Command, m.Body, form)
	}
}

func TestCreateParams(t *testing.T) {
	for _, p := range []CreateParams{{Suite: 1}, {Suite: 2, Proof: [16]byte{1, 15: 2}}} {
		b := AppendCreateParams(nil, p)
		if len(b) != 18 { // with a proof or without
			t.Errorf("%d bytes", len(b))
		}
		if got, err := ParseCreateParams(append(b, 9, 9)); err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
	if got, err := ParseCreateParams([]byte{1, 2}); err != nil || got != (CreateParams{Suite: 2}) {
		t.Errorf("without a proof: %+v, %v", got, err)
	}
	for _, b := range [][]byte{nil, {1}, {0, 1}} {
		if _, err := ParseCreateParams(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%x: %v", b, err)
		}
	}
}
