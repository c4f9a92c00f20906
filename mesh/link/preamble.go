package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"sync"

	"golang.org/x/crypto/argon2"
)

const (
	protocolVersion = 1
	preambleSize    = 1 + 16 + 16 + sha256.Size
	preambleLabel   = "globalnet preamble 1"
	// maxSeenPreambles bounds the memory of the replay check. Only who knows the
	// network key can make it turn over.
	maxSeenPreambles = 1024
)

// The network that most nodes are in, and its key, so that they need not compute it:
// seconds at each start on the slowest routers, and the most memory that they take.
const (
	publicNetwork = "globalnet"
	publicKey     = "\x7a\x78\x5b\x60\x59\xdd\x94\xd1\x22\xd7\x18\x5f\xba\x7c\xb4\x70" +
		"\x21\xb6\x6c\x8c\xa8\x50\x1b\x7f\x26\xb7\x5f\x0a\xe3\xba\xbf\x8a"
)

// NetworkKey returns the key that all nodes of a network share. A public network
// has an empty passphrase: everyone can compute its key. It takes 8 MiB and some
// time on a small router, so it is called once a start.
func NetworkKey(name, passphrase string) []byte {
	if name == publicNetwork && passphrase == "" {
		return []byte(publicKey)
	}
	return deriveNetworkKey(name, passphrase)
}

func deriveNetworkKey(name, passphrase string) []byte {
	return argon2.IDKey([]byte(passphrase), []byte("globalnet network"+name), 3, 8*1024, 1, 32)
}

// preamble is what a client sends before TLS: whom it means and who it is for
// now, under the network key. A server that is not meant says nothing at all, so
// a stranger or a scanner does not even learn that there is a node.
type preamble struct {
	tag    Tag // the client's
	random [16]byte
}

func newPreamble(tag Tag) preamble {
	p := preamble{tag: tag}
	rand.Read(p.random[:])
	return p
}

func (p preamble) mac(key []byte, target [16]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(preambleLabel))
	h.Write(target[:])
	h.Write(p.tag[:])
	h.Write(p.random[:])
	return h.Sum(nil)
}

func (p preamble) append(dst, key []byte, target [16]byte) []byte {
	dst = append(dst, protocolVersion)
	dst = append(dst, p.tag[:]...)
	dst = append(dst, p.random[:]...)
	return append(dst, p.mac(key, target)...)
}

// parsePreamble returns the preamble in b if it is meant for one of targets.
func parsePreamble(b *[preambleSize]byte, key []byte, targets ...[16]byte) (p preamble, ok bool) {
	copy(p.tag[:], b[1:17])
	copy(p.random[:], b[17:33])
	for _, t := range targets {
		ok = subtle.ConstantTimeCompare(p.mac(key, t), b[33:]) == 1 || ok
	}
	return p, ok && b[0] == protocolVersion
}

// target16 returns the 16 bytes by which a preamble names the node that is meant.
func (d DialTarget) target16() (t [16]byte, ok bool) {
	switch {
	case !d.Tag.IsZero():
		return d.Tag, true
	case !d.Node.IsZero():
		return d.Node.Address().As16(), true
	case d.MeshAddr.Is6():
		return d.MeshAddr.WithZone("").As16(), true
	}
	return t, false
}

// expectedAddr returns the mesh address that the dialled node must have, if it is known.
func (d DialTarget) expectedAddr() netip.Addr {
	if !d.Node.IsZero() {
		return d.Node.Address()
	}
	return d.MeshAddr
}

// replayFilter remembers the randoms of the last preambles.
type replayFilter struct {
	mu   sync.Mutex
	seen map[[16]byte]struct{}
	ring [maxSeenPreambles][16]byte
	next int
}

// fresh reports whether r is new, and remembers it.
func (f *replayFilter) fresh(r [16]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.seen[r]; ok {
		return false
	}
	if f.seen == nil {
		f.seen = make(map[[16]byte]struct{})
	}
	delete(f.seen, f.ring[f.next])
	f.ring[f.next] = r
	f.next = (f.next + 1) % len(f.ring)
	f.seen[r] = struct{}{}
	return true
}
