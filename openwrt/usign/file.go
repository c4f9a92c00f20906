package usign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckFile compares a file with the SHA256SUMS in root, if there is one, and, if there
// are keys, wants a signature by one of them: of the file in NAME.sig or
// NAME.minisig, or of a SHA256SUMS that lists it.
func CheckFile(name, root string, file []byte, keys ...[]byte) (signed bool, err error) {
	about := filepath.Join(root, "SHA256SUMS")
	sums, err := os.ReadFile(about)
	listed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if listed && !lists(sums, sha256.Sum256(file), filepath.Base(name)) {
		return false, fmt.Errorf("%s is not what SHA256SUMS says", name)
	}
	if len(keys) == 0 {
		return false, nil
	}
	signature, err := firstFile(name)
	if err != nil && listed {
		file, name = sums, about
		signature, err = firstFile(name)
	}
	if err != nil {
		return false, fmt.Errorf("%s has no signature: %w", name, err)
	}
	for _, key := range keys {
		if err = Verify(key, file, signature); err == nil {
			return true, nil
		}
	}
	return false, fmt.Errorf("the signature of %s: %w", name, err)
}

func firstFile(name string) (text []byte, err error) {
	if text, err = os.ReadFile(name + ".sig"); err != nil {
		text, err = os.ReadFile(name + ".minisig")
	}
	return text, err
}

// lists says whether a file of that name and digest is among the checksums, in
// whatever folder.
func lists(sums []byte, sum [sha256.Size]byte, base string) bool {
	for line := range bytes.Lines(sums) {
		digest, name, ok := strings.Cut(strings.TrimSpace(string(line)), "  ")
		if ok && digest == hex.EncodeToString(sum[:]) && name[strings.LastIndexByte(name, '/')+1:] == base {
			return true
		}
	}
	return false
}
