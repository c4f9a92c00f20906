package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packet puts a header before a body in hexadecimal.
func packet(t testing.TB, body string) []byte {
	t.Helper()
	b := unhex(t, body)
	return append([]byte{42, 2, byte(len(b) >> 8), byte(len(b))}, b...)
}

var (
	meshA = netip.MustParsePrefix("fd47:4e45:1:2:3:4:5:6/128")
	meshB = netip.MustParsePrefix("fd47:4e45:1:2:a:b:c:d/128")
	idA   = RouterID{0, 3, 0, 4, 0, 5, 0, 6}
	idB   = RouterID{0, 10, 0, 11, 0, 12, 0, 13}
	idX   = RouterID{1, 2, 3, 4, 5, 6, 7, 8}
	local = netip.MustParseAddr("fe80::1:2:3:4")
)

func TestParse(t *testing.T) {
	v4 := netip.MustParsePrefix("10.1.2.0/24")
	for _, c := range []struct {
		name, body                    string
		want                          []TLV
		malformed, unknown, mandatory int
	}{
		{name: "Pad1 and PadN", body: "00 00 0103000000 00"},
		{name: "acknowledgments", body: "0206 0000 1234 0064  0302 1234",
			want: []TLV{AckRequest{0x1234, 100}, Ack{0x1234}}},
		{name: "hello, unicast hello, reserved flags", body: "0406 0000 0001 0190  0406 8001 0002 0000",
			want: []TLV{Hello{Seqno: 1, Interval: 400}, Hello{Unicast: true, Seqno: 2}}},
		{name: "hello with timestamp between pads", body: "040f 0000 0001 0190 00 0304 01020304 0100",
			want: []TLV{Hello{Seqno: 1, Interval: 400, HasTimestamp: true, Timestamp: 0x01020304}}},
		{name: "short timestamp ignored", body: "040b 0000 0001 0190 0303 010203",
			want: []TLV{Hello{Seqno: 1, Interval: 400}}},
		{name: "IHU of each encoding", body: `0506 0000 0060 04b0
				050a 0100 0060 04b0 0a000001
				0516 0200 0060 04b0 fd474e45000100020003000400050006
				0518 0300 0060 04b0 0001000200030004 0308 00000001 00000002`,
			want: []TLV{
				IHU{RxCost: 96, Interval: 1200},
				IHU{Address: netip.MustParseAddr("10.0.0.1"), RxCost: 96, Interval: 1200},
				IHU{Address: meshA.Addr(), RxCost: 96, Interval: 1200},
				IHU{Address: local, RxCost: 96, Interval: 1200, HasTimestamp: true, Origin: 1, Receive: 2},
			}},
		{name: "IHU has no encoding 4, RFC 9229 section 3", body: "050a 0400 0060 04b0 0a000001", malformed: 1},
		{name: "update without a router-id", body: "0810 0200 3000 0640 0001 0060 fd474e450001", malformed: 1},
		{name: "router-id, then update", body: "060a 0000 0102030405060708 0810 0200 3000 0640 0001 0060 fd474e450001",
			want: []TLV{Update{Prefix: netip.MustParsePrefix("fd47:4e45:1::/48"), Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX}}},
		{name: "flags 80 and 40, then compressed", body: `081a 02c0 8000 0640 0001 0060 fd474e45000100020003000400050006
				0812 0240 8008 0640 0002 0080 000a000b000c000d`,
			want: []TLV{
				Update{Prefix: meshA, Interval: 1600, Seqno: 1, Metric: 96, RouterID: idA},
				Update{Prefix: meshB, Interval: 1600, Seqno: 2, Metric: 128, RouterID: idB},
			}},
		{name: "a default prefix is of one encoding", body: `060a 0000 0102030405060708
				081a 0280 8000 0640 0001 0060 fd474e45000100020003000400050006
				080c 0400 1802 0640 0001 0060 0102`, malformed: 1,
			want: []TLV{Update{Prefix: meshA, Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX}}},
		{name: "source prefix: the TLV is ignored, its flags are not", body: `081d 02c0 8000 0640 0001 0060 fd474e45000100020003000400050006 8001 00
				0812 0200 8008 0640 0002 0080 000a000b000c000d`, mandatory: 1,
			want: []TLV{Update{Prefix: meshB, Interval: 1600, Seqno: 2, Metric: 128, RouterID: idA}}},
		{name: "router-id with a mandatory sub-TLV counts", body: "060c 0000 0102030405060708 8100 0810 0200 3000 0640 0001 0060 fd474e450001", mandatory: 1,
			want: []TLV{Update{Prefix: netip.MustParsePrefix("fd47:4e45:1::/48"), Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX}}},
		{name: "unknown optional sub-TLV", body: "0408 0000 0001 0190 7f00", want: []TLV{Hello{Seqno: 1, Interval: 400}}},
		{name: "IPv4 without a next hop", body: "060a 0000 0102030405060708 080d 0100 1800 0640 0001 0060 0a0102", malformed: 1},
		{name: "IPv4 with a next hop", body: "060a 0000 0102030405060708 0706 0100 0a000001 080d 0100 1800 0640 0001 0060 0a0102",
			want: []TLV{Update{Prefix: v4, Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX, NextHop: netip.MustParseAddr("10.0.0.1")}}},
		{name: "v4-via-v6", body: "060a 0000 0102030405060708 080d 0400 1800 0640 0001 0060 0a0102",
			want: []TLV{Update{Prefix: v4, Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX}}},
		{name: "router-id from an IPv4 prefix", body: "080e 0440 2000 0640 0001 0060 0a010203",
			want: []TLV{Update{Prefix: netip.MustParsePrefix("10.1.2.3/32"), Interval: 1600, Seqno: 1, Metric: 96, RouterID: RouterID{0, 0, 0, 0, 10, 1, 2, 3}}}},
		{name: "IPv6 next hop", body: "060a 0000 0102030405060708 070a 0300 0001000200030004 0810 0200 3000 0640 0001 0060 fd474e450001",
			want: []TLV{Update{Prefix: netip.MustParsePrefix("fd47:4e45:1::/48"), Interval: 1600, Seqno: 1, Metric: 96, RouterID: idX, NextHop: local}}},
		{name: "retraction needs no router-id and takes none", body: "081a 0240 8000 0640 0001 ffff fd474e45000100020003000400050006",
			want: []TLV{Update{Prefix: meshA, Interval: 1600, Seqno: 1, Metric: Infinity}}},
		{name: "retraction of all", body: "080a 0000 0000 0640 0001 ffff",
			want: []TLV{Update{Interval: 1600, Seqno: 1, Metric: Infinity}}},
		{name: "finite wildcard update, wildcard with a length", body: "080a 0000 0000 0640 0001 0060 080a 0000 0800 0640 0001 ffff", malformed: 2},
		{name: "prefix too long, octets missing, omitted too many", body: `081b 0200 8100 0640 0001 ffff fd474e4500010002000300040005000600
				080c 0200 8000 0640 0001 ffff fd47  080a 0200 1003 0640 0001 ffff`, malformed: 3},
		{name: "route requests", body: "0902 0000 0905 0218 fd474e",
			want: []TLV{RouteRequest{}, RouteRequest{netip.MustParsePrefix("fd47:4e00::/24")}}},
		{name: "seqno request", body: "0a1e 0280 0007 4000 0003000400050006 fd474e45000100020003000400050006",
			want: []TLV{SeqnoRequest{meshA, 7, 64, idA}}},
		{name: "seqno request: wildcard, hop count 0, router-id 0", body: `0a0e 0000 0007 4000 0003000400050006
				0a11 0218 0007 0000 0003000400050006 fd474e  0a11 0218 0007 4000 0000000000000000 fd474e`, malformed: 3},
		{name: "bits beyond the prefix mean nothing", body: "0905 0214 fd474f", want: []TLV{RouteRequest{netip.MustParsePrefix("fd47:4000::/20")}}},
		{name: "unknown TLV", body: "6302 0000 0302 0001", want: []TLV{Ack{1}}, unknown: 1},
		{name: "malformed ones do not cost the rest", body: "0401 00 0302 0001 0501 00 0202 0000 0301 00 0602 0000 0701 01",
			want: []TLV{Ack{1}}, malformed: 6},
		{name: "a TLV longer than the packet", body: "0302 0001 0406 0000", want: []TLV{Ack{1}}, malformed: 1},
		{name: "a sub-TLV longer than its TLV", body: "0408 0000 0001 0190 0304", malformed: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse(packet(t, c.body))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.TLVs)+len(c.want) > 0 && !reflect.DeepEqual(p.TLVs, c.want) {
				t.Errorf("got  %+v\nwant %+v", p.TLVs, c.want)
			}
			if p.Malformed != c.malformed || p.Unknown != c.unknown || p.Mandatory != c.mandatory {
				t.Errorf("malformed %d unknown %d mandatory %d, want %d %d %d",
					p.Malformed, p.Unknown, p.Mandatory, c.malformed, c.unknown, c.mandatory)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	good := packet(t, "0302 0001")
	if p, err := Parse(append(good, 1, 2, 3)); err != nil || len(p.TLVs) != 1 { // RFC 8966 section 4.2: a trailer
		t.Errorf("with a trailer: %v, %v", p, err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "short": {42, 2, 0}, "magic": {43, 2, 0, 0}, "version": {42, 3, 0, 0}, "length": {42, 2, 0, 1},
	} {
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), "parsing babel packet") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestBytes pins what we send: docs/protocols/babel.md shows the same bytes.
func TestBytes(t *testing.T) {
	got, err := Append(nil,
		Hello{Seqno: 7, Interval: 400, HasTimestamp: true, Timestamp: 1},
		IHU{Address: local, RxCost: 96, Interval: 1200, HasTimestamp: true, Origin: 2, Receive: 3},
		Update{Prefix: meshA, Interval: 1600, Seqno: 5, Metric: 0, RouterID: idA},
		Update{Prefix: meshB, Interval: 1600, Seqno: 9, Metric: 96, RouterID: idB},
		Update{Prefix: meshA, Interval: 1600, Metric: Infinity},
		Update{Prefix: meshB, Interval: 1600, Seqno: 9, Metric: 97, RouterID: idX},
		Update{Prefix: netip.MustParsePrefix("10.1.2.0/24"), Interval: 1600, Seqno: 9, Metric: 98, RouterID: idX},
		SeqnoRequest{meshA, 6, 64, idA},
		RouteRequest{},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := packet(t, `040c 0000 0007 0190 0304 00000001
		0518 0300 0060 04b0 0001000200030004 0308 00000002 00000003
		081a 02c0 8000 0640 0005 0000 fd474e45000100020003000400050006
		0811 02c0 8009 0640 0009 0060 0a000b000c000d
		0811 0280 8009 0640 0000 ffff 03000400050006
		060a 0000 0102030405060708
		0811 0280 8009 0640 0009 0061 0a000b000c000d
		080d 0400 1800 0640 0009 0062 0a0102
		0a1e 0280 0006 4000 0003000400050006 fd474e45000100020003000400050006
		0902 0000`)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestBuilderKeepsWithin(t *testing.T) {
	const limit = 100
	b := NewBuilder(limit)
	var packets [][]byte
	var sent []TLV
	for k := range 50 {
		a := meshA.Addr().As16()
		a[15] = byte(k)
		u := Update{Prefix: netip.PrefixFrom(netip.AddrFrom16(a), 128), Metric: uint16(k), RouterID: RouterID(a[8:])}
		sent = append(sent, u)
		ok, err := b.Add(u)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			packets = append(packets, b.Packet())
			if ok, err := b.Add(u); !ok || err != nil {
				t.Fatalf("no room in an empty packet: %v", err)
			}
		}
	}
	packets = append(packets, b.Packet())
	if b.Packet() != nil || b.Len() != 0 {
		t.Error("the builder is not empty after Packet")
	}
	var got []TLV
	for _, p := range packets {
		if len(p) > limit {
			t.Errorf("packet of %d bytes, limit %d", len(p), limit)
		}
		q, err := Parse(p)
		if err != nil || q.Malformed != 0 {
			t.Fatal(err, q.Malformed)
		}
		got = append(got, q.TLVs...)
	}
	if !reflect.DeepEqual(got, sent) {
		t.Error("what was parsed differs from what was added")
	}
	if len(packets) < 50*16/limit || len(packets) > 15 {
		t.Errorf("%d packets", len(packets))
	}
}

func TestInexpressible(t *testing.T) {
	for name, tlv := range map[string]TLV{
		"nil":                       nil,
		"finite wildcard update":    Update{Metric: 1},
		"no router-id":              Update{Prefix: meshA, Metric: 1},
		"IPv6 prefix via IPv4":      Update{Prefix: meshA, Metric: 1, RouterID: idA, NextHop: netip.MustParseAddr("10.0.0.1")},
		"next hop with a zone":      Update{Prefix: meshA, Metric: 1, RouterID: idA, NextHop: local.WithZone("x")},
		"IHU with a zone":           IHU{Address: local.WithZone("x")},
		"wildcard seqno request":    SeqnoRequest{HopCount: 1, RouterID: idA},
		"seqno request, no hop":     SeqnoRequest{Prefix: meshA, RouterID: idA},
		"seqno request, bad router": SeqnoRequest{Prefix: meshA, HopCount: 1},
	} {
		if b, err := Append([]byte("x"), tlv); err == nil || string(b) != "x" {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
	// After a Next Hop TLV there is no way to say "the source of the packet".
	if _, err := Append(nil, Update{Prefix: meshA, RouterID: idA, NextHop: local}, Update{Prefix: meshB, RouterID: idB}); err == nil {
		t.Error("an update via the source after one via another next hop was taken")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "00 0103000000", "0206 0000 1234 0064 0302 1234", "040c 0000 0007 0190 0304 00000001",
		"0518 0300 0060 04b0 0001000200030004 0308 00000002 00000003", "0506 0000 0060 04b0",
		"081a 02c0 8000 0640 0005 0000 fd474e45000100020003000400050006 0812 0240 8008 0640 0009 0060 000a000b000c000d",
		"060a 0000 0102030405060708 0706 0100 0a000001 080d 0100 1800 0640 0001 0060 0a0102 080d 0400 1800 0640 0001 0060 0a0102",
		"081d 02c0 8000 0640 0001 0060 fd474e45000100020003000400050006 8001 00", "080a 0000 0000 0640 0001 ffff",
		"0a1e 0280 0006 4000 0003000400050006 fd474e45000100020003000400050006 0902 0000 0905 0218 fd474e",
	} {
		f.Add(packet(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if n := len(p.TLVs) + p.Malformed + p.Unknown + p.Mandatory; n > len(b)/2+1 {
			t.Fatalf("%d TLVs from %d bytes", n, len(b))
		}
		again, err := Append(nil, p.TLVs...)
		if err != nil {
			t.Skip(err) // only what needs more room than a packet has
		}
		q, err := Parse(again)
		if err != nil || q.Malformed+q.Unknown+q.Mandatory != 0 {
			t.Fatalf("what we wrote is not good: %v, %+v", err, q)
		}
		if len(p.TLVs) > 0 && !reflect.DeepEqual(p.TLVs, q.TLVs) {
			t.Fatalf("got  %+v\nwant %+v", q.TLVs, p.TLVs)
		}
	})
}
