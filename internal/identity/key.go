package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"time"

	"globalnet/internal/blind"
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

// Seed returns the private key as the 32 bytes of RFC 8032, to be kept as carefully.
func (i *Identity) Seed() []byte { return i.private().Seed() }

// nodeKey is the file of a node's key.
var nodeKey = KeyFile{"globalnet-identity-1", "globalnet identity file", "identity"}

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
	if err := nodeKey.Create(path, i.Seed()); err != nil {
		return nil, err
	}
	return i, nil
}

// Load reads the identity at path. The file must be a plain file, no symbolic
// link, and readable by its owner alone.
func Load(path string) (*Identity, error) {
	seed, err := nodeKey.Load(path)
	if err != nil {
		return nil, err
	}
	return FromSeed(seed)
}
