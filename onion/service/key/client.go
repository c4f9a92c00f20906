package key

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"globalnet/internal/identity"
)

// ClientPublic is the key of a client that a service lets in: X25519.
type ClientPublic [32]byte

const (
	clientPrefix = "client-"
	clientLabel  = "globalnet service client key"
	clientSum    = 3
	clientText   = 56
)

var (
	clientFile   = identity.KeyFile{Header: "globalnet-client-1", SumLabel: "globalnet client file", Noun: "client key"}
	base32Client = base32.StdEncoding.WithPadding(base32.NoPadding)
)

func (c ClientPublic) sum() []byte {
	sum := Hash(clientLabel, c[:])
	return sum[:clientSum]
}

// String returns the text form: client- and 56 base32 characters, of key ‖ checksum.
func (c ClientPublic) String() string {
	return clientPrefix + strings.ToLower(base32Client.EncodeToString(append(c[:], c.sum()...)))
}

// ParseClient reads the text form of a client's key.
func ParseClient(text string) (ClientPublic, error) {
	var c ClientPublic
	lower := strings.ToLower(text)
	body, ok := strings.CutPrefix(lower, clientPrefix)
	if !ok || len(text) != len(clientPrefix)+clientText {
		return c, fmt.Errorf("a client's key is %s and %d characters", clientPrefix, clientText)
	}
	raw, err := base32Client.DecodeString(strings.ToUpper(body))
	if err != nil || len(raw) != len(c)+clientSum {
		return c, errors.New("client's key has a character that is not in a-z, 2-7")
	}
	copy(c[:], raw)
	if string(c.sum()) != string(raw[len(c):]) {
		return ClientPublic{}, errors.New("client's key has a wrong checksum: mistyped?")
	}
	return c, nil
}

// ClientKey is the private key of a client. It never prints itself.
type ClientKey struct {
	// A function, because fmt prints unexported fields whatever methods they have.
	key func() *ecdh.PrivateKey
}

// NewClientKey makes a client's key.
func NewClientKey() (*ClientKey, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a client's key: %w", err)
	}
	return &ClientKey{func() *ecdh.PrivateKey { return k }}, nil
}

// ClientKeyFrom returns the key of 32 bytes.
func ClientKeyFrom(b []byte) (*ClientKey, error) {
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("reading a client's key: %w", err)
	}
	return &ClientKey{func() *ecdh.PrivateKey { return k }}, nil
}

// CreateClient makes a client's key and writes it to path once, as Create does.
func CreateClient(path string) (*ClientKey, error) {
	k, err := NewClientKey()
	if err != nil {
		return nil, err
	}
	if err := clientFile.Create(path, k.key().Bytes()); err != nil {
		return nil, err
	}
	return k, nil
}

// LoadClient reads the key at path.
func LoadClient(path string) (*ClientKey, error) {
	b, err := clientFile.Load(path)
	if err != nil {
		return nil, err
	}
	return ClientKeyFrom(b)
}

// Public returns what the service needs to know.
func (k *ClientKey) Public() ClientPublic { return ClientPublic(k.key().PublicKey().Bytes()) }

// Shared returns the secret that k shares with the holder of another key.
func (k *ClientKey) Shared(public []byte) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return k.key().ECDH(p)
}

// Format hides the key from every verb of fmt.
func (k *ClientKey) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// LogValue hides the key from slog.
func (k *ClientKey) LogValue() slog.Value { return slog.StringValue("[secret]") }
