package netdir

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/policy"
)

var update = flag.Bool("update", false, "write testdata anew")

// vector is one descriptor in all its parts, for a reader that shares no code.
type vector struct {
	Name      string   `json:"name"`
	Seed      string   `json:"seed"` // of the node's key, RFC 8032
	Node      string   `json:"node"`
	Sequence  uint64   `json:"sequence"`
	Flags     uint16   `json:"flags"`
	OnionKey  string   `json:"onion_key"`
	Protocols [][3]int `json:"protocols"` // protocol, first, last
	Suites    []int    `json:"suites"`
	Exit      string   `json:"exit"` // flags, counts, ranges
	Families  []signer `json:"families"`
	Vouches   []signer `json:"vouches"`
	Signed    string   `json:"signed"` // what the signature covers: length of context, context, descriptor
	Signature string   `json:"signature"`
	Raw       string   `json:"raw"`
}

type signer struct {
	Secret    string `json:"secret,omitempty"` // of a family
	Seed      string `json:"seed,omitempty"`   // of a voucher
	Key       string `json:"key"`
	Signed    string `json:"signed"`
	Signature string `json:"signature"`
}

func vectorOf(t *testing.T, name string, seed byte, d *Descriptor) vector {
	t.Helper()
	secret := bytes.Repeat([]byte{seed}, 32)
	id, err := identity.FromSeed(secret)
	if err != nil {
		t.Fatal(err)
	}
	node := id.NodeID()
	v := vector{Name: name, Seed: hex.EncodeToString(secret), Node: hex.EncodeToString(node[:]), Flags: uint16(d.Flags),
		Sequence: d.Sequence, OnionKey: hex.EncodeToString(d.OnionKey[:]), Exit: hex.EncodeToString(policy.AppendSummary(nil, d.Exit))}
	for _, p := range d.Protocols {
		v.Protocols = append(v.Protocols, [3]int{int(p.Protocol), int(p.First), int(p.Last)})
	}
	for _, s := range d.Suites {
		v.Suites = append(v.Suites, int(s))
	}
	covered := func(context string, message []byte) string {
		return hex.EncodeToString(append(append([]byte{byte(len(context))}, context...), message...))
	}
	if len(d.Families) > 0 {
		d.Families = []Family{SignFamily(FamilyKey("cheese"), node)}
		f := d.Families[0]
		v.Families = []signer{{Secret: "cheese", Key: hex.EncodeToString(f.Key[:]),
			Signed: covered("globalnet family 1", node[:]), Signature: hex.EncodeToString(f.Signature[:])}}
	}
	for i := range d.Vouches {
		seed := bytes.Repeat([]byte{seed + byte(i) + 1}, 32)
		voucher, err := identity.FromSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		vouch := SignVouch(voucher, node)
		d.Vouches[i] = vouch
		v.Vouches = append(v.Vouches, signer{Seed: hex.EncodeToString(seed), Key: hex.EncodeToString(vouch.Voucher[:]),
			Signed: covered("globalnet vouch 1", node[:]), Signature: hex.EncodeToString(vouch.Signature[:])})
	}
	raw := signed(t, id, d)
	end := len(raw) - 64
	v.Signed, v.Signature = covered("globalnet descriptor 1", raw[:end]), hex.EncodeToString(raw[end:])
	v.Raw = hex.EncodeToString(raw)
	return v
}

func TestVectors(t *testing.T) {
	const name = "testdata/descriptors.json"
	plain := &Descriptor{Sequence: 1}
	full := rich(t, person(t, 1))
	vectors := []vector{vectorOf(t, "a node that does not relay", 1, plain), vectorOf(t, "an exit with a family and two vouches", 16, full)}
	got, err := json.MarshalIndent(vectors, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes are not those of testdata: is this a new version?")
	}
	for i, d := range []*Descriptor{plain, full} {
		raw, err := hex.DecodeString(vectors[i].Raw)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(raw)
		if err != nil || !reflect.DeepEqual(parsed, d) {
			t.Errorf("%s: parsed %+v, %v; want %+v", vectors[i].Name, parsed, err, d)
		}
	}
}

func TestSizes(t *testing.T) {
	id := person(t, 1)
	d := rich(t, id)
	for i := range 2 {
		d.Vouches = append(d.Vouches, SignVouch(person(t, 110+i), id.NodeID()))
	}
	if n := len(signed(t, id, d)); n > 900 {
		t.Errorf("a typical descriptor has %d bytes", n)
	}
	d = most(t, id)
	if n := len(signed(t, id, d)); n > MaxDescriptor {
		t.Errorf("the largest descriptor has %d bytes", n)
	}
}

// most returns a descriptor with as much of everything as there may be.
func most(t testing.TB, id *identity.Identity) *Descriptor {
	t.Helper()
	d := simple(1)
	for i := range maxProtocols {
		d.Protocols = append(d.Protocols, Versions{Protocol(i), 1, 2})
	}
	for i := len(d.Suites); i < maxSuites; i++ {
		d.Suites = append(d.Suites, layer.Suite(100+i))
	}
	for i := range policy.MaxRanges {
		r := policy.Range{First: uint16(10 * i), Last: uint16(10*i + 1)}
		d.Exit.TCP, d.Exit.UDP = append(d.Exit.TCP, r), append(d.Exit.UDP, r)
	}
	for i := range MaxFamilies {
		d.Families = append(d.Families, SignFamily(FamilyKey(string(rune('a'+i))), id.NodeID()))
	}
	for i := range MaxVouches {
		d.Vouches = append(d.Vouches, SignVouch(person(t, 100+i), id.NodeID()))
	}
	return d
}

func TestEveryBitIsSigned(t *testing.T) {
	raw := signed(t, person(t, 1), rich(t, person(t, 1)))
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if _, err := Parse(bad); err == nil {
			t.Errorf("octet %d may be changed", i)
		}
	}
	for n := range raw {
		if _, err := Parse(raw[:n]); err == nil {
			t.Errorf("cut to %d octets it is still good", n)
		}
	}
	if _, err := Parse(append(bytes.Clone(raw), 0)); err == nil {
		t.Error("it may be longer")
	}
}

func TestForeignSignatures(t *testing.T) {
	id, other := person(t, 1), person(t, 2)
	for _, tt := range []struct {
		name   string
		change func(d *Descriptor)
		want   error
	}{
		{"a vouch for another node", func(d *Descriptor) { d.Vouches = []Vouch{SignVouch(person(t, 3), other.NodeID())} }, ErrForged},
		{"a vouch in another's name", func(d *Descriptor) {
			v := SignVouch(person(t, 3), id.NodeID())
			v.Voucher = other.NodeID()
			d.Vouches = []Vouch{v}
		}, ErrForged},
		{"a vouch with the signature of a family", func(d *Descriptor) {
			f := SignFamily(FamilyKey("x"), id.NodeID())
			d.Vouches = []Vouch{{Voucher: f.Key, Signature: f.Signature}}
		}, ErrForged},
		{"a family of another node", func(d *Descriptor) { d.Families = []Family{SignFamily(FamilyKey("x"), other.NodeID())} }, ErrForged},
		{"a family in another's name", func(d *Descriptor) {
			f := SignFamily(FamilyKey("x"), id.NodeID())
			f.Key = other.NodeID()
			d.Families = []Family{f}
		}, ErrForged},
		{"a vouch for itself", func(d *Descriptor) { d.Vouches = []Vouch{SignVouch(id, id.NodeID())} }, errFormat},
		{"a vouch twice", func(d *Descriptor) {
			v := SignVouch(other, id.NodeID())
			d.Vouches = []Vouch{v, v}
		}, errFormat},
		{"a family twice", func(d *Descriptor) {
			f := SignFamily(FamilyKey("x"), id.NodeID())
			d.Families = []Family{f, f}
		}, errFormat},
		{"a vouch of nobody", func(d *Descriptor) { d.Vouches = []Vouch{{}} }, errFormat},
		{"nine vouches", func(d *Descriptor) {
			for i := range MaxVouches + 1 {
				d.Vouches = append(d.Vouches, SignVouch(person(t, 10+i), id.NodeID()))
			}
		}, errFormat},
		{"a relay without key", func(d *Descriptor) { d.OnionKey = [32]byte{} }, errFormat},
		{"a relay without suite", func(d *Descriptor) { d.Suites = nil }, errFormat},
		{"a suite twice", func(d *Descriptor) { d.Suites = []layer.Suite{1, 1} }, errFormat},
		{"sequence 0", func(d *Descriptor) { d.Sequence = 0 }, errFormat},
		{"protocols out of order", func(d *Descriptor) { d.Protocols = []Versions{{Circ, 1, 1}, {Link, 1, 1}} }, errFormat},
		{"versions backwards", func(d *Descriptor) { d.Protocols = []Versions{{Circ, 2, 1}} }, errFormat},
	} {
		d := simple(1)
		tt.change(d)
		d.Node = id.NodeID()
		raw := appendDescriptor(nil, d) // as somebody does it who does not check
		raw = append(raw, id.Sign(descriptorContext, raw)...)
		if _, err := Parse(raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if errors.Is(tt.want, errFormat) {
			if _, err := Sign(id, d); err == nil {
				t.Errorf("%s is signed", tt.name)
			}
		}
	}
}

// A later version may add fields at the end: they are skipped, but signed.
func TestLaterFields(t *testing.T) {
	id := person(t, 1)
	d := rich(t, id)
	raw := signed(t, id, d)
	body := append(bytes.Clone(raw[:len(raw)-64]), "something new"...)
	longer := append(body, id.Sign(descriptorContext, body)...)
	parsed, err := Parse(longer)
	if err != nil || !reflect.DeepEqual(parsed, d) {
		t.Errorf("with later fields: %v", err)
	}
	longer[len(body)-1] ^= 1
	if _, err := Parse(longer); !errors.Is(err, ErrForged) {
		t.Errorf("with changed later fields: %v", err)
	}
	if _, err := Parse(append(body, make([]byte, MaxDescriptor)...)); !errors.Is(err, errFormat) {
		t.Errorf("too long: %v", err)
	}
}

// Vouches that were checked once are known again, and only for the same node.
func TestKnownVouchesAreNotCheckedAgain(t *testing.T) {
	id, other := person(t, 1), person(t, 2)
	bad := Vouch{Voucher: person(t, 3).NodeID()}
	d := simple(1)
	d.Vouches = []Vouch{bad}
	raw := signed(t, id, d)
	if _, err := parse(raw, &Descriptor{Node: id.NodeID(), Vouches: []Vouch{bad}}); err != nil {
		t.Errorf("a known vouch was checked: %v", err)
	}
	if _, err := parse(raw, &Descriptor{Node: other.NodeID(), Vouches: []Vouch{bad}}); !errors.Is(err, ErrForged) {
		t.Errorf("another node's vouch: %v", err)
	}
}

func TestSpeaks(t *testing.T) {
	d := &Descriptor{Protocols: []Versions{{Link, 2, 3}}}
	for version, want := range map[uint8]bool{1: false, 2: true, 3: true, 4: false} {
		if d.Speaks(Link, version) != want {
			t.Errorf("version %d: %v", version, !want)
		}
	}
	if d.Speaks(Circ, 1) {
		t.Error("it speaks what it does not name")
	}
}

func FuzzDescriptor(f *testing.F) {
	id := person(f, 1)
	f.Add(signed(f, id, simple(1)))
	f.Add(signed(f, id, rich(f, id)))
	f.Add(signed(f, id, most(f, id)))
	f.Add(append(signed(f, id, rich(f, id)), make([]byte, 64)...))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		Parse(raw)
		d, err := decode(raw)
		if err != nil {
			return
		}
		again := appendDescriptor(nil, d)
		if len(again) > len(raw)-64 || !bytes.Equal(again, raw[:len(again)]) {
			t.Errorf("%x becomes %x", raw, again)
		}
		node, sequence, err := header(raw)
		if err != nil || node != d.Node || sequence != d.Sequence {
			t.Error("the header says something else")
		}
	})
}
