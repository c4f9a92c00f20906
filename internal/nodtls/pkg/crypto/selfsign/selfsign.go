// Package selfsign is empty: tests of pion/ice import it, and go mod tidy looks at those.
package selfsign
