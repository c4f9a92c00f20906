// Command seal seals 1344 bytes as often as its second argument says, with our
// ChaCha20-Poly1305 ("ours") or that of golang.org/x/crypto ("theirs"), for
// lab/mipscount to count what that takes.
package main

import (
	"crypto/cipher"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/crypto/chacha20poly1305"

	"globalnet/internal/chacha"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: seal ours|theirs N")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	var a cipher.AEAD
	if args[0] == "ours" {
		a, err = chacha.New(key)
	} else {
		a, err = chacha20poly1305.New(key)
	}
	if err != nil {
		return err
	}
	nonce, cell := make([]byte, 12), make([]byte, 1344, 1360)
	for range n {
		a.Seal(cell[:0], nonce, cell, nil)
	}
	return nil
}
