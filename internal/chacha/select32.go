//go:build 386 || arm || mips || mipsle

package chacha

import "crypto/cipher"

func newAEAD(key []byte) (cipher.AEAD, error) { return newFast(key), nil }

type stream = fastStream

func newStream(key []byte) (stream, error) { return fastStream{loadKey(key)}, nil }
