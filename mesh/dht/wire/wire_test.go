package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func number(n uint64) *uint64 { return &n }

func filled(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func sampleRecord(value int) *Record {
	return &Record{
		Type: 4, Public: [32]byte{1, 2}, Seq: 7, Expiry: 9, Salt: []byte("salt"),
		Value: filled(value, 0xAB), Signature: [64]byte{5},
	}
}

func samples() []Message {
	small := AppendRecord(nil, sampleRecord(10))
	contacts := make([]Contact, MaxContacts)
	for i := range contacts {
		contacts[i][0] = byte(i)
	}
	meta := &Meta{Seq: 7, Digest: Digest{1}, TTL: 3600, Total: uint16(len(small))}
	return []Message{
		{ID: 1, Body: Ping{}},
		{ID: 1, Client: true, Body: Ping{}},
		{ID: 1<<64 - 1, Body: Pong{Token: Token{1, 2, 3}}},
		{ID: 2, Body: Find{Token: Token{1}, Key: Key{2}, Have: 3, Value: true}},
		{ID: 2, Client: true, Body: Find{Key: Key{2}}},
		{ID: 2, Body: Found{Token: Token{1}}},
		{ID: 2, Body: Found{Token: Token{1}, Meta: meta, Contacts: contacts}},
		{ID: 2, Body: Found{Token: Token{1}, Meta: meta, Contacts: contacts[:3], Record: small}},
		{ID: 2, Body: Found{Token: Token{1}, Meta: &Meta{Total: minRecord, Cached: true}}},
		{ID: 3, Body: Fetch{Token: Token{1}, Key: Key{2}, Digest: Digest{3}, Offset: 2 * SegmentSize}},
		{ID: 3, Body: Segment{}},
		{ID: 3, Body: Segment{Total: SegmentSize + 1, Offset: SegmentSize, Data: []byte{1}}},
		{ID: 3, Body: Segment{Total: SegmentSize + 1, Data: filled(SegmentSize, 1)}},
		{ID: 4, Body: Offer{Token: Token{1}, Key: Key{2}, Seq: 3, Digest: Digest{4}, TTL: 5}},
		{ID: 5, Body: Store{Token: Token{1}, Key: Key{2}, Digest: Digest{3}, TTL: 4, Total: 200, Data: filled(200, 9)}},
		{ID: 5, Body: Store{Cache: true, CAS: number(0), Total: maxRecord, Data: filled(SegmentSize, 9)}},
		{ID: 5, Body: Store{CAS: number(8), Total: maxRecord, Offset: 3 * SegmentSize, Data: filled(maxRecord-3*SegmentSize, 9)}},
		{ID: 6, Body: Answer{Token: Token{1}, Status: Newer, Seq: 2, Digest: Digest{3}}},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range samples() {
		p := Append(nil, m)
		got, err := Parse(p)
		if err != nil {
			t.Errorf("%v: %v", m.Body.Kind(), err)
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%v: got %+v, want %+v", m.Body.Kind(), got, m)
		}
	}
}

// Any prefix and any message with an octet behind it is refused.
func TestWrongLengthIsRefused(t *testing.T) {
	for _, m := range samples() {
		p := Append(nil, m)
		for n := range p {
			if _, err := Parse(p[:n]); err == nil {
				t.Errorf("%v: %d of %d octets pass", m.Body.Kind(), n, len(p))
			}
		}
		if _, err := Parse(append(p, 0)); err == nil {
			t.Errorf("%v: passes with an octet too many", m.Body.Kind())
		}
	}
}

func TestRefused(t *testing.T) {
	change := func(m Message, at int, to byte) []byte {
		p := Append(nil, m)
		p[at] = to
		return p
	}
	find := Message{Body: Find{}}
	for name, p := range map[string][]byte{
		"other version":      change(find, 0, 0xD2),
		"unknown kind":       change(find, 1, 0x70),
		"unknown flag":       change(find, 2, 0x02),
		"reserved octet":     change(find, 3, 1),
		"unknown find flag":  change(find, 60, 2),
		"padding":            change(find, 95, 1),
		"unknown status":     change(Message{Body: Answer{}}, 20, byte(lastStatus)+1),
		"17 contacts":        append(change(Message{Body: Found{}}, 21, 17), make([]byte, 17*12)...),
		"record, no meta":    append(change(Message{Body: Found{}}, 20, 2), make([]byte, 200)...),
		"cached, no meta":    change(Message{Body: Found{}}, 20, 4),
		"odd fetch offset":   change(Message{Body: Fetch{}}, 69, 1),
		"CAS without flag":   change(Message{Body: Store{Total: 200, Data: filled(200, 1)}}, 80, 1),
		"record too short":   change(Message{Body: Store{Total: 200, Data: filled(200, 1)}}, 82, 3),
		"empty beyond total": change(Message{Body: Segment{}}, 15, 1),
		"longer than packet": make([]byte, MaxPacket+1),
	} {
		if m, err := Parse(p); err == nil {
			t.Errorf("%s: parsed as %+v", name, m)
		}
	}
}

// Layouts are a promise to other versions: they change only with Version.
func TestLayout(t *testing.T) {
	p := Append(nil, Message{Client: true, ID: 0x1122334455667788, Body: Offer{
		Token: Token{0xA0}, Key: Key{0xB0}, Seq: 0x0102, Digest: Digest{0xC0}, TTL: 3600}})
	want := "d1040100" + "1122334455667788" +
		"a0" + strings.Repeat("00", 7) +
		"b0" + strings.Repeat("00", 31) +
		"0000000000000102" +
		"c0" + strings.Repeat("00", 15) +
		"00000e10"
	if hex.EncodeToString(p) != want {
		t.Errorf("offer is %x, want %s", p, want)
	}
	r := AppendRecord(nil, &Record{Type: 0x0102, Public: [32]byte{3}, Seq: 4, Expiry: 5, Salt: []byte{6}, Value: []byte{7, 8}, Signature: [64]byte{9}})
	want = "0102" + "03" + strings.Repeat("00", 31) + "0000000000000004" + "0000000000000005" +
		"01" + "06" + "0002" + "0708" + "09" + strings.Repeat("00", 63)
	if hex.EncodeToString(r) != want {
		t.Errorf("record is %x, want %s", r, want)
	}
}

func TestLimits(t *testing.T) {
	for _, m := range samples() {
		if n := len(Append(nil, m)); n > MaxPacket {
			t.Errorf("%v has %d octets", m.Body.Kind(), n)
		}
	}
	if n := (maxRecord + SegmentSize - 1) / SegmentSize; n > 4 {
		t.Errorf("the largest record takes %d segments", n)
	}
	meta := &Meta{Total: minRecord}
	full := Found{Meta: meta, Contacts: make([]Contact, MaxContacts)}
	if n := len(Append(nil, Message{Body: full})); n > 3*findLen || n != FoundSize(true, MaxContacts, 0) {
		t.Errorf("a Found without a record has %d octets, FoundSize says %d, 3 requests are %d",
			n, FoundSize(true, MaxContacts, 0), 3*findLen)
	}
	if len(Append(nil, Message{Body: Pong{}})) > len(Append(nil, Message{Body: Ping{}})) {
		t.Error("a Pong is longer than a Ping")
	}
}

func TestRecord(t *testing.T) {
	for _, n := range []int{0, 1, 900, MaxValue} {
		r := sampleRecord(n)
		if n == 0 {
			r.Value = nil
		}
		p := AppendRecord(nil, r)
		got, err := ParseRecord(p)
		if err != nil || !reflect.DeepEqual(got, r) || len(p) != r.Size() {
			t.Errorf("%d octets of value: %+v, %v", n, got, err)
		}
		for _, cut := range []int{0, 1, 60, len(p) - 1} {
			if _, err := ParseRecord(p[:cut]); err == nil {
				t.Errorf("%d of %d octets pass", cut, len(p))
			}
		}
	}
	long := AppendRecord(nil, sampleRecord(1))
	long[50] = MaxSalt + 1
	if _, err := ParseRecord(append(long, make([]byte, 200)...)); err == nil {
		t.Error("a salt of 65 octets passes")
	}
}

// Every field but the signature changes the digest and the signed form; only type,
// key and salt change the place.
func TestDigestAndKey(t *testing.T) {
	base := *sampleRecord(5)
	for name, change := range map[string]func(*Record){
		"type":  func(r *Record) { r.Type++ },
		"key":   func(r *Record) { r.Public[31]++ },
		"salt":  func(r *Record) { r.Salt = []byte("other") },
		"seq":   func(r *Record) { r.Seq++ },
		"exp":   func(r *Record) { r.Expiry++ },
		"value": func(r *Record) { r.Value = filled(5, 1) },
		"move":  func(r *Record) { r.Salt, r.Value = []byte("sal"), append([]byte("t"), r.Value...) },
	} {
		r := base
		change(&r)
		if r.Digest() == base.Digest() || bytes.Equal(r.SignedForm(), base.SignedForm()) {
			t.Errorf("changing %s leaves the digest", name)
		}
		moved := name == "type" || name == "key" || name == "salt" || name == "move"
		if (r.Key() != base.Key()) != moved {
			t.Errorf("changing %s: key moved %v", name, !moved)
		}
	}
	r := base
	r.Signature[0]++
	if r.Digest() != base.Digest() {
		t.Error("the signature changes the digest")
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range samples() {
		f.Add(Append(nil, m))
	}
	f.Add([]byte{Version})
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := Parse(p)
		if err != nil {
			return
		}
		if got := Append(nil, m); !bytes.Equal(got, p) {
			t.Errorf("%x became %x", p, got)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add(AppendRecord(nil, sampleRecord(0)))
	f.Add(AppendRecord(nil, sampleRecord(100)))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := ParseRecord(p)
		if err != nil {
			return
		}
		if got := AppendRecord(nil, r); !bytes.Equal(got, p) {
			t.Errorf("%x became %x", p, got)
		}
		r.Key()
		r.Digest()
	})
}

// A datagram makes Parse allocate no more than the message and its contacts.
func TestParseAllocations(t *testing.T) {
	for _, m := range samples() {
		p := Append(nil, m)
		if n := testing.AllocsPerRun(100, func() { Parse(p) }); n > 6 {
			t.Errorf("%v: %v allocations", m.Body.Kind(), n)
		}
	}
}
