package flash

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Target is a router as the user names it: user@host, user@host:port.
type Target struct{ User, Host, Port string }

// ParseTarget reads one; the user is root if none is named.
func ParseTarget(s string) (Target, error) {
	t := Target{User: "root", Host: s, Port: "22"}
	if user, host, ok := strings.Cut(s, "@"); ok {
		t.User, t.Host = user, host
	}
	if host, port, err := net.SplitHostPort(t.Host); err == nil {
		t.Host, t.Port = host, port
	}
	t.Host = strings.Trim(t.Host, "[]")
	if t.Host == "" || t.User == "" || strings.ContainsAny(s, " \t\n/\\'\"") || strings.HasPrefix(t.Host, "-") {
		return t, fmt.Errorf("%q is no router: want root@192.168.1.1", s)
	}
	return t, nil
}

// Address is for net.Dial.
func (t Target) Address() string { return net.JoinHostPort(t.Host, t.Port) }

// String is short: the port only where it is not SSH's.
func (t Target) String() string {
	if t.Port == "22" {
		return t.User + "@" + t.Host
	}
	return t.User + "@" + t.Address()
}

// Hosts are the pinned host keys: a file of its own, and the user's as well,
// which is only read.
type Hosts struct {
	File    string
	Others  []string
	Replace bool // a key that differs from the pinned one is asked about, and replaces it

	mu sync.Mutex
}

// HostKeyError is a router that is not the one that was pinned, or that nobody
// accepted.
type HostKeyError struct {
	Router, Got string
	Want        []string // empty: never seen
	Where       string
}

func (e *HostKeyError) Error() string {
	if len(e.Want) == 0 {
		return fmt.Sprintf("the host key %s of %s was not accepted", e.Got, e.Router)
	}
	return fmt.Sprintf("%s has the host key %s, but %s is pinned in %s", e.Router, e.Got, strings.Join(e.Want, " or "), e.Where)
}

// known returns the pinned keys of a router and the file they are in.
func (h *Hosts) known(t Target) (keys []ssh.PublicKey, where string) {
	for i, file := range append([]string{h.File}, h.Others...) {
		check, err := knownhosts.New(file)
		if err != nil {
			continue // missing, or not ours to repair
		}
		err = check(t.Address(), &net.TCPAddr{IP: net.IPv4zero}, nobody{})
		if e, ok := errors.AsType[*knownhosts.KeyError](err); ok && len(e.Want) > 0 {
			for _, k := range e.Want {
				keys = append(keys, k.Key)
			}
			if i > 0 && h.Replace {
				return nil, ""
			}
			return keys, file
		}
	}
	return nil, ""
}

// nobody is a key that no host has: asking for it tells which ones are pinned.
type nobody struct{}

func (nobody) Type() string                        { return "none" }
func (nobody) Marshal() []byte                     { return []byte("none") }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// algorithms asks for the kinds of keys that are pinned: a router with several
// would else show another one.
func (h *Hosts) algorithms(t Target) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys, _ := h.known(t)
	var names []string
	for _, k := range keys {
		if k.Type() == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
		names = append(names, k.Type())
	}
	if len(names) == 0 || h.Replace {
		return nil
	}
	return names
}

func (h *Hosts) callback(t Target, trust func(router, fingerprint string) bool) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		pinned, where := h.known(t)
		if slices.ContainsFunc(pinned, func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(key.Marshal()) }) {
			return nil
		}
		refused := &HostKeyError{Router: t.String(), Got: ssh.FingerprintSHA256(key), Where: where}
		if len(pinned) > 0 && !h.Replace {
			for _, k := range pinned {
				refused.Want = append(refused.Want, ssh.FingerprintSHA256(k))
			}
			return refused
		}
		if trust == nil || !trust(t.String(), refused.Got) {
			return refused
		}
		if err := h.pin(t, key); err != nil {
			return fmt.Errorf("pinning the host key: %w", err)
		}
		return nil
	}
}

// pin writes the key, in place of those that the file had for the router.
func (h *Hosts) pin(t Target, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(h.File), 0o700); err != nil {
		return err
	}
	text, err := os.ReadFile(h.File)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	name := knownhosts.Normalize(t.Address())
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			continue
		}
		kept.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	}
	kept.WriteString(knownhosts.Line([]string{name}, key) + "\n")
	temporary := h.File + ".new"
	if err := os.WriteFile(temporary, []byte(kept.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, h.File)
}
