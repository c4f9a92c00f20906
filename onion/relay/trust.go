package relay

import (
	"context"

	"globalnet/onion/ntor"
)

// Doorkeeper is an Exit that has a secret for those it trusts.
type Doorkeeper interface {
	// Admits reports whether proof, which came with the handshake of the ephemeral
	// key x, shows the secret (ntor.Proof).
	Admits(x [32]byte, proof [ntor.ProofSize]byte) bool
}

// admits asks the exit about a handshake that was answered.
func (r *Relay) admits(request []byte, proof [ntor.ProofSize]byte) bool {
	door, ok := r.cfg.Exit.(Doorkeeper)
	if !ok || proof == [ntor.ProofSize]byte{} {
		return false
	}
	x, err := ntor.EphemeralOf(request)
	return err == nil && door.Admits(x, proof)
}

type trustedKey struct{}

// WithTrust marks what is asked on a circuit whose client has shown the secret.
func WithTrust(ctx context.Context) context.Context {
	return context.WithValue(ctx, trustedKey{}, true)
}

// Trusted reports whether WithTrust marked ctx.
func Trusted(ctx context.Context) bool { return ctx.Value(trustedKey{}) != nil }

// mark is WithTrust for circuits that are trusted.
func (c *circuit) mark(ctx context.Context) context.Context {
	if c.trusted.Load() {
		return WithTrust(ctx)
	}
	return ctx
}
