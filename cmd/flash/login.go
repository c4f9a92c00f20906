package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"

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
	keys := &flash.Keys{
		File: s.identity, Folder: filepath.Join(user, ".ssh"), Agent: os.Getenv("SSH_AUTH_SOCK"), Secret: t.secret,
		Warn: func(format string, args ...any) { fmt.Fprintf(t.stderr, "flash: "+format+"\n", args...) },
	}
	var once sync.Once
	var signers []ssh.Signer
	l.Signers = func() ([]ssh.Signer, error) {
		once.Do(func() { signers = keys.Signers() })
		return signers, nil
	}
	return l
}
