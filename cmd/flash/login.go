package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"globalnet/openwrt/flash"
)

// login is how this person gets onto routers.
func (s *settings) login(t *terminal, home string) *flash.Login {
	l := &flash.Login{Hosts: &flash.Hosts{File: filepath.Join(home, "known_hosts"), Replace: s.newHostKey}}
	user, err := os.UserHomeDir()
	if err == nil {
		l.Hosts.Others = []string{filepath.Join(user, ".ssh", "known_hosts")}
	}
	l.Trust = func(router, fingerprint string) bool {
		if s.hostKey != "" {
			return s.hostKey == fingerprint
		}
		return s.acceptNew && !s.newHostKey || t.yes(fmt.Sprintf("%s has the host key %s.\nIs it the router at the other end of your cable? Type yes to pin it: ", router, fingerprint))
	}
	l.Password = func(router string) (string, error) {
		if s.password != "" {
			return t.password, nil
		}
		return t.secret("Password of " + router + ": ")
	}
	var once sync.Once
	var signers []ssh.Signer
	l.Signers = func() ([]ssh.Signer, error) {
		once.Do(func() { signers = s.signers(t, filepath.Join(user, ".ssh")) })
		return signers, nil
	}
	return l
}

// signers are the keys of the agent, and the usual files that need no password.
func (s *settings) signers(t *terminal, dir string) []ssh.Signer {
	var all []ssh.Signer
	files := []string{filepath.Join(dir, "id_ed25519"), filepath.Join(dir, "id_ecdsa"), filepath.Join(dir, "id_rsa")}
	if s.identity != "" {
		files = []string{s.identity}
	} else if conn := dialAgent(); conn != nil {
		if keys, err := agent.NewClient(conn).Signers(); err == nil {
			all = append(all, keys...)
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			if s.identity != "" {
				fmt.Fprintf(t.stderr, "flash: %v\n", err)
			}
			continue
		}
		key, err := ssh.ParsePrivateKey(text)
		if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked && s.identity != "" {
			password, askErr := t.secret("Password of the key " + name + ": ")
			if askErr == nil {
				key, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(password))
			}
		}
		if err == nil {
			all = append(all, key)
		} else if s.identity != "" {
			fmt.Fprintf(t.stderr, "flash: %s: %v\n", name, err)
		}
	}
	return all
}

// dialAgent connects to the SSH agent: a socket, on Windows a pipe.
func dialAgent() io.ReadWriter {
	if runtime.GOOS == "windows" {
		if pipe, err := os.OpenFile(`\\.\pipe\openssh-ssh-agent`, os.O_RDWR, 0); err == nil {
			return pipe
		}
	}
	return dialSocket(os.Getenv("SSH_AUTH_SOCK"))
}

func dialSocket(path string) io.ReadWriter {
	if path == "" {
		return nil
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil
	}
	return conn
}
