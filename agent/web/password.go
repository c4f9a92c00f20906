package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"globalnet/mesh/peers"
)

// What a password costs: about a second on a slow router, and 8 MiB for that time.
const (
	hashTime   = 3
	hashMemory = 8 << 10 // KiB
	hashSize   = 32
	saltSize   = 16

	minPassword = 8
	maxPassword = 256
)

// PasswordFile is the name of the file with the hash, in the agent's state.
const PasswordFile = "web.password"

// password is the one of the owner: a file, so that it may be changed by hand.
type password struct{ path string }

// hash returns what is stored; empty: no password is set. A file that cannot be read is
// no password that was never set: it lets nobody in.
func (p password) hash() string {
	text, err := os.ReadFile(p.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ""
	case err != nil || len(text) > 1024 || strings.TrimSpace(string(text)) == "":
		return "unreadable"
	}
	return strings.TrimSpace(string(text))
}

// matches reports whether a password has that hash. It takes as long for every hash.
func matches(hash, given string) bool {
	fields := strings.Fields(hash)
	if len(fields) != 3 || fields[0] != "argon2id-3-8192" {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(fields[1])
	want, err2 := base64.RawStdEncoding.DecodeString(fields[2])
	if err1 != nil || err2 != nil || len(want) != hashSize {
		return false
	}
	got := derive(given, salt)
	return subtle.ConstantTimeCompare(got, want) == 1
}

func derive(given string, salt []byte) []byte {
	key := argon2.IDKey([]byte(given), salt, hashTime, hashMemory, 1, hashSize)
	debug.FreeOSMemory() // a router has better use for it than the next login
	return key
}

// CheckPassword says whether a password may be set.
func CheckPassword(p string) error {
	if len(p) < minPassword || len(p) > maxPassword || !utf8.ValidString(p) {
		return fmt.Errorf("password of %d bytes: want %d to %d", len(p), minPassword, maxPassword)
	}
	return nil
}

// SetPassword writes the hash of a password to the file at path; sessions end by that.
// An empty password removes the file: the wizard asks for a new one.
func SetPassword(path, p string) error {
	if p == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := CheckPassword(p); err != nil {
		return err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	text := fmt.Sprintf("argon2id-3-8192 %s %s\n", base64.RawStdEncoding.EncodeToString(salt),
		base64.RawStdEncoding.EncodeToString(derive(p, salt)))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the password of the page: %w", err)
	}
	return peers.WriteFile(path, []byte(text)) // 0600
}
