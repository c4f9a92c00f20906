package desc

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

var update = flag.Bool("update", false, "write testdata anew")

var place = key.Place{Period: 20000, Slot: 1, Replica: 1}

func service(t testing.TB) *identity.Identity {
	t.Helper()
	i, err := identity.FromSeed(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func client(t testing.TB, n byte) *key.ClientKey {
	t.Helper()
	k, err := key.ClientKeyFrom(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func descriptor(points int) *Descriptor {
	d := &Descriptor{Revision: 77, Instance: [8]byte{1, 7: 8}, Slots: 2, SingleHop: true,
		Work: pow.Params{Effort: 8192, Seed: pow.Seed{3, 31: 4}, Expires: 1_800_000_000}}
	for n := range byte(points) {
		d.Points = append(d.Points, IntroPoint{Node: identity.NodeID{n, 1}, OnionKey: ntor.PublicKey{n, 2},
			Suites: []layer.Suite{layer.AES, layer.ChaCha}[n%2:], Auth: identity.NodeID{n, 3}, Enc: ntor.PublicKey{n, 4}})
	}
	return d
}

func clients(t testing.TB, n int) (list []key.ClientPublic) {
	for i := range n {
		list = append(list, client(t, byte(i+1)).Public())
	}
	return list
}

func mustSeal(t testing.TB, d *Descriptor, a Access) []byte {
	t.Helper()
	value, err := Seal(service(t), place, d, a)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOpen(t *testing.T) {
	id := service(t).NodeID()
	cookie := NewCookie()
	for _, tt := range []struct {
		name            string
		points, clients int
		restricted      bool
		size            int
	}{
		{"as most are", DefaultPoints, 0, false, 1024},
		{"one point", 1, 0, false, 1024},
		{"all points", MaxPoints, 0, false, 2048},
		{"clients that come first", 3, 5, false, 1024},
		{"restricted", 3, 16, true, 1024},
		{"two steps of clients", 3, 17, true, 2048},
		{"as large as can be", MaxPoints, MaxClients, true, 4096},
	} {
		d := descriptor(tt.points)
		value := mustSeal(t, d, Access{tt.restricted, clients(t, tt.clients), cookie})
		if len(value) != tt.size || value[0] != 1 {
			t.Errorf("%s: %d bytes", tt.name, len(value))
		}
		for n := range tt.clients {
			o, err := Open(value, id, place, client(t, byte(n+1)), 77)
			if err != nil || !reflect.DeepEqual(&o.Descriptor, d) || o.Cookie != cookie {
				t.Fatalf("%s: client %d: %v", tt.name, n, err)
			}
		}
		for who, k := range map[string]*key.ClientKey{"a stranger": nil, "another client": client(t, 200)} {
			o, err := Open(value, id, place, k, 0)
			switch {
			case !tt.restricted && (err != nil || !reflect.DeepEqual(&o.Descriptor, d) || o.Cookie != Cookie{}):
				t.Errorf("%s: %s: %v", tt.name, who, err)
			case tt.restricted && k == nil && !errors.Is(err, ErrNeedsAuthorisation),
				tt.restricted && k != nil && !errors.Is(err, ErrNotAuthorised), tt.restricted && o != nil:
				t.Errorf("%s: %s is told %v", tt.name, who, err)
			}
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := service(t)
	id := s.NodeID()
	value := mustSeal(t, descriptor(3), Access{})
	impostor, err := identity.FromSeed(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	// Who knows the address can make both layers, but not sign.
	forged := bytes.Clone(value)
	copy(forged[len(forged)-signature:], ed25519.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), signedForm(value[:len(value)-signature])))
	other, err := Seal(impostor, place, descriptor(3), Access{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(p key.Place) []byte {
		v, err := Seal(s, p, descriptor(3), Access{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, bad := range map[string][]byte{
		"forged": forged, "of another service": other, "empty": nil,
		"of the next period": at(key.Place{Period: 20001, Slot: 1, Replica: 1}),
		"of another slot":    at(key.Place{Period: 20000, Slot: 0, Replica: 1}),
		"of another replica": at(key.Place{Period: 20000, Slot: 1, Replica: 0}),
		"longer":             append(bytes.Clone(value), 0),
		"of version 2":       append([]byte{2}, value[1:]...),
	} {
		if o, err := Open(bad, id, place, nil, 0); !errors.Is(err, ErrForged) || o != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := 0; cut < len(value); cut += 13 {
		if _, err := Open(value[:cut], id, place, nil, 0); !errors.Is(err, ErrForged) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for i := 0; i < len(value); i += 7 {
		bad := bytes.Clone(value)
		bad[i] ^= 1
		if _, err := Open(bad, id, place, nil, 0); !errors.Is(err, ErrForged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := Open(value, id, place, nil, 78); !errors.Is(err, ErrOld) {
		t.Errorf("older than known: %v", err)
	}
	if _, err := Open(value, identity.NodeID{}, place, nil, 0); err == nil {
		t.Error("opened for a key of small order")
	}
}

func TestWhatIsNotSealed(t *testing.T) {
	many := descriptor(3)
	many.Slots = 9
	suites := descriptor(3)
	suites.Points[1].Suites = nil
	twice := descriptor(3)
	twice.Points[0].Suites = []layer.Suite{1, 1}
	for name, tt := range map[string]struct {
		d *Descriptor
		a Access
	}{
		"no points": {descriptor(0), Access{}}, "eleven points": {descriptor(11), Access{}}, "nine slots": {many, Access{}},
		"no suites": {suites, Access{}}, "a suite twice": {twice, Access{}},
		"restricted without a cookie": {descriptor(3), Access{Restricted: true}},
		"clients without a cookie":    {descriptor(3), Access{Clients: clients(t, 1)}},
		"too many clients":            {descriptor(3), Access{Clients: clients(t, 97), Cookie: Cookie{1}}},
		"a client of small order":     {descriptor(3), Access{Clients: make([]key.ClientPublic, 1), Cookie: Cookie{1}}},
	} {
		if v, err := Seal(service(t), place, tt.d, tt.a); err == nil {
			t.Errorf("%s: sealed in %d bytes", name, len(v))
		}
	}
}

// A client that is shut out cannot read what comes after, its old cookie is of no use.
func TestShutOut(t *testing.T) {
	id := service(t).NodeID()
	both := Access{true, clients(t, 2), Cookie{1}}
	old, err := Open(mustSeal(t, descriptor(3), both), id, place, client(t, 2), 0)
	if err != nil {
		t.Fatal(err)
	}
	later := Access{true, both.Clients[:1], Cookie{2}}
	value := mustSeal(t, descriptor(3), later)
	if _, err := Open(value, id, place, client(t, 2), 0); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("%v", err)
	}
	if o, err := Open(value, id, place, client(t, 1), 0); err != nil || o.Cookie == old.Cookie {
		t.Errorf("%v", err)
	}
}

// Two descriptors of the same content share nothing that a holder could compare.
func TestNothingRepeats(t *testing.T) {
	a, b := mustSeal(t, descriptor(3), Access{}), mustSeal(t, descriptor(3), Access{})
	for i := 1; i+8 <= len(a); i++ {
		if bytes.Contains(b, a[i:i+8]) {
			t.Fatalf("bytes %d to %d are in both", i, i+8)
		}
	}
}

func TestMerge(t *testing.T) {
	opened := func(instance byte, revision uint64, first byte, points int) *Opened {
		o := &Opened{Descriptor: *descriptor(points)}
		o.Instance, o.Revision = [8]byte{instance}, revision
		for i := range o.Points {
			o.Points[i].Auth = identity.NodeID{first, byte(i)}
		}
		return o
	}
	a, old, b := opened(1, 5, 10, 3), opened(1, 4, 11, 3), opened(2, 1, 20, 2)
	orders := map[string]bool{}
	for seed := range uint64(20) {
		points := Merge([]*Opened{old, a, b}, rand.New(rand.NewPCG(seed, 1)))
		count := map[byte]int{}
		for _, p := range points {
			count[p.Auth[0]]++
		}
		if len(points) != 5 || count[10] != 3 || count[20] != 2 || points[0].Auth[0] == points[1].Auth[0] {
			t.Fatalf("%v", points)
		}
		orders[fmt.Sprint(points)] = true
	}
	if len(orders) < 5 {
		t.Errorf("%d orders in 20", len(orders))
	}
	found := map[uint8]*Opened{0: a, 2: b}
	for instance, want := range map[byte]uint8{1: 0, 2: 2, 3: 1} {
		if s, ok := ChooseSlot([8]byte{instance}, found); s != want || !ok {
			t.Errorf("machine %d takes slot %d", instance, s)
		}
	}
	if n := SlotsInUse(1, found); n != 3 {
		t.Errorf("%d slots", n)
	}
	full := map[uint8]*Opened{}
	for s := range uint8(key.MaxSlots) {
		full[s] = opened(s+1, 1, s, 1)
	}
	if s, ok := ChooseSlot([8]byte{99}, full); ok {
		t.Errorf("slot %d of a full service", s)
	}
	if got := fmt.Sprint(Slots(0, a), Slots(1, b), len(Slots(0, nil))); got != "[1] [0] 7" {
		t.Error(got)
	}
}

// vector is a descriptor with everything that went into it.
type vector struct {
	Service    string `json:"service_seed"`
	Place      key.Place
	Blinded    string `json:"blinded"`
	Credential string `json:"credential"`
	Salt       string `json:"salt"`
	Ephemeral  string `json:"ephemeral"`
	Inner      string `json:"inner"`
	Restricted bool   `json:"restricted"`
	Client     string `json:"client"`
	Cookie     string `json:"cookie"`
	OuterKey   string `json:"outer_key"`
	InnerKey   string `json:"inner_key"`
	EntryID    string `json:"entry_id"`
	EntryPad   string `json:"entry_pad"`
	Value      string `json:"value"`
}

func makeVector(t *testing.T, restricted bool) vector {
	salt := bytes.Repeat([]byte{5}, saltSize)
	e, c := client(t, 6), client(t, 9)
	a := Access{restricted, []key.ClientPublic{c.Public()}, Cookie{8, 15: 1}}
	d := descriptor(3)
	value, err := seal(service(t), place, d, a, e, salt)
	if err != nil {
		t.Fatal(err)
	}
	id := service(t).NodeID()
	blinded, err := key.Blinded(id, place)
	if err != nil {
		t.Fatal(err)
	}
	s := newSecrets(id, place, blinded, salt)
	public := c.Public()
	shared, err := e.Shared(public[:])
	if err != nil {
		t.Fatal(err)
	}
	entry, pad := s.client(shared)
	inner := s.inner(Cookie{})
	if restricted {
		inner = s.inner(a.Cookie)
	}
	credential := key.CredentialFor(id, place.Period)
	h := hex.EncodeToString
	return vector{h(bytes.Repeat([]byte{7}, 32)), place, h(blinded), h(credential[:]), h(salt), h(bytes.Repeat([]byte{6}, 32)),
		h(d.appendInner(nil)), restricted, h(bytes.Repeat([]byte{9}, 32)), h(a.Cookie[:]), h(s.outer()), h(inner), h(entry), h(pad), h(value)}
}

// The decoys of a value are random, so values are read, not compared.
func TestVectors(t *testing.T) {
	const name = "testdata/descriptors.json"
	if *update {
		text, err := json.MarshalIndent([]vector{makeVector(t, false), makeVector(t, true)}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for i, v := range all {
		got := makeVector(t, v.Restricted)
		value, err := hex.DecodeString(v.Value)
		if err != nil {
			t.Fatal(err)
		}
		got.Value = v.Value
		if got != v {
			t.Errorf("vector %d: %+v", i, got)
		}
		o, err := Open(value, service(t).NodeID(), place, client(t, 9), 0)
		if err != nil || hex.EncodeToString(o.appendInner(nil)) != v.Inner || hex.EncodeToString(o.Cookie[:]) != v.Cookie {
			t.Errorf("vector %d: %v", i, err)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d vectors", len(all))
	}
}

func FuzzInner(f *testing.F) {
	f.Add(descriptor(1).appendInner(nil))
	f.Add(append(descriptor(10).appendInner(nil), 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseInner(b)
		if err != nil {
			return
		}
		if form := d.appendInner(nil); !bytes.Equal(form, b[:len(form)]) {
			t.Fatalf("%x written as %x", b, form)
		}
	})
}

// FuzzOpen signs what it is given, as the service itself could: nothing that is inside
// may make a client panic.
func FuzzOpen(f *testing.F) {
	value := mustSeal(f, descriptor(3), Access{})
	f.Add(value[1+saltSize:len(value)-signature], false)
	f.Add(bytes.Repeat([]byte{1}, 600), true)
	f.Add(append(append(make([]byte, 32), 255), make([]byte, 3000)...), true)
	signer := key.Signer(service(f), place)
	c := client(f, 9)
	f.Fuzz(func(t *testing.T, b []byte, wrap bool) {
		salt := make([]byte, saltSize)
		v := append([]byte{version}, salt...)
		if wrap {
			v = sealWith(v, newSecrets(service(t).NodeID(), place, signer.Public(), salt).outer(), b)
		} else {
			v = append(v, b...)
		}
		v = append(v, signer.Sign(signedForm(v))...)
		o, err := Open(v, service(t).NodeID(), place, c, 0)
		if (err == nil) != (o != nil) {
			t.Fatalf("%v, %v", o, err)
		}
	})
}
