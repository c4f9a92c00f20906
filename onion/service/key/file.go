package key

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"

	"globalnet/internal/identity"
)

// serviceFile is the file of a service's key. It is no identity file: a service at
// the node's own key would tell everybody where it is.
var serviceFile = identity.KeyFile{Header: "globalnet-service-1", SumLabel: "globalnet service file", Noun: "service key"}

// Create makes a service's key and writes it to path, mode 0600; what is there
// already is left as it is, and the error is os.ErrExist.
func Create(path string) (*identity.Identity, error) {
	i, err := identity.Generate()
	if err != nil {
		return nil, err
	}
	if err := Store(path, i); err != nil {
		return nil, err
	}
	return i, nil
}

// Store writes a key that was imported to path, as Create does.
func Store(path string, i *identity.Identity) error { return serviceFile.Create(path, i.Seed()) }

// Load reads the key at path.
func Load(path string) (*identity.Identity, error) {
	seed, err := serviceFile.Load(path)
	if err != nil {
		return nil, err
	}
	return identity.FromSeed(seed)
}

// LoadOrCreate reads the key at path and makes one if there is none.
func LoadOrCreate(path string) (*identity.Identity, error) {
	i, err := Load(path)
	if !errors.Is(err, os.ErrNotExist) {
		return i, err
	}
	if i, err = Create(path); errors.Is(err, os.ErrExist) { // another process was first
		return Load(path)
	}
	return i, err
}

// The form of an exported key: version ‖ logN ‖ r ‖ p ‖ salt ‖ sealed seed, in a PEM
// block. Scrypt, because its arithmetic is of 32 bits: on a router's CPU Argon2
// takes several times as long for the same memory.
const (
	exportType    = "GLOBALNET SERVICE KEY"
	exportVersion = 1
	exportLogN    = 14 // with r = 8: 16 MiB
	exportR       = 8
	exportP       = 4
	maxExportP    = 16
	exportSalt    = 16
	exportHead    = 4 + exportSalt
	maxExport     = 4096
	exportLabel   = "globalnet service export"
)

// ErrPassphrase means that a key was exported with another passphrase, or damaged since.
var ErrPassphrase = errors.New("wrong passphrase, or the exported key is damaged")

// Export returns the key as text that the passphrase opens. It takes 16 MiB for a
// moment, and seconds on a router.
func Export(i *identity.Identity, passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, errors.New("exporting a service key: no passphrase")
	}
	head := []byte{exportVersion, exportLogN, exportR, exportP}
	head = append(head, make([]byte, exportSalt)...)
	rand.Read(head[4:])
	return export(i, passphrase, head)
}

func export(i *identity.Identity, passphrase string, head []byte) ([]byte, error) {
	aead, err := exportKey(head, passphrase)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, chacha20poly1305.NonceSize) // the salt makes the key one of its kind
	form := aead.Seal(bytes.Clone(head), nonce, i.Seed(), append([]byte(exportLabel), head...))
	return pem.EncodeToMemory(&pem.Block{Type: exportType, Bytes: form}), nil
}

// Import reads what Export wrote.
func Import(text []byte, passphrase string) (*identity.Identity, error) {
	if len(text) > maxExport {
		return nil, errors.New("importing a service key: the text is too long")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != exportType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("importing a service key: not an exported key")
	}
	form := block.Bytes
	if len(form) != exportHead+32+chacha20poly1305.Overhead || form[0] != exportVersion {
		return nil, errors.New("importing a service key: of an unknown version")
	}
	if form[1] != exportLogN || form[2] != exportR || form[3] == 0 || form[3] > maxExportP {
		return nil, errors.New("importing a service key: it asks for too much memory or time")
	}
	aead, err := exportKey(form[:exportHead], passphrase)
	if err != nil {
		return nil, err
	}
	data := append([]byte(exportLabel), form[:exportHead]...)
	seed, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), form[exportHead:], data)
	if err != nil {
		return nil, ErrPassphrase
	}
	return identity.FromSeed(seed)
}

type aead interface {
	Seal(dst, nonce, plaintext, data []byte) []byte
	Open(dst, nonce, ciphertext, data []byte) ([]byte, error)
}

func exportKey(head []byte, passphrase string) (aead, error) {
	key, err := scrypt.Key([]byte(passphrase), head[4:], 1<<head[1], int(head[2]), int(head[3]), chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving a key from the passphrase: %w", err)
	}
	return chacha20poly1305.New(key)
}
