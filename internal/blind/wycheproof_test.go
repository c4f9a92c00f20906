package blind

import (
	"crypto/ed25519"
	"testing"

	"globalnet/internal/wycheproof"
)

// The vectors of Wycheproof for the check that records go through.
func TestWycheproof(t *testing.T) {
	type group struct{ PublicKey struct{ Pk wycheproof.Hex } }
	type vector struct{ Msg, Sig wycheproof.Hex }
	for _, c := range wycheproof.Load[group, vector](t, "ed25519_test.json", 100) {
		public := ed25519.PublicKey(c.Group.PublicKey.Pk)
		if ok := Check(public) == nil && ed25519.Verify(public, c.Vector.Msg, c.Vector.Sig); ok != (c.Result == "valid") {
			t.Errorf("vector %d (%s) should be %s", c.ID, c.Comment, c.Result)
		}
	}
}
