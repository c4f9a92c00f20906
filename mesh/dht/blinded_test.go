package dht_test

import (
	"crypto/ed25519"
	"net/netip"
	"testing"

	"globalnet/internal/blind"
	"globalnet/mesh/dht"
)

type netipAddr = netip.Addr

func blinded(k dht.KeySigner, period uint64) *blind.PrivateKey {
	return blind.NewPrivateKey(ed25519.PrivateKey(k), blind.PeriodFactor(k.Public(), nil, period, 1440))
}

func blindedPublic(t *testing.T, public ed25519.PublicKey, period uint64) ed25519.PublicKey {
	t.Helper()
	k, err := blind.PublicKey(public, blind.PeriodFactor(public, nil, period, 1440))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
