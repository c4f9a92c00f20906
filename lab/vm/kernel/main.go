// Command kernel builds the kernel of a virtual machine for whose architecture Debian
// has none, into the user's cache, and says what it does. The Makefile runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"globalnet/lab/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kernel ARCHITECTURE")
		os.Exit(2)
	}
	k, err := vm.BuildKernel(ctx, os.Args[1], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		os.Exit(1)
	}
	fmt.Println(k.Image)
}
