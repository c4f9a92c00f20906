package chacha

import (
	"bytes"
	"testing"

	"globalnet/internal/wycheproof"
)

// The vectors of Wycheproof, for what this machine uses and for what is used on CPUs
// of 32 bits.
func TestWycheproof(t *testing.T) {
	type vector struct{ Key, IV, AAD, Msg, CT, Tag wycheproof.Hex }
	for _, c := range wycheproof.Load[struct{}, vector](t, "chacha20_poly1305_test.json", 300) {
		v := c.Vector
		sealed := append(bytes.Clone(v.CT), v.Tag...)
		for name, a := range both(t, v.Key) {
			if len(v.IV) != NonceSize {
				if c.Result != "invalid" || !panics(func() { a.Seal(nil, v.IV, v.Msg, v.AAD) }) {
					t.Errorf("%s: vector %d: a nonce of %d octets is taken", name, c.ID, len(v.IV))
				}
				continue
			}
			opened, err := a.Open(nil, v.IV, sealed, v.AAD)
			if (err == nil) != (c.Result == "valid") || err == nil && !bytes.Equal(opened, v.Msg) {
				t.Errorf("%s: vector %d (%s) should be %s: %x, %v", name, c.ID, c.Comment, c.Result, opened, err)
			}
			if got := a.Seal(nil, v.IV, v.Msg, v.AAD); bytes.Equal(got, sealed) != (c.Result == "valid") {
				t.Errorf("%s: vector %d (%s): sealed as %x", name, c.ID, c.Comment, got)
			}
		}
	}
}
