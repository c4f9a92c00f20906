// Package require stands in for github.com/stretchr/testify/require, which a file of
// pion/ice imports that should have been a test. Without the real package, and the YAML
// and HTTP test servers behind it, the binary is smaller: docs/decisions/0006-no-dtls.md.
package require

// TestingT is a test.
type TestingT interface {
	Errorf(format string, args ...any)
	FailNow()
}

// NoError ends the test if err is not nil.
func NoError(t TestingT, err error, _ ...any) {
	if err != nil {
		t.Errorf("unexpected error: %v", err)
		t.FailNow()
	}
}
