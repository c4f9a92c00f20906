package blind

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The vectors of Wycheproof for the check that records go through. They are not part
// of the project: WYCHEPROOF names the directory testvectors_v1 of a copy.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("WYCHEPROOF")
	if dir == "" {
		t.Skip("WYCHEPROOF is not set")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "ed25519_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID                      int
				Comment, Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, g := range file.TestGroups {
		public := unhex(t, g.PublicKey.Pk)
		for _, c := range g.Tests {
			count++
			message, _ := hex.DecodeString(c.Msg)
			sig, _ := hex.DecodeString(c.Sig)
			if ok := Check(public) == nil && ed25519.Verify(public, message, sig); ok != (c.Result == "valid") {
				t.Errorf("vector %d (%s) should be %s", c.TcID, c.Comment, c.Result)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d vectors", count)
	}
}
