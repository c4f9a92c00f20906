package vm

import (
	"slices"
	"testing"
)

// TestMissingOptions: what the kernel's configuration dropped or turned off is told.
func TestMissingOptions(t *testing.T) {
	want := "# why\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=y\nCONFIG_AB=y\n"
	config := "#\n# CONFIG_C is not set\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_ABC=y\n"
	if got := missingOptions([]byte(want), []byte(config)); !slices.Equal(got, []string{"CONFIG_B=m", "CONFIG_C=y", "CONFIG_AB=y"}) {
		t.Errorf("%q", got)
	}
}
