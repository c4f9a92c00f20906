package ntor

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"fmt"
	"sync"
)

// Server answers handshakes for a relay. It may be used from many goroutines.
type Server struct {
	node [32]byte

	mu   sync.RWMutex
	keys []*onionKey // newest first, at most two
}

// onionKey is a key in use, with the handshakes that it has seen.
type onionKey struct {
	private *ecdh.PrivateKey
	public  PublicKey
	seen    *Replay // nil: the caller guards against replays
}

// NewServer answers for the relay with this NodeID and onion key.
func NewServer(node [32]byte, key PrivateKey) *Server {
	s := &Server{node: node}
	s.Rotate(key)
	return s
}

// Rotate makes key the onion key. The one before it stays good, for clients that
// hold an older descriptor; older ones are forgotten.
func (s *Server) Rotate(key PrivateKey) {
	k := &onionKey{private: key.key(), public: key.Public(), seen: NewReplay(replaySize)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append([]*onionKey{k}, s.keys[:min(len(s.keys), 1)]...)
}

// Reply answers a request. It asks answer what to say to the client's parameters;
// an error of answer refuses the handshake.
func (s *Server) Reply(request []byte, answer func(params []byte) ([]byte, error)) (Keys, []byte, error) {
	return s.reply(request, answer, freshKeys)
}

// Answer is the other end of NewExchange. It remembers nothing: against replays the
// caller has to guard, for example by a Replay of EphemeralOf the requests.
func Answer(context [32]byte, key PrivateKey, request []byte, answer func(params []byte) ([]byte, error)) (Keys, []byte, error) {
	if len(request) < requestFixed || len(request) > requestFixed+MaxExchangeParams {
		return Keys{}, nil, fmt.Errorf("%w: request of %d bytes", ErrFormat, len(request))
	}
	k := &onionKey{private: key.key(), public: key.Public()}
	if [keyIDSize]byte(request) != [keyIDSize]byte(k.public[:]) {
		return Keys{}, nil, ErrUnknownKey
	}
	return k.reply(context, request, answer, freshKeys)
}

func freshKeys(ek *mlkem.EncapsulationKey768) (*ecdh.PrivateKey, []byte, []byte, error) {
	y, err := ecdh.X25519().GenerateKey(rand.Reader)
	shared, ct := ek.Encapsulate()
	return y, shared, ct, err
}

// fresh makes the relay's contribution: a key, and an encapsulated secret.
type fresh func(*mlkem.EncapsulationKey768) (y *ecdh.PrivateKey, shared, ct []byte, err error)

func (s *Server) reply(request []byte, answer func([]byte) ([]byte, error), contribute fresh) (Keys, []byte, error) {
	if len(request) < requestFixed || len(request) > requestFixed+MaxRequestParams {
		return Keys{}, nil, fmt.Errorf("%w: request of %d bytes", ErrFormat, len(request))
	}
	k := s.find([keyIDSize]byte(request))
	if k == nil {
		return Keys{}, nil, ErrUnknownKey
	}
	return k.reply(s.node, request, answer, contribute)
}

func (k *onionKey) reply(node [32]byte, request []byte, answer func([]byte) ([]byte, error), contribute fresh) (Keys, []byte, error) {
	begin, sealed := request[:requestFixed-tagSize], request[requestFixed-tagSize:]
	x, err := ecdh.X25519().NewPublicKey(begin[keyIDSize : keyIDSize+32])
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	xb, err := k.private.ECDH(x)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	params, err := open(requestKey(node, k.public, xb, begin), sealed)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: request", err)
	}
	if k.seen != nil && !k.seen.Add([32]byte(x.Bytes())) {
		return Keys{}, nil, ErrReplayed
	}
	ek, err := mlkem.NewEncapsulationKey768(begin[keyIDSize+32:])
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	said, err := answer(params)
	if err != nil {
		return Keys{}, nil, err
	}
	if len(said) > MaxReplyParams {
		panic("ntor: answer too long")
	}
	y, shared, ct, err := contribute(ek)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("generating a key: %w", err)
	}
	xy, err := y.ECDH(x)
	if err != nil {
		return Keys{}, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	yPublic := y.PublicKey().Bytes()
	sec := derive(node, k.public, request, yPublic, ct, xy, xb, shared)
	reply := make([]byte, 0, replyFixed+len(said))
	reply = append(append(append(reply, yPublic...), ct...), sec.auth...)
	return sec.keys, seal(reply, sec.reply, said), nil
}

func (s *Server) find(id [keyIDSize]byte) *onionKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.keys {
		if [keyIDSize]byte(k.public[:]) == id {
			return k
		}
	}
	return nil
}
