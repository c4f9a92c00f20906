// Package intro is how a client and a hidden service meet: the introduction, which
// goes through an introduction point, the reply, which comes back through a
// rendezvous point, and the layer that both have afterwards.
//
// The handshake is that of onion/ntor, so an introduction is as strong as a circuit.
// docs/protocols/service.md has the layout, vectors are in testdata. The package
// does no I/O and reads no clock.
package intro

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/blake2s"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

const (
	establishContext = "globalnet establish intro"
	contextLabel     = "globalnet introduction"
	priorityLabel    = "globalnet introduction priority"

	paramsVersion = 1
	paramsSize    = 1 + 32 + 32 + 1 + 1 + cell.CookieSize

	// overlap is how many introductions a Point remembers at least.
	overlap = 4096
)

// Errors that a caller tells apart. All are answered with silence.
var (
	ErrFormat     = errors.New("malformed introduction")
	ErrStranger   = errors.New("introduction by somebody who does not know the service, or may not")
	ErrReplayed   = errors.New("introduction was here before")
	ErrForged     = errors.New("introduction does not verify")
	ErrRendezvous = errors.New("reply of the service does not verify")
)

// Establish returns the body of a MsgEstablishIntro for the circuit whose last hop's
// handshake has this binding: nobody can show the same to another relay or again.
func Establish(auth *identity.Identity, binding [32]byte, rate, burst uint16) []byte {
	m := cell.EstablishIntro{Key: auth.NodeID(), Rate: rate, Burst: burst}
	m.Signature = [64]byte(auth.Sign(establishContext, m.Signed(binding[:])))
	return cell.AppendEstablishIntro(nil, m)
}

// VerifyEstablish reads the body of a MsgEstablishIntro, at the introduction point.
func VerifyEstablish(body []byte, binding [32]byte) (cell.EstablishIntro, error) {
	m, err := cell.ParseEstablishIntro(body)
	if err != nil {
		return cell.EstablishIntro{}, err
	}
	if !identity.NodeID(m.Key).Verify(establishContext, m.Signed(binding[:]), m.Signature[:]) {
		return cell.EstablishIntro{}, fmt.Errorf("%w: signature of establish intro", ErrForged)
	}
	return m, nil
}

// Rendezvous is where the client waits, as it tells the service.
type Rendezvous struct {
	Node     identity.NodeID
	OnionKey ntor.PublicKey
	Suite    layer.Suite // for the service's hop to Node
	Cookie   cell.Cookie
}

// params is what a client says inside the handshake.
type params struct {
	meet  Rendezvous
	suite layer.Suite // of the layer between client and service
}

// append appends version (1) ‖ node (32) ‖ onion key (32) ‖ suite of the hop (1) ‖ suite
// of the layer (1) ‖ cookie (16).
func (p params) append(dst []byte) []byte {
	dst = append(append(dst, paramsVersion), p.meet.Node[:]...)
	dst = append(dst, p.meet.OnionKey[:]...)
	dst = append(dst, byte(p.meet.Suite), byte(p.suite))
	return append(dst, p.meet.Cookie[:]...)
}

// parseParams reads what append wrote. Later versions may add bytes.
func parseParams(b []byte) (p params, err error) {
	if len(b) < paramsSize || b[0] == 0 {
		return p, fmt.Errorf("%w: parameters of %d bytes", ErrFormat, len(b))
	}
	p.meet = Rendezvous{identity.NodeID(b[1:]), ntor.PublicKey(b[33:]), layer.Suite(b[65]), cell.Cookie(b[67:])}
	p.suite = layer.Suite(b[66])
	if !p.meet.Suite.Known() || !p.suite.Known() || p.meet.Cookie == (cell.Cookie{}) {
		return params{}, fmt.Errorf("%w: suite or cookie", ErrFormat)
	}
	return p, nil
}

// context is what client and service agree on before the handshake: the service in
// its period, and the introduction point.
func context(c key.Credential, auth identity.NodeID) [32]byte {
	return key.Hash(contextLabel, c[:], auth[:])
}

// markKey is what marks are made with: who knows the service has context, authorised
// clients have the cookie too.
func markKey(context [32]byte, c desc.Cookie) [32]byte {
	if c == (desc.Cookie{}) {
		return context
	}
	return key.Hash(priorityLabel, context[:], c[:])
}

// marked is what a mark covers: ephemeral key (32) ‖ effort (4) ‖ seed (4) ‖ nonce (8).
func marked(x [32]byte, s pow.Solution) []byte {
	b := binary.BigEndian.AppendUint32(append(make([]byte, 0, 48), x[:]...), s.Effort)
	return binary.BigEndian.AppendUint64(append(b, s.Seed[:]...), s.Nonce)
}

// mark lets the service drop what strangers send before it does anything that costs.
// Half of the key and all that is marked are one block of BLAKE2s, whose length is
// fixed, so a key in front is enough.
func mark(k [32]byte, marked []byte) [16]byte {
	var block [blake2s.BlockSize]byte
	copy(block[copy(block[:], k[:16]):], marked)
	sum := blake2s.Sum256(block[:])
	return [16]byte(sum[:])
}

func sameMark(a, b [16]byte) bool { return hmac.Equal(a[:], b[:]) }
