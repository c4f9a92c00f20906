package inside

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/kernel"
)

// TestJoinAgain puts radios on the air in one mode and the other, again and again,
// also one that is there already, and takes them off. Each time their namespaces
// end, the machine gets all of them back.
func TestJoinAgain(t *testing.T) {
	require(t)
	for round := range 3 {
		begin := time.Now()
		radios, err := OpenRadios(5)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Logf("round %d: radios after %v", round, time.Since(begin))
		for _, mode := range []kernel.RadioMode{kernel.RadioMesh, kernel.RadioMesh, kernel.RadioAdHoc, kernel.RadioMesh} {
			for _, r := range radios[:3] {
				if err := r.Join(mode); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			}
		}
		for _, r := range radios[:2] {
			if !until(15*time.Second, func() bool { _, ok := r.LinkLocal(); return ok }) {
				t.Errorf("round %d: %s has no address", round, r.Ifname)
			}
		}
		err = radios[0].Do(func() error { return kernel.LeaveRadio(t.Context(), radios[0].Ifname) })
		if err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		CloseRadios(radios)
	}
}

// A radio hears all others, whatever an earlier test has done with it.
func TestRadiosHearAgain(t *testing.T) {
	require(t)
	for range 2 {
		radios, err := OpenRadios(2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range radios {
			if b, err := os.ReadFile(r.groups()); strings.TrimSpace(string(b)) != "1" {
				t.Errorf("%s is in groups %q, %v", r.phy, b, err)
			}
			if err := r.SetGroups(1 << 5); err != nil {
				t.Error(err)
			}
		}
		CloseRadios(radios)
		if !until(3*time.Minute, func() bool { phys, _ := filepath.Glob("/sys/class/ieee80211/phy*"); return len(phys) == 5 }) {
			t.Fatal("the radios do not come back") // the second round is to have the same ones
		}
	}
}
