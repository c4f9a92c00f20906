package relay

import "context"

type trustedKey struct{}

// WithTrust marks what is asked on a circuit whose client has shown that it knows
// the exit's secret.
func WithTrust(ctx context.Context) context.Context {
	return context.WithValue(ctx, trustedKey{}, true)
}

// Trusted reports whether WithTrust marked ctx.
func Trusted(ctx context.Context) bool { return ctx.Value(trustedKey{}) != nil }
