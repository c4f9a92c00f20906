package ntor

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// ProofSize is the length of a Proof.
const ProofSize = 16

// Proof shows, within the handshake of the ephemeral key x with a relay, that the
// client knows a secret, and not who of those who know it: the first octets of
// HMAC-SHA-256(secret, "globalnet exit token" ‖ node ‖ x). It is worth nothing in
// another handshake or at another relay.
func Proof(secret []byte, node, x [32]byte) [ProofSize]byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("globalnet exit token"))
	m.Write(node[:])
	m.Write(x[:])
	return [ProofSize]byte(m.Sum(nil))
}

// NewClientProving is NewClient with parameters that hold a Proof, or something else
// of the handshake's ephemeral key.
func NewClientProving(node [32]byte, onion PublicKey, params func(x [32]byte) []byte) (*Client, []byte, error) {
	return newExchange(node, onion, func(x [32]byte) []byte {
		p := params(x)
		if len(p) > MaxRequestParams {
			panic(fmt.Sprintf("ntor: %d bytes of parameters", len(p)))
		}
		return p
	})
}
