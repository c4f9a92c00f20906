package identity

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key of one kind is never read as one of another.
func TestKindsOfKeyFiles(t *testing.T) {
	other := KeyFile{"globalnet-other-1", "globalnet other file", "other key"}
	path := filepath.Join(t.TempDir(), "other.key")
	secret := bytes.Repeat([]byte{3}, 32)
	if err := other.Create(path, secret); err != nil {
		t.Fatal(err)
	}
	if err := other.Create(path, secret); !errors.Is(err, os.ErrExist) {
		t.Errorf("written again: %v", err)
	}
	if got, err := other.Load(path); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%x, %v", got, err)
	}
	if i, err := Load(path); err == nil || !strings.Contains(err.Error(), "globalnet-identity-1") {
		t.Errorf("read as the node's %v, %v", i, err)
	}
	text := strings.Replace(string(other.text(secret)), other.Header, nodeKey.Header, 1)
	if _, err := nodeKey.parse(text); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("with the header changed: %v", err)
	}
}
