package rtnl

import "testing"

// What the kernel says is believed, but not that it is well formed.
func FuzzParse(f *testing.F) {
	f.Add([]byte("0123456789abcdef\x08\x00\x08\x00\x01\x02\x03\x04"))
	f.Add([]byte("\x0a\x40\x00\x00\x00\x00\x00\x01\x00\x14\x00\x010123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err != nil && l != (Link{}) {
			t.Error("half a link beside an error")
		}
		if a, err := parseAddress(b); err != nil && a != (Address{}) {
			t.Error("half an address beside an error")
		}
		if r, err := parseRoute(b); err != nil && r != (Route{}) {
			t.Error("half a route beside an error")
		}
		if r, err := parseRule(b); err != nil && r != (Rule{}) {
			t.Error("half a rule beside an error")
		}
	})
}
