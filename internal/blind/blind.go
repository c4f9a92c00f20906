// Package blind derives Ed25519 keys from Ed25519 keys, as rend-spec-v3 appendix
// A.2 does: whoever knows a public key and the period can compute the blinded
// public key, only the holder of the private key can sign for it, and who sees
// the blinded key alone learns neither the key behind it nor whether two blinded
// keys belong together.
//
// Signatures of a blinded key are ordinary Ed25519 signatures; crypto/ed25519
// verifies them. The package keeps no state.
package blind

import (
	"crypto/ed25519"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

const (
	blindString  = "Derive temporary signing key\x00"
	prefixString = "Derive temporary signing key hash input"
	nonceString  = "key-blind"

	// The base point in decimal, as the specification spells it.
	basepoint = "(15112221349535400772501151409588531511454012693041857206046113283949847762202, " +
		"46316835694926478169428394003475163141307993866256225615783033603165251855960)"
)

// Factor is the hash h of the specification, before clamping: what a key is
// multiplied with.
type Factor [32]byte

// PeriodFactor returns the factor of a public key in a time period. Secret is
// empty unless only those who share it may compute the blinded key.
func PeriodFactor(public ed25519.PublicKey, secret []byte, period, length uint64) Factor {
	h := sha3.New256()
	h.Write([]byte(blindString))
	h.Write(public)
	h.Write(secret)
	h.Write([]byte(basepoint))
	nonce := binary.BigEndian.AppendUint64([]byte(nonceString), period)
	h.Write(binary.BigEndian.AppendUint64(nonce, length))
	return Factor(h.Sum(nil))
}

func (f Factor) scalar() *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetBytesWithClamping(f[:])
	if err != nil {
		panic(err) // only of a wrong length
	}
	return s
}

// PublicKey returns the blinded form of a public key. It refuses keys of small
// order and keys with a torsion component: their blinded forms would be linked or shared.
func PublicKey(public ed25519.PublicKey, f Factor) (ed25519.PublicKey, error) {
	a, err := point(public)
	if err != nil {
		return nil, err
	}
	if !torsionFree(a) {
		return nil, errors.New("key is not in the prime-order group")
	}
	return new(edwards25519.Point).ScalarMult(f.scalar(), a).Bytes(), nil
}

// Check refuses public keys that no honest signer has: encodings that are not
// canonical, no points, or points of small order, for which signatures of any
// message can be made without a private key.
func Check(public ed25519.PublicKey) error {
	_, err := point(public)
	return err
}

func point(public []byte) (*edwards25519.Point, error) {
	p, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return nil, fmt.Errorf("key is no point: %w", err)
	}
	if string(p.Bytes()) != string(public) {
		return nil, errors.New("key is not in canonical form")
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, errors.New("key is of small order")
	}
	return p, nil
}

// torsionFree tells whether the order of p is the prime l: (l−1)·p = −p.
func torsionFree(p *edwards25519.Point) bool {
	minusOne := edwards25519.NewScalar().Negate(one)
	q := new(edwards25519.Point).ScalarMult(minusOne, p)
	return q.Equal(new(edwards25519.Point).Negate(p)) == 1
}

var one = func() *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		panic(err)
	}
	return s
}()

// PrivateKey is the private half of a blinded key. It never prints itself.
type PrivateKey struct {
	scalar *edwards25519.Scalar
	prefix [32]byte
	public ed25519.PublicKey
}

// NewPrivateKey returns the blinded form of a private key.
func NewPrivateKey(private ed25519.PrivateKey, f Factor) *PrivateKey {
	expanded := sha512.Sum512(private.Seed())
	a, err := edwards25519.NewScalar().SetBytesWithClamping(expanded[:32])
	if err != nil {
		panic(err) // only of a wrong length
	}
	k := &PrivateKey{scalar: a.Multiply(a, f.scalar())}
	prefix := sha512.New()
	prefix.Write([]byte(prefixString))
	prefix.Write(expanded[32:])
	copy(k.prefix[:], prefix.Sum(nil))
	k.public = new(edwards25519.Point).ScalarBaseMult(k.scalar).Bytes()
	return k
}

// Public returns the blinded public key.
func (k *PrivateKey) Public() ed25519.PublicKey { return k.public }

// Sign returns the Ed25519 signature of message, RFC 8032 section 5.1.6 from step 2.
func (k *PrivateKey) Sign(message []byte) []byte {
	r := hashScalar(k.prefix[:], message)
	point := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
	challenge := hashScalar(point, k.public, message)
	s := edwards25519.NewScalar().MultiplyAdd(challenge, k.scalar, r)
	return append(point, s.Bytes()...)
}

func hashScalar(parts ...[]byte) *edwards25519.Scalar {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	s, err := edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
	if err != nil {
		panic(err) // only of a wrong length
	}
	return s
}

// String hides the key.
func (k *PrivateKey) String() string { return "[secret]" }

// GoString hides the key from %#v.
func (k *PrivateKey) GoString() string { return "[secret]" }
