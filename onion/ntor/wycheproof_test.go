package ntor

import (
	"bytes"
	"crypto/ecdh"
	"testing"

	"globalnet/internal/wycheproof"
)

// The vectors of Wycheproof for the exchange that the handshake makes with an onion
// key; public keys that force the secret to zero are refused.
func TestWycheproof(t *testing.T) {
	type vector struct{ Public, Private, Shared wycheproof.Hex }
	for _, c := range wycheproof.Load[struct{}, vector](t, "x25519_test.json", 500) {
		key, err := NewPrivateKey(c.Vector.Private)
		if err != nil {
			t.Fatal(err)
		}
		public, err := ecdh.X25519().NewPublicKey(c.Vector.Public)
		if err != nil {
			t.Fatal(err)
		}
		shared, err := key.key().ECDH(public)
		if c.Has("ZeroSharedSecret") {
			if err == nil {
				t.Errorf("vector %d (%s): a secret of zero is taken", c.ID, c.Comment)
			}
			continue
		}
		if err != nil || !bytes.Equal(shared, c.Vector.Shared) {
			t.Errorf("vector %d (%s): %x, %v", c.ID, c.Comment, shared, err)
		}
	}
}
