// Package identity holds a node's long-term key and the names derived from it.
//
// A node is an Ed25519 key. Its NodeID is the public key, its mesh address and
// its link-local address are hashes of that key, so a node can prove that it
// owns the address it answers on. The layouts are in docs/protocols/identity.md.
//
// An Identity is immutable after it was loaded; it may be shared freely.
package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// MeshPrefix is the prefix every mesh address is in.
var MeshPrefix = netip.MustParsePrefix("fd47:4e45::/32")

const (
	textVersion   = 1
	textLength    = 56
	checksumLabel = "globalnet node id checksum"
	addressLabel  = "globalnet mesh address"
	linkLabel     = "globalnet link-local address"
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// NodeID is the name of a node: its Ed25519 public key, 32 bytes.
type NodeID [ed25519.PublicKeySize]byte

// ParseNodeID reads the text form of a NodeID: 56 base32 characters in either
// case, which hold key, two bytes of checksum and a version byte (the layout of
// rend-spec-v3 section 6, with a checksum constant of our own).
func ParseNodeID(s string) (NodeID, error) {
	var id NodeID
	if len(s) != textLength {
		return id, fmt.Errorf("node id has %d characters, not %d", len(s), textLength)
	}
	upper := make([]byte, textLength)
	for i := range textLength { // the decoder would skip line breaks, ToUpper fold other scripts
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return id, errors.New("node id has a character that is not in a-z, 2-7")
		}
		upper[i] = c
	}
	raw := make([]byte, 35)
	if _, err := base32Text.Decode(raw, upper); err != nil {
		return id, fmt.Errorf("decoding node id: %w", err)
	}
	copy(id[:], raw)
	if version := raw[34]; version != textVersion {
		return NodeID{}, fmt.Errorf("node id of version %d, want %d", version, textVersion)
	}
	if sum := id.checksum(); !bytes.Equal(sum[:], raw[32:34]) {
		return NodeID{}, errors.New("node id has a wrong checksum: mistyped?")
	}
	return id, nil
}

// String returns the text form, 56 characters in lower case.
func (id NodeID) String() string {
	raw := make([]byte, 0, 35)
	raw = append(raw, id[:]...)
	sum := id.checksum()
	raw = append(raw, sum[0], sum[1], textVersion)
	return strings.ToLower(base32Text.EncodeToString(raw))
}

// Short returns the first eight characters of the text form, for people to read.
func (id NodeID) Short() string { return id.String()[:8] }

// IsZero reports whether id names no node.
func (id NodeID) IsZero() bool { return id == NodeID{} }

// MarshalText implements encoding.TextMarshaler with the form of String.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseNodeID.
func (id *NodeID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseNodeID(string(text))
	return err
}

// Address returns the mesh address of the node: MeshPrefix and the first 96
// bits of SHA-256("globalnet mesh address" ‖ key).
func (id NodeID) Address() netip.Addr {
	sum := sha256.Sum256(append([]byte(addressLabel), id[:]...))
	addr := MeshPrefix.Addr().As16()
	copy(addr[4:], sum[:12])
	return netip.AddrFrom16(addr)
}

// LinkLocal returns the address the node uses on each of its WireGuard
// interfaces: fe80::/64 and 64 bits of SHA-256("globalnet link-local address" ‖ key).
// It carries no zone.
func (id NodeID) LinkLocal() netip.Addr {
	sum := sha256.Sum256(append([]byte(linkLabel), id[:]...))
	addr := [16]byte{0: 0xfe, 1: 0x80}
	copy(addr[8:], sum[:8])
	return netip.AddrFrom16(addr)
}

// Verify reports whether sig is the node's signature of message under context;
// see Identity.Sign.
func (id NodeID) Verify(context string, message, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize &&
		ed25519.Verify(id[:], signedForm(context, message), sig)
}

func (id NodeID) checksum() [2]byte {
	sum := sha256.Sum256(append(append([]byte(checksumLabel), id[:]...), textVersion))
	return [2]byte{sum[0], sum[1]}
}

// signedForm separates domains: a one-byte length, the context, the message.
func signedForm(context string, message []byte) []byte {
	if len(context) == 0 || len(context) > 255 {
		panic("identity: signature context must have 1 to 255 bytes")
	}
	form := make([]byte, 0, 1+len(context)+len(message))
	form = append(form, byte(len(context)))
	form = append(form, context...)
	return append(form, message...)
}
