package cell

import (
	"bytes"
	"testing"
)

// The target of the hash table has one form.
func TestTableTarget(t *testing.T) {
	form := []byte{2, 0, 0, 0}
	if got := AppendTarget(nil, Target{Network: Table, Name: "ignored", Port: 5}); !bytes.Equal(got, form) {
		t.Errorf("% x", got)
	}
	if got, err := ParseTarget(form); err != nil || got != (Target{Network: Table}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{
		{2, 0, 1, 0},             // a port
		{2, 0, 0, 4, 1, 2, 3, 4}, // an address
		{2, 0, 0, 0, 0},          // bytes behind
		{2, 0, 0, 1, 1, 'x'},     // a name
		{0, 0, 0, 0},             // TCP to the last hop itself
		{3, 0, 0, 0},
	} {
		if got, err := ParseTarget(bad); err == nil {
			t.Errorf("% x: %+v", bad, got)
		}
	}
}
