package netdir

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/policy"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// person returns the identity number n, always the same.
func person(t testing.TB, n int) *identity.Identity {
	t.Helper()
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(n))
	seed := sha256.Sum256(number[:])
	id, err := identity.FromSeed(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// simple returns a small relay's descriptor.
func simple(sequence uint64) *Descriptor {
	return &Descriptor{Sequence: sequence, Flags: FlagRelay, OnionKey: [32]byte{1}, Suites: []layer.Suite{layer.ChaCha}}
}

func signed(t testing.TB, id *identity.Identity, d *Descriptor) []byte {
	t.Helper()
	raw, err := Sign(id, d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// rich returns a descriptor with something in each field.
func rich(t testing.TB, id *identity.Identity) *Descriptor {
	t.Helper()
	return &Descriptor{
		Sequence: 7, Flags: FlagRelay | FlagService, OnionKey: [32]byte{9, 8, 7},
		Protocols: CurrentProtocols(), Suites: []layer.Suite{layer.AES, layer.ChaCha},
		Exit: policy.Summary{IPv4: true, TCP: policy.Ports{{First: 80, Last: 80}, {First: 443, Last: 443}},
			UDP: policy.Ports{{First: 443, Last: 443}}},
		Families: []Family{SignFamily(FamilyKey("cheese"), id.NodeID())},
		Vouches:  []Vouch{SignVouch(person(t, 101), id.NodeID()), SignVouch(person(t, 102), id.NodeID())},
	}
}

func directory(t testing.TB, self, max int) *Directory {
	t.Helper()
	return New(Config{Self: person(t, self).NodeID(), Max: max, Rand: rand.New(rand.NewPCG(1, uint64(self)))})
}

func mustAdd(t testing.TB, d *Directory, now time.Time, raw []byte, age time.Duration, want bool) {
	t.Helper()
	added, err := d.Add(now, raw, age)
	if err != nil {
		t.Fatal(err)
	}
	if added != want {
		t.Fatalf("added is %v, want %v", added, want)
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never happens that %s", what)
		}
	}
}
