//go:build !unix

package uci

import "os"

// mark does nothing on workstations without such locks: nobody looks for leftovers there.
func mark(*os.File) {}
