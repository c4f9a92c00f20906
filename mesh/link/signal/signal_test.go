package signal

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var (
	ap4 = netip.MustParseAddrPort("192.0.2.7:18250")
	ap6 = netip.MustParseAddrPort("[fe80::1]:18313")
)

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// examples has every message, plain and at its bounds.
func examples() []Message {
	hello := &Hello{Version: 1, Flags: FlagPublic, Observed: ap4}
	fill(hello.Tag[:], 0x11)
	fill(hello.Proof[:], 0x22)
	offer := &Offer{Ufrag: "abcd+/09", Pwd: strings.Repeat("x", 32)}
	fill(offer.PublicKey[:], 0x33)
	fill(offer.Signature[:], 0x44)
	full := &Peers{}
	for i := range MaxPeers {
		p := Peer{Node: [32]byte{byte(i)}}
		for range MaxPeerAddrs {
			p.Addrs = append(p.Addrs, ap6)
		}
		full.Peers = append(full.Peers, p)
	}
	return []Message{
		hello, &Hello{}, offer,
		&Offer{Ufrag: strings.Repeat("u", MaxUfrag), Pwd: strings.Repeat("p", MaxPwd)},
		&Candidate{Kind: Host, Class: 2, Addr: ap6},
		&Candidate{Kind: ServerReflexive, Class: 3, Addr: ap4},
		&EndOfCandidates{}, &Ready{Local: ap6, Remote: ap4, MTU: 1420}, &Switched{}, &PeersRequest{},
		&Peers{}, full, &Bye{Reason: Duplicate},
	}
}

func TestParseIsInverseOfAppend(t *testing.T) {
	var stream []byte
	for _, m := range examples() {
		frame := Append(nil, m)
		got, err := Parse(frame[2:])
		if err != nil {
			t.Errorf("%T: %v", m, err)
		} else if !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %+v became %+v", m, m, got)
		}
		if len(frame) > 2+MaxFrame {
			t.Errorf("%T: frame of %d bytes", m, len(frame))
		}
		stream = append(stream, frame...)
	}
	r := bytes.NewReader(stream)
	for _, m := range examples() {
		if got, err := Read(r); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("reading %T: %+v, %v", m, got, err)
		}
	}
	if _, err := Read(r); err != io.EOF {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

// The layout on the wire, byte for byte as docs/protocols/signalling.md has it.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		m    Message
		want string
	}{
		{&Candidate{Kind: ServerReflexive, Class: 3, Addr: ap4}, "\x00\x0a\x03\x02\x03\x04\xc0\x00\x02\x07\x47\x4a"},
		{&EndOfCandidates{}, "\x00\x01\x04"},
		{&Bye{Reason: NoPath}, "\x00\x02\x09\x04"},
		{&Peers{Peers: []Peer{{Addrs: []netip.AddrPort{ap4}}}},
			"\x00\x2a\x08\x01" + strings.Repeat("\x00", 32) + "\x01\x04\xc0\x00\x02\x07\x47\x4a"},
	} {
		if got := string(Append(nil, c.m)); got != c.want {
			t.Errorf("%T: %x, want %x", c.m, got, c.want)
		}
	}
}

func TestZonesAndMappedAddressesDoNotTravel(t *testing.T) {
	m := &Candidate{Kind: Host, Addr: netip.MustParseAddrPort("[fe80::1%eth0]:18313")}
	got, err := Parse(Append(nil, m)[2:])
	if err != nil || got.(*Candidate).Addr != ap6 {
		t.Errorf("%v, %v", got, err)
	}
	m = &Candidate{Kind: Host, Addr: netip.MustParseAddrPort("[::ffff:192.0.2.7]:18250")}
	if got, err = Parse(Append(nil, m)[2:]); err != nil || got.(*Candidate).Addr != ap4 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	offer := Append(nil, &Offer{Ufrag: "abcd", Pwd: strings.Repeat("x", 22)})[2:]
	for name, frame := range map[string]string{
		"nothing":               "",
		"an unknown type":       "\x63",
		"type zero":             "\x00",
		"a truncated hello":     "\x01\x01",
		"a byte too many":       "\x04\x00",
		"a candidate of no one": "\x03\x01\x02\x00\x00\x01",
		"an unknown kind":       "\x03\x07\x02\x04\x01\x02\x03\x04\x00\x01",
		"an unknown family":     "\x03\x01\x02\x05\x01\x02\x03\x04\x00\x01",
		"a mapped address":      "\x03\x01\x02\x06" + strings.Repeat("\x00", 10) + "\xff\xff\x01\x02\x03\x04\x00\x01",
		"too many peers":        "\x08\x21",
		"too many addresses":    "\x08\x01" + strings.Repeat("\x00", 32) + "\x05",
		"a short ufrag":         strings.Replace(string(offer), "\x04abcd", "\x03abc", 1),
		"a long ufrag":          strings.Replace(string(offer), "\x04abcd", "\x21"+strings.Repeat("a", 33), 1),
		"an odd ufrag":          strings.Replace(string(offer), "abcd", "ab:d", 1),
		"a short pwd":           strings.Replace(string(offer), "\x16x", "\x15", 1),
	} {
		if m, err := Parse([]byte(frame)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v; want ErrFormat", name, m, err)
		}
	}
}

func TestReadBounds(t *testing.T) {
	for name, in := range map[string]string{
		"an empty frame":    "\x00\x00",
		"a frame too long":  "\x10\x01" + strings.Repeat("\x00", 5000),
		"a truncated frame": "\x00\x05\x03",
	} {
		if m, err := Read(strings.NewReader(in)); err == nil || err == io.EOF {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestAppendPanicsOnBrokenBounds(t *testing.T) {
	for name, m := range map[string]Message{
		"ufrag":     &Offer{Ufrag: strings.Repeat("u", MaxUfrag+1)},
		"peers":     &Peers{Peers: make([]Peer, MaxPeers+1)},
		"addresses": &Peers{Peers: []Peer{{Addrs: make([]netip.AddrPort, MaxPeerAddrs+1)}}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			Append(nil, m)
		}()
	}
}

// Parse never panics, what it takes Append gives back byte for byte, and what it
// allocates is bounded by what it was given.
func FuzzParse(f *testing.F) {
	for _, m := range examples() {
		f.Add(Append(nil, m)[2:])
	}
	f.Add([]byte("\x08\x20"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Parse(frame)
		if err != nil {
			if m != nil {
				t.Error("a message with an error")
			}
			return
		}
		if again := Append(nil, m)[2:]; !bytes.Equal(again, frame) {
			t.Errorf("%x became %x", frame, again)
		}
		if p, ok := m.(*Peers); ok && len(p.Peers)*33 > len(frame) {
			t.Errorf("%d peers out of %d bytes", len(p.Peers), len(frame))
		}
	})
}
