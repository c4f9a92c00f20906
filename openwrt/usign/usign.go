// Package usign signs files as OpenWrt's usign and BSD's signify do, and as
// minisign does: Ed25519 over the file, in text of two or four lines.
//
// One public key serves all three programs. It owns no state. The router's binary
// verifies, and never signs.
package usign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// Key is a secret key without a password.
type Key struct {
	id      [8]byte // called fingerprint, though it is random
	private ed25519.PrivateKey
}

// A secret key is "Ed", "BK", 4 bytes of rounds, 16 of salt, 8 of checksum, the id and
// the 64 bytes of the key; rounds of 0 mean that there is no password.
const (
	secretSize = 2 + 2 + 4 + 16 + 8 + 8 + 64
	publicSize = 2 + 8 + 32
	sigSize    = 2 + 8 + 64
)

const comment = "untrusted comment: "

// NewKey makes a key.
func NewKey() (*Key, error) {
	k := new(Key)
	if _, err := rand.Read(k.id[:]); err != nil {
		return nil, err
	}
	var err error
	_, k.private, err = ed25519.GenerateKey(rand.Reader)
	return k, err
}

// ParseKey reads a secret key as `usign -G` writes it.
func ParseKey(text []byte) (*Key, error) {
	raw, err := decode(text, secretSize)
	if err != nil {
		return nil, fmt.Errorf("reading secret key: %w", err)
	}
	if string(raw[:4]) != "EdBK" {
		return nil, errors.New("reading secret key: not of Ed25519")
	}
	if !bytes.Equal(raw[4:8], make([]byte, 4)) {
		return nil, errors.New("reading secret key: it has a password; usign takes none either")
	}
	k := &Key{private: ed25519.PrivateKey(bytes.Clone(raw[40:]))}
	copy(k.id[:], raw[32:])
	if sum := sha512.Sum512(k.private); !bytes.Equal(sum[:8], raw[24:32]) {
		return nil, errors.New("reading secret key: wrong checksum")
	}
	if !bytes.Equal(ed25519.NewKeyFromSeed(k.private.Seed()), k.private) {
		return nil, errors.New("reading secret key: its halves do not belong together")
	}
	return k, nil
}

// decode reads the second line: the first is for people.
func decode(text []byte, size int) ([]byte, error) {
	first, rest, _ := strings.Cut(string(text), "\n")
	if !strings.HasPrefix(first, comment) {
		return nil, errors.New("no comment in the first line")
	}
	line, _, _ := strings.Cut(rest, "\n")
	raw, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, err
	}
	if len(raw) != size {
		return nil, fmt.Errorf("%d bytes, want %d", len(raw), size)
	}
	return raw, nil
}

func encode(about string, parts ...[]byte) []byte {
	raw := bytes.Join(parts, nil)
	return fmt.Appendf(nil, "%s%s\n%s\n", comment, about, base64.StdEncoding.EncodeToString(raw))
}

// Secret returns the key as a file.
func (k *Key) Secret() []byte {
	sum := sha512.Sum512(k.private)
	return encode("private key "+k.ID(), []byte("EdBK"), make([]byte, 4+16), sum[:8], k.id[:], k.private)
}

// Public returns the public key as a file; opkg keeps it in /etc/opkg/keys, under
// the name ID.
func (k *Key) Public() []byte {
	return encode("public key "+k.ID(), []byte("Ed"), k.id[:], k.private.Public().(ed25519.PublicKey))
}

// ID is the name of the key.
func (k *Key) ID() string { return fmt.Sprintf("%x", k.id) }

func (k *Key) raw(message []byte) []byte {
	return append(append([]byte("Ed"), k.id[:]...), ed25519.Sign(k.private, message)...)
}

// Sign returns the signature of message as usign and signify read it.
func (k *Key) Sign(message []byte) []byte {
	return encode("signed by key "+k.ID(), k.raw(message))
}

// SignMinisign returns the signature as minisign reads it; the note is signed too
// and shown at verification. The file is signed as it is, not its digest.
func (k *Key) SignMinisign(message []byte, note string) ([]byte, error) {
	if strings.ContainsAny(note, "\n\r") {
		return nil, errors.New("signing: a note of two lines")
	}
	raw := k.raw(message)
	trusted := ed25519.Sign(k.private, append(bytes.Clone(raw[10:]), note...))
	return fmt.Appendf(encode("signed by key "+k.ID(), raw), "trusted comment: %s\n%s\n", note, base64.StdEncoding.EncodeToString(trusted)), nil
}

// Verify checks a signature of either kind against a public key.
func Verify(public, message, signature []byte) error {
	key, err := decode(public, publicSize)
	if err != nil {
		return fmt.Errorf("reading public key: %w", err)
	}
	sig, err := decode(signature, sigSize)
	if err != nil {
		return fmt.Errorf("reading signature: %w", err)
	}
	if string(key[:2]) != "Ed" || string(sig[:2]) != "Ed" && string(sig[:2]) != "ED" {
		return errors.New("verifying: not of Ed25519")
	}
	if sig[1] == 'D' { // minisign signs the digest unless it is told to
		sum := blake2b.Sum512(message)
		message = sum[:]
	}
	if !bytes.Equal(key[2:10], sig[2:10]) {
		return fmt.Errorf("verifying: signed by key %x, not by %x", sig[2:10], key[2:10])
	}
	if !ed25519.Verify(key[10:], message, sig[10:]) {
		return errors.New("verifying: wrong signature")
	}
	return nil
}
