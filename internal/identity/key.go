package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"syscall"
	"time"

	"globalnet/internal/blind"
)

// The key file is one line: keyHeader, then base64 of seed ‖ checksum.
const (
	keyHeader   = "globalnet-identity-1 "
	keySumLabel = "globalnet identity file"
	keySumSize  = 4
	maxKeyFile  = 256
)

// Identity is a node's private key. It never prints itself.
type Identity struct {
	// A function, because fmt prints unexported fields whatever methods they have.
	private func() ed25519.PrivateKey
	id      NodeID
}

// Generate makes a new identity.
func Generate() (*Identity, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	return fromPrivate(private), nil
}

// FromSeed returns the identity of a 32-byte Ed25519 seed (RFC 8032 section 5.1.5).
func FromSeed(seed []byte) (*Identity, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("identity seed has %d bytes, not %d", len(seed), ed25519.SeedSize)
	}
	return fromPrivate(ed25519.NewKeyFromSeed(seed)), nil
}

func fromPrivate(private ed25519.PrivateKey) *Identity {
	i := &Identity{private: func() ed25519.PrivateKey { return private }}
	copy(i.id[:], private.Public().(ed25519.PublicKey))
	return i
}

// NodeID returns the public name of the identity.
func (i *Identity) NodeID() NodeID { return i.id }

// Sign signs message for one purpose: context, 1 to 255 bytes, names it, so a
// signature made for one protocol message can never pass for another.
func (i *Identity) Sign(context string, message []byte) []byte {
	return ed25519.Sign(i.private(), signedForm(context, message))
}

// Blinded returns a key derived from the identity's, whose signatures say nothing of
// the identity to whoever does not know it; see package blind.
func (i *Identity) Blinded(f blind.Factor) *blind.PrivateKey {
	return blind.NewPrivateKey(i.private(), f)
}

// String names the identity without its secret.
func (i Identity) String() string { return "identity " + i.id.Short() }

// Format hides the key from every verb of fmt, %#v and %x among them.
func (i Identity) Format(f fmt.State, _ rune) { io.WriteString(f, i.String()) }

// LogValue hides the key from slog.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MarshalText hides the key from encoders.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// Certificate returns a self-signed certificate for TLS. It is judged by its
// key alone, so its dates say nothing: they span all time that a router whose
// clock lies may believe in.
func (i *Identity) Certificate() (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "globalnet"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.private().Public(), i.private())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.private()}, nil
}

// NodeIDFromCertificates returns the NodeID that a TLS peer proved: the key of
// the first certificate, which must be self-signed Ed25519. The dates are not
// looked at.
func NodeIDFromCertificates(raw [][]byte) (NodeID, error) {
	var id NodeID
	if len(raw) != 1 {
		return id, fmt.Errorf("certificate chain of %d, want 1", len(raw))
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return id, fmt.Errorf("parsing certificate: %w", err)
	}
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return id, fmt.Errorf("certificate with a %v key, want Ed25519", cert.PublicKeyAlgorithm)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return id, fmt.Errorf("checking certificate: %w", err)
	}
	copy(id[:], key)
	if id.IsZero() { // a point of small order, for which anybody can sign
		return id, errors.New("certificate with the zero key")
	}
	return id, nil
}

// LoadOrCreate reads the identity at path; where there is no file, it makes a
// new identity and writes it there once. Nothing that is there is ever overwritten.
func LoadOrCreate(path string) (*Identity, error) {
	i, err := Load(path)
	if !errors.Is(err, os.ErrNotExist) {
		return i, err
	}
	i, err = Create(path)
	if errors.Is(err, os.ErrExist) { // another process was first
		return Load(path)
	}
	return i, err
}

// Create makes a new identity and writes it to path; what is there already is
// left as it is, and the error is os.ErrExist.
func Create(path string) (*Identity, error) {
	i, err := Generate()
	if err != nil {
		return nil, err
	}
	if err := i.create(path); err != nil {
		return nil, fmt.Errorf("writing identity: %w", err)
	}
	return i, nil
}

// Load reads the identity at path. The file must be a plain file, no symbolic
// link, and readable by its owner alone.
func Load(path string) (*Identity, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("identity %s is a symbolic link: put the file itself there", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading identity: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading identity: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("identity %s is not a plain file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("identity %s may be read by others (mode %04o): chmod 600 it, and if others were able to read it, remove it for a new identity", path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading identity: %w", err)
	}
	i, err := parseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("identity %s is damaged (%w): restore it from a backup, or move it away for a new identity", path, err)
	}
	return i, nil
}

func parseKey(text string) (*Identity, error) {
	body, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), keyHeader)
	if !ok {
		return nil, fmt.Errorf("does not start with %q", strings.TrimSpace(keyHeader))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") { // the decoder skips line breaks
		return nil, errors.New("not base64")
	}
	if len(raw) != ed25519.SeedSize+keySumSize {
		return nil, fmt.Errorf("%d bytes, want %d", len(raw), ed25519.SeedSize+keySumSize)
	}
	seed := raw[:ed25519.SeedSize]
	if keySum(seed) != [keySumSize]byte(raw[ed25519.SeedSize:]) {
		return nil, errors.New("wrong checksum")
	}
	return FromSeed(seed)
}

func (i *Identity) keyText() []byte {
	seed := i.private().Seed()
	sum := keySum(seed)
	return []byte(keyHeader + base64.StdEncoding.EncodeToString(append(seed, sum[:]...)) + "\n")
}

func keySum(seed []byte) [keySumSize]byte {
	sum := sha256.Sum256(append([]byte(keySumLabel), seed...))
	return [keySumSize]byte(sum[:])
}
