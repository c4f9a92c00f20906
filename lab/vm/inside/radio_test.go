package inside

import (
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
