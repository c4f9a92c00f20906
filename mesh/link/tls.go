package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

const (
	alpn = "globalnet/1"

	proofLabel = "globalnet network proof"
	offerLabel = "globalnet offer 1"
	pskLabel   = "globalnet wireguard psk"

	roleClient = 'c'
	roleServer = 's'

	// A handshake of ours takes about 3 KiB each way; strangers get no more memory than this.
	maxHandshakeBytes = 16 << 10
	maxSessionBytes   = 128 << 10
)

// binding is the keys that tie messages to one TLS session.
type binding struct{ cs tls.ConnectionState }

func (b binding) export(label string, context []byte) ([32]byte, error) {
	var key [32]byte
	out, err := b.cs.ExportKeyingMaterial(label, context, len(key))
	if err != nil {
		return key, fmt.Errorf("exporting key: %w", err)
	}
	copy(key[:], out)
	return key, nil
}

// proof shows knowledge of the network key to the other end of this very session.
func (b binding) proof(networkKey []byte, role byte) (p [32]byte, err error) {
	exported, err := b.export(proofLabel, nil)
	if err != nil {
		return p, err
	}
	h := hmac.New(sha256.New, networkKey)
	h.Write(exported[:])
	h.Write([]byte{role})
	h.Sum(p[:0])
	return p, nil
}

// signedOffer is what the signature of an offer covers: the session, the role,
// the offer. So neither another session's offer nor our own comes through.
func (b binding) signedOffer(role byte, offer []byte) ([]byte, error) {
	exported, err := b.export(offerLabel, nil)
	if err != nil {
		return nil, err
	}
	return append(append(exported[:], role), offer...), nil
}

// presharedKey is the same on both sides whatever their roles.
func (b binding) presharedKey(key1, key2 [32]byte) (Secret, error) {
	if bytes.Compare(key1[:], key2[:]) > 0 {
		key1, key2 = key2, key1
	}
	psk, err := b.export(pskLabel, append(key1[:], key2[:]...))
	return Secret(psk), err
}

var errTooMuch = errors.New("too many bytes for a session")

// meteredConn bounds what the other side can make us read, sends prefix in one
// write with the first bytes of TLS, and knows whether anything was answered.
type meteredConn struct {
	net.Conn
	prefix   []byte
	budget   atomic.Int64 // bytes that may still be read
	answered atomic.Bool
}

func (c *meteredConn) Read(b []byte) (int, error) {
	left := c.budget.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	if int64(len(b)) > left {
		b = b[:left]
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
		c.budget.Add(int64(-n))
	}
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	if c.prefix == nil {
		return c.Conn.Write(b)
	}
	p := c.prefix
	c.prefix = nil
	n, err := c.Conn.Write(append(p, b...))
	return max(n-len(p), 0), err
}
