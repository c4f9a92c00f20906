package dht

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	sealContext  = "globalnet dht value"
	sealOverhead = chacha20poly1305.NonceSize + chacha20poly1305.Overhead
)

// Seal encrypts a value so that only those can read it who know the public key
// from which the record's blinded key was made: a holder, who sees the blinded key
// alone, cannot. The first octet of the result is the version of the value's
// format. The nonce is a keyed hash of the value, so two values of one sequence
// number, signed by two routers of one owner, do no harm.
func Seal(version byte, public ed25519.PublicKey, key Key, value []byte) []byte {
	secret := sealKey(public, key)
	mac := hmac.New(sha256.New, secret)
	mac.Write(value)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSize]
	sealed := append([]byte{version}, nonce...)
	return sealCipher(secret).Seal(sealed, nonce, value, []byte{version})
}

// Open decrypts what Seal encrypted.
func Open(public ed25519.PublicKey, key Key, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+sealOverhead {
		return nil, errors.New("opening a record's value: truncated")
	}
	nonce, body := sealed[1:1+chacha20poly1305.NonceSize], sealed[1+chacha20poly1305.NonceSize:]
	value, err := sealCipher(sealKey(public, key)).Open(nil, nonce, body, sealed[:1])
	if err != nil {
		return nil, fmt.Errorf("opening a record's value: %w", err)
	}
	return value, nil
}

func sealKey(public ed25519.PublicKey, key Key) []byte {
	h := sha256.New()
	h.Write([]byte{byte(len(sealContext))})
	h.Write([]byte(sealContext))
	h.Write(public)
	h.Write(key[:])
	return h.Sum(nil)
}

type aead interface {
	Seal(dst, nonce, plaintext, data []byte) []byte
	Open(dst, nonce, ciphertext, data []byte) ([]byte, error)
}

func sealCipher(secret []byte) aead {
	c, err := chacha20poly1305.New(secret)
	if err != nil {
		panic(err) // only of a wrong length
	}
	return c
}
