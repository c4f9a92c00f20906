package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

const (
	keySize    = 32
	keySumSize = 4
	maxKeyFile = 256
)

// KeyFile is a kind of file that holds one secret of 32 bytes: a line of Header, a
// space, and base64 of secret ‖ checksum. Every kind has names of its own, so
// that no key is taken for one of another kind.
type KeyFile struct {
	Header   string
	SumLabel string // of the checksum
	Noun     string // for errors
}

// Create writes a secret to path; what is there already is left as it is, and the
// error is os.ErrExist.
func (k KeyFile) Create(path string, secret []byte) error {
	if err := create(path, k.text(secret)); err != nil {
		return fmt.Errorf("writing %s: %w", k.Noun, err)
	}
	return nil
}

// Load reads the secret at path. The file must be a plain file, no symbolic link,
// and readable by its owner alone.
func (k KeyFile) Load(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s %s is a symbolic link: put the file itself there", k.Noun, path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.Noun, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.Noun, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s is not a plain file", k.Noun, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%[1]s %[2]s may be read by others (mode %04[3]o): chmod 600 it, and if others were able to read it, remove it for a new %[1]s", k.Noun, path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.Noun, err)
	}
	secret, err := k.parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%[1]s %[2]s is damaged (%[3]w): restore it from a backup, or move it away for a new %[1]s", k.Noun, path, err)
	}
	return secret, nil
}

func (k KeyFile) parse(text string) ([]byte, error) {
	body, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), k.Header+" ")
	if !ok {
		return nil, fmt.Errorf("does not start with %q", k.Header)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") { // the decoder skips line breaks
		return nil, errors.New("not base64")
	}
	if len(raw) != keySize+keySumSize {
		return nil, fmt.Errorf("%d bytes, want %d", len(raw), keySize+keySumSize)
	}
	secret := raw[:keySize]
	if k.sum(secret) != [keySumSize]byte(raw[keySize:]) {
		return nil, errors.New("wrong checksum")
	}
	return secret, nil
}

func (k KeyFile) text(secret []byte) []byte {
	if len(secret) != keySize {
		panic("identity: a key file holds 32 bytes")
	}
	sum := k.sum(secret)
	form := append(append(make([]byte, 0, keySize+keySumSize), secret...), sum[:]...)
	return []byte(k.Header + " " + base64.StdEncoding.EncodeToString(form) + "\n")
}

func (k KeyFile) sum(secret []byte) [keySumSize]byte {
	sum := sha256.Sum256(append([]byte(k.SumLabel), secret...))
	return [keySumSize]byte(sum[:])
}
