package flash

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Keys are the private keys of a person: one file that was named, or those of the SSH
// agent and the usual files that need no password.
type Keys struct {
	File   string // named
	Folder string // of the usual files, ~/.ssh
	Agent  string // socket of the SSH agent; on Windows its pipe is tried too

	Secret func(question string) (string, error) // asks for the password of File
	Warn   func(format string, args ...any)      // about File
}

// Signers reads the keys.
func (k *Keys) Signers() []ssh.Signer {
	if k.File != "" {
		key, err := k.named()
		if err != nil {
			k.Warn("%v", err)
			return nil
		}
		return []ssh.Signer{key}
	}
	var all []ssh.Signer
	if conn := k.dialAgent(); conn != nil {
		if keys, err := agent.NewClient(conn).Signers(); err == nil {
			all = append(all, keys...)
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		text, err := os.ReadFile(filepath.Join(k.Folder, name))
		if err != nil {
			continue
		}
		if key, err := ssh.ParsePrivateKey(text); err == nil {
			all = append(all, key)
		}
	}
	return all
}

func (k *Keys) named() (ssh.Signer, error) {
	text, err := os.ReadFile(k.File)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		var password string
		if password, err = k.Secret("Password of the key " + k.File + ": "); err == nil {
			key, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(password))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.File, err)
	}
	return key, nil
}

func (k *Keys) dialAgent() io.ReadWriter {
	if runtime.GOOS == "windows" {
		if pipe, err := os.OpenFile(`\\.\pipe\openssh-ssh-agent`, os.O_RDWR, 0); err == nil {
			return pipe
		}
	}
	if k.Agent == "" {
		return nil
	}
	conn, err := net.Dial("unix", k.Agent)
	if err != nil {
		return nil
	}
	return conn
}
