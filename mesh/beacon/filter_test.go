package beacon

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/net/dns/dnsmessage"
)

// judge runs the program as the kernel would: over the UDP header and the message.
func judge(t testing.TB, filter []bpf.RawInstruction, msg []byte) bool {
	t.Helper()
	code, ok := bpf.Disassemble(filter)
	if !ok {
		t.Fatal("the filter has unknown instructions")
	}
	for i, in := range code { // the VM cannot ask for the length as a kernel can
		if ext, ok := in.(bpf.LoadExtension); ok && ext.Num == bpf.ExtLen {
			code[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(udpHeader + len(msg))}
		}
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(append(make([]byte, udpHeader), msg...))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func question(t testing.TB, names ...string) []byte {
	t.Helper()
	var m dnsmessage.Message
	for _, n := range names {
		m.Questions = append(m.Questions, dnsmessage.Question{Name: name(n), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET})
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func filters(t testing.TB, tag Tag) (responses, questions []bpf.RawInstruction) {
	t.Helper()
	responses, err := responseFilter()
	if err != nil {
		t.Fatal(err)
	}
	if questions, err = questionFilter(tag); err != nil {
		t.Fatal(err)
	}
	return responses, questions
}

func TestFilters(t *testing.T) {
	a := example()
	responses, questions := filters(t, a.tag)
	ours := encode(t, a)
	query, err := appendQuery(nil)
	if err != nil {
		t.Fatal(err)
	}
	another := &announcement{tag: Tag{7}}
	for _, c := range []struct {
		name               string
		msg                []byte
		response, question bool
	}{
		{"announcement", ours, true, false},
		{"our query", query, false, true},
		{"in capitals", question(t, strings.ToUpper(serviceName)), false, true},
		{"what services are there", question(t, "_services._dns-sd._udp.local."), false, true},
		{"our instance", question(t, a.instanceName()), false, true},
		{"our host", question(t, a.hostName()), false, true},
		{"another's host", question(t, another.hostName()), false, false},
		{"another service", question(t, "_http._tcp.local."), false, false},
		{"a longer name", question(t, "_globalnet._udp.local.example."), false, false},
		{"several names", question(t, "_http._tcp.local.", serviceName), false, true},
		{"too many names", question(t, strings.Split(strings.Repeat("a. ", maxRecords)+serviceName, " ")...), false, false},
		{"printer", edit(t, func(m *dnsmessage.Message) { m.Answers[0].Header.Name = name("_ipp._tcp.local.") }), false, false},
		{"no question", make([]byte, 12), false, false},
		{"nothing", nil, false, false},
		{"cut name", query[:20], false, false},
		{"cut announcement", ours[:20], false, false},
		{"large", append(bytes.Clone(ours), make([]byte, maxMessage)...), false, false},
	} {
		if got := judge(t, responses, c.msg); got != c.response {
			t.Errorf("%s: passed to the listener: %v", c.name, got)
		}
		if got := judge(t, questions, c.msg); got != c.question {
			t.Errorf("%s: passed to the responder: %v", c.name, got)
		}
	}
}

// The filter must pass whatever the parser would take from a node of ours, and no question.
func FuzzFilter(f *testing.F) {
	f.Add(encode(f, example()))
	f.Add(question(f, serviceName))
	f.Add([]byte{11: 0})
	responses, questions := filters(f, example().tag)
	f.Fuzz(func(t *testing.T, msg []byte) {
		listener, responder := judge(t, responses, msg), judge(t, questions, msg)
		if listener && responder {
			t.Fatal("passed as a question and as a response")
		}
		if a, err := parseAnnouncement(msg); err == nil && !judge(t, responses, encode(t, a)) {
			t.Fatal("a node's own announcement is dropped")
		}
	})
}
