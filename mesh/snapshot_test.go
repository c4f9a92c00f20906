package mesh

import "testing"

func TestLossOf(t *testing.T) {
	for reach, want := range map[uint16]int{0: -1, 0x8000: 0, 0xffff: 0, 0xc000: 0, 0xa000: 33, 0x0001: 93, 0x4000: 50, 0xf0f1: 43} {
		if got := lossOf(reach); got != want {
			t.Errorf("history %016b: %d%%, want %d%%", reach, got, want)
		}
	}
}
