package channel

import (
	"bufio"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"globalnet/internal/identity"
)

const (
	alpn          = "globalnet-onion/1"
	exporterLabel = "EXPORTER-globalnet-onion-channel-1"
	sealLabel     = "globalnet channel handshake"

	handshakeTimeout  = 10 * time.Second
	maxHandshakeBytes = 16 << 10 // a handshake of ours takes about 4 KiB each way
	frameHeader       = 3
)

// ErrWrongNode means that another node answered than the one that was dialled.
var ErrWrongNode = errors.New("another node answered")

// handshake is what a TLS handshake gives: who is there, and the keys.
type handshake struct {
	node      identity.NodeID
	aes       bool
	send, get [32]byte
}

// shake runs the handshake of TLS 1.3 on conn, without TLS's records: its
// messages travel in frames of level (1) ‖ length (2) ‖ data. From the level
// "handshake" on the data is sealed with keys of that level, so certificates
// are not seen on the way. Nothing beyond the last frame is read from in.
func shake(ctx context.Context, conn net.Conn, in *bufio.Reader, config *tls.Config, client bool) (h handshake, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err != nil {
			err = context.Cause(ctx)
		}
		conn.SetDeadline(time.Time{})
	}()

	var q *tls.QUICConn
	if client {
		q = tls.QUICClient(&tls.QUICConfig{TLSConfig: config})
	} else {
		q = tls.QUICServer(&tls.QUICConfig{TLSConfig: config})
	}
	defer q.Close()
	q.SetTransportParameters(nil)
	if err := q.Start(ctx); err != nil {
		return h, err
	}
	s := shaker{q: q, conn: conn, in: in, budget: maxHandshakeBytes}
	for {
		done, err := s.events()
		if err != nil {
			return h, err
		}
		if done {
			break
		}
		if err := s.read(); err != nil {
			return h, err
		}
	}
	return s.result(client)
}

// shaker drives one tls.QUICConn.
type shaker struct {
	q      *tls.QUICConn
	conn   net.Conn
	in     *bufio.Reader
	budget int

	send, get sealer
	out       []byte
	done      bool
}

// sealer is the keys of one direction of the level "handshake".
type sealer struct {
	aead  cipher.AEAD
	count byte
}

func newSealer(secret []byte) (s sealer, err error) {
	key, err := hkdf.Expand(sha256.New, secret, sealLabel, chacha20poly1305.KeySize)
	if err == nil {
		s.aead, err = chacha20poly1305.New(key)
	}
	return s, err
}

func (s *sealer) nonce() ([]byte, error) {
	if s.aead == nil || s.count == 255 {
		return nil, errors.New("handshake frame out of turn")
	}
	n := make([]byte, chacha20poly1305.NonceSize)
	n[len(n)-1] = s.count
	s.count++
	return n, nil
}

// events does what TLS wants, and writes what it had to say.
func (s *shaker) events() (done bool, err error) {
	for {
		switch e := s.q.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			if len(s.out) > 0 {
				_, err = s.conn.Write(s.out)
				s.out = s.out[:0]
			}
			return s.done, err
		case tls.QUICSetWriteSecret:
			if e.Level == tls.QUICEncryptionLevelHandshake {
				s.send, err = newSealer(e.Data)
			}
		case tls.QUICSetReadSecret:
			if e.Level == tls.QUICEncryptionLevelHandshake {
				s.get, err = newSealer(e.Data)
			}
		case tls.QUICWriteData:
			err = s.frame(e.Level, e.Data)
		case tls.QUICHandshakeDone:
			s.done = true
		}
		if err != nil {
			return false, err
		}
	}
}

func (s *shaker) frame(level tls.QUICEncryptionLevel, data []byte) error {
	size := len(data)
	if level != tls.QUICEncryptionLevelInitial {
		size += s.send.overhead()
	}
	head := [frameHeader]byte{byte(level)}
	binary.BigEndian.PutUint16(head[1:], uint16(size))
	s.out = append(s.out, head[:]...)
	if level == tls.QUICEncryptionLevelInitial {
		s.out = append(s.out, data...)
		return nil
	}
	nonce, err := s.send.nonce()
	if err == nil {
		s.out = s.send.aead.Seal(s.out, nonce, data, head[:])
	}
	return err
}

func (s *sealer) overhead() int { return chacha20poly1305.Overhead }

// read reads one frame and hands it to TLS.
func (s *shaker) read() error {
	var head [frameHeader]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[1:]))
	if s.budget -= frameHeader + size; s.budget < 0 {
		return errors.New("handshake too long")
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(s.in, data); err != nil {
		return err
	}
	level := tls.QUICEncryptionLevel(head[0])
	if level != tls.QUICEncryptionLevelInitial {
		nonce, err := s.get.nonce()
		if err != nil {
			return err
		}
		if data, err = s.get.aead.Open(data[:0], nonce, data, head[:]); err != nil {
			return errors.New("handshake frame does not verify")
		}
	}
	return s.q.HandleData(level, data)
}

// result takes the keys out of the finished handshake.
func (s *shaker) result(client bool) (h handshake, err error) {
	cs := s.q.ConnectionState()
	if h.node, err = identity.PeerNode(cs); err != nil {
		return h, err
	}
	out, err := cs.ExportKeyingMaterial(exporterLabel, nil, 64)
	if err != nil {
		return h, fmt.Errorf("exporting keys: %w", err)
	}
	h.send, h.get = [32]byte(out), [32]byte(out[32:])
	if !client {
		h.send, h.get = h.get, h.send
	}
	// TLS prefers AES where both CPUs have instructions for it.
	h.aes = cs.CipherSuite != tls.TLS_CHACHA20_POLY1305_SHA256
	return h, nil
}
