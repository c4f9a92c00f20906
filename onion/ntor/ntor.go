// Package ntor is the handshake between a client and one relay of a circuit: the
// shape of ntor-v3 with X25519 and ML-KEM-768 together.
//
// The client knows the relay's NodeID and onion key. Afterwards both share keys
// that stay secret if either X25519 or ML-KEM-768 is sound, and that are fresh;
// the client knows that it shares them with the holder of the onion key; the
// relay learns nothing of who the client is. The layout is in
// docs/protocols/onion.md, vectors are in testdata.
package ntor

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	protocol = "globalnet ntor x25519 mlkem768 sha256 1"

	keyIDSize = 4
	tagSize   = chacha20poly1305.Overhead
	authSize  = 32

	// MaxRequestParams bounds what a client can say with its request, so that an
	// Extend fits in one large and one small cell.
	MaxRequestParams = 22
	// MaxReplyParams bounds what the relay can answer.
	MaxReplyParams = 64
	// MaxExchangeParams bounds what is said with the request of an Exchange.
	MaxExchangeParams = 128

	requestFixed = keyIDSize + 32 + mlkem.EncapsulationKeySize768 + tagSize
	replyFixed   = 32 + mlkem.CiphertextSize768 + authSize + tagSize
)

// Errors that a caller tells apart.
var (
	ErrFormat     = errors.New("handshake has a wrong size")
	ErrUnknownKey = errors.New("handshake for an onion key that is not ours")
	ErrForged     = errors.New("handshake does not verify")
	ErrReplayed   = errors.New("handshake was here before")
)

// PublicKey is a relay's onion key, as its descriptor says it.
type PublicKey [32]byte

// PrivateKey is the secret half of an onion key.
type PrivateKey struct {
	key func() *ecdh.PrivateKey // a function, so that no formatting verb prints it
}

// GenerateKey makes an onion key.
func GenerateKey() (PrivateKey, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("generating an onion key: %w", err)
	}
	return PrivateKey{func() *ecdh.PrivateKey { return k }}, nil
}

// NewPrivateKey returns the onion key of 32 bytes that Bytes gave.
func NewPrivateKey(b []byte) (PrivateKey, error) {
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("reading an onion key: %w", err)
	}
	return PrivateKey{func() *ecdh.PrivateKey { return k }}, nil
}

// Bytes returns the secret, to be stored.
func (k PrivateKey) Bytes() []byte { return k.key().Bytes() }

// Public returns the public half.
func (k PrivateKey) Public() PublicKey { return PublicKey(k.key().PublicKey().Bytes()) }

// LogValue hides the key from slog.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Keys is what both ends share: the seeds of the layers of the two directions, and
// a name of this very handshake, which signatures in the circuit can cover.
type Keys struct {
	Forward, Backward [32]byte
	Binding           [32]byte
}

// LogValue hides the keys from slog.
func (Keys) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Ephemeral returns the key X that makes this handshake one of its kind.
func (c *Client) Ephemeral() [32]byte { return [32]byte(c.x.PublicKey().Bytes()) }

// EphemeralOf returns the key X of a request.
func EphemeralOf(request []byte) ([32]byte, error) {
	if len(request) < requestFixed {
		return [32]byte{}, fmt.Errorf("%w: request of %d bytes", ErrFormat, len(request))
	}
	return [32]byte(request[keyIDSize:]), nil
}

// Client is one handshake under way, of the client's side.
type Client struct {
	node    [32]byte
	onion   PublicKey
	x       *ecdh.PrivateKey
	dk      *mlkem.DecapsulationKey768
	xb      []byte
	request []byte
}

// NewClient begins a handshake with the relay that has this NodeID and onion
// key, and returns the request to send. Params, at most MaxRequestParams bytes,
// are for the relay's eyes only.
func NewClient(node [32]byte, onion PublicKey, params []byte) (*Client, []byte, error) {
	if len(params) > MaxRequestParams {
		return nil, nil, fmt.Errorf("%w: %d bytes of parameters", ErrFormat, len(params))
	}
	return NewExchange(node, onion, params)
}

// NewExchange begins a handshake of another protocol than circuits: context, a hash
// of what both ends know and must agree on, takes the place of the NodeID, and
// params may have MaxExchangeParams bytes. The other end calls Answer.
func NewExchange(context [32]byte, key PublicKey, params []byte) (*Client, []byte, error) {
	return newExchange(context, key, func([32]byte) []byte { return params })
}

// newExchange begins a handshake whose parameters may depend on its ephemeral key.
func newExchange(context [32]byte, key PublicKey, params func(x [32]byte) []byte) (*Client, []byte, error) {
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	return newClient(context, key, params([32]byte(x.PublicKey().Bytes())), x, dk)
}

func newClient(node [32]byte, onion PublicKey, params []byte, x *ecdh.PrivateKey, dk *mlkem.DecapsulationKey768) (*Client, []byte, error) {
	if len(params) > MaxExchangeParams {
		return nil, nil, fmt.Errorf("%w: %d bytes of parameters", ErrFormat, len(params))
	}
	b, err := ecdh.X25519().NewPublicKey(onion[:])
	if err != nil {
		return nil, nil, fmt.Errorf("reading the onion key: %w", err)
	}
	xb, err := x.ECDH(b) // refuses points of small order
	if err != nil {
		return nil, nil, fmt.Errorf("onion key: %w", err)
	}
	c := &Client{node: node, onion: onion, x: x, dk: dk, xb: xb}
	c.request = make([]byte, 0, requestFixed+len(params))
	c.request = append(c.request, onion[:keyIDSize]...)
	c.request = append(c.request, x.PublicKey().Bytes()...)
	c.request = append(c.request, dk.EncapsulationKey().Bytes()...)
	key := requestKey(node, onion, xb, c.request)
	c.request = seal(c.request, key, params)
	return c, c.request, nil
}

// Finish reads the relay's reply and returns the keys and what the relay says.
func (c *Client) Finish(reply []byte) (Keys, []byte, error) {
	if len(reply) < replyFixed || len(reply) > replyFixed+MaxReplyParams {
		return Keys{}, nil, fmt.Errorf("%w: reply of %d bytes", ErrFormat, len(reply))
	}
	y, rest := reply[:32], reply[32:]
	ct, rest := rest[:mlkem.CiphertextSize768], rest[mlkem.CiphertextSize768:]
	auth, sealed := rest[:authSize], rest[authSize:]
	yKey, err := ecdh.X25519().NewPublicKey(y)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	xy, err := c.x.ECDH(yKey)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	shared, err := c.dk.Decapsulate(ct)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	s := derive(c.node, c.onion, c.request, y, ct, xy, c.xb, shared)
	if !hmac.Equal(s.auth, auth) {
		return Keys{}, nil, fmt.Errorf("%w: reply", ErrForged)
	}
	params, err := open(s.reply, sealed)
	if err != nil {
		return Keys{}, nil, err
	}
	return s.keys, params, nil
}

// secrets is what the three shared secrets and the transcript give.
type secrets struct {
	auth, reply []byte
	keys        Keys
}

func derive(node [32]byte, onion PublicKey, request, y, ct, xy, xb, shared []byte) (s secrets) {
	h := sha256.New()
	h.Write([]byte(protocol))
	h.Write(node[:])
	h.Write(onion[:])
	h.Write(request)
	h.Write(y)
	h.Write(ct)
	secret := append(append(append(make([]byte, 0, 96), xy...), xb...), shared...)
	prk, err := hkdf.Extract(sha256.New, secret, h.Sum(nil))
	if err != nil {
		panic(err) // only for secrets too short in FIPS mode
	}
	s.auth = expand(prk, " auth", authSize)
	s.reply = expand(prk, " reply", chacha20poly1305.KeySize)
	keys := expand(prk, " keys", 64)
	s.keys = Keys{[32]byte(keys), [32]byte(keys[32:]), [32]byte(expand(prk, " binding", 32))}
	return s
}

// requestKey seals what the client says: only the holder of the onion key reads
// it. begin is the request up to there; its key id is part of onion.
func requestKey(node [32]byte, onion PublicKey, xb, begin []byte) []byte {
	h := sha256.New()
	h.Write([]byte(protocol))
	h.Write(node[:])
	h.Write(onion[:])
	h.Write(begin)
	prk, err := hkdf.Extract(sha256.New, xb, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	return expand(prk, " request", chacha20poly1305.KeySize)
}

func expand(prk []byte, label string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, prk, protocol+label, size)
	if err != nil {
		panic(err) // only for sizes beyond 8160
	}
	return out
}

// seal and open use keys that are good for one message, so the nonce is zero.
func seal(dst, key, plain []byte) []byte {
	a, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err) // only for keys of a wrong size
	}
	return a.Seal(dst, make([]byte, chacha20poly1305.NonceSize), plain, nil)
}

func open(key, sealed []byte) ([]byte, error) {
	a, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err)
	}
	plain, err := a.Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, nil)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}
