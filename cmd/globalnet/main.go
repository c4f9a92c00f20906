// Command globalnet is the daemon and the operator's tool in one binary.
// `globalnet help` lists its commands; docs/protocols/control.md tells how the
// tool talks to the daemon. It owns no state: it wires the agent to the system.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
