package air

import "testing"

func TestFrequency(t *testing.T) {
	for _, tt := range []struct {
		band    string
		channel int
		want    int
	}{
		{"2g", 1, 2412}, {"2g", 13, 2472}, {"2g", 14, 2484}, {"2g", 15, 0}, {"2g", 0, 0}, {"2g", 36, 0},
		{"5g", 36, 5180}, {"5g", 177, 5885}, {"5g", 1, 0}, {"5g", 200, 0}, {"6g", 5, 5975}, {"60g", 1, 0}, {"", 1, 0},
	} {
		if got := Frequency(tt.band, tt.channel); got != tt.want {
			t.Errorf("channel %d of %s: %d MHz, want %d", tt.channel, tt.band, got, tt.want)
		}
	}
}

func TestCellBSSID(t *testing.T) {
	if len(CellBSSID) != 6 || CellBSSID[0]&3 != 2 {
		t.Errorf("%v is not a local address of one station", CellBSSID)
	}
}
