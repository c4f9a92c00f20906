package pack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// SigningKey signs packages and indexes of apk: ECDSA on P-256. Signatures are
// those of RFC 6979, so the same package signed again has the same bytes.
type SigningKey struct {
	private *ecdsa.PrivateKey
	id      [16]byte // what a signature names its key by
}

// NewSigningKey makes a key.
func NewSigningKey() (*SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	return signingKey(private)
}

// ParseSigningKey reads a private key in PEM, PKCS #8 or SEC 1, as `openssl
// ecparam -genkey` writes it.
func ParseSigningKey(text []byte) (*SigningKey, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("reading signing key: no private key in PEM")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading signing key: %w", err)
		}
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok || private.Curve != elliptic.P256() {
			return nil, errors.New("reading signing key: not of P-256")
		}
		return signingKey(private)
	}
}

func signingKey(private *ecdsa.PrivateKey) (*SigningKey, error) {
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading signing key: %w", err)
	}
	sum := sha512.Sum512(point)
	return &SigningKey{private, [16]byte(sum[:16])}, nil
}

// Private returns the key in PEM.
func (k *SigningKey) Private() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public returns what a router keeps in /etc/apk/keys, under any name that ends
// in .pem.
func (k *SigningKey) Public() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// sign returns the payload of a signature block over a database.
func (k *SigningKey) sign(schema string, db []byte) ([]byte, error) {
	const version, hashSHA512 = 0, 4
	header := append([]byte{version, hashSHA512}, k.id[:]...)
	digest := sha512.Sum512(db)
	message := append(append([]byte(schema), header...), digest[:]...)
	sum := sha512.Sum512(message)
	sig, err := k.private.Sign(nil, sum[:], crypto.SHA512)
	if err != nil {
		return nil, err
	}
	return append(header, sig...), nil
}
