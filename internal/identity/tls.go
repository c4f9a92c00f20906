package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// TLSConfig returns a configuration for either side of a TLS 1.3 session in which
// both sides show the certificate of their node and speak protocol (ALPN).
// Certificates are judged by their key alone: a router's clock may be decades
// off, so no date is ever looked at. Who the other side is says PeerNode.
func (i *Identity) TLSConfig(protocol string) (*tls.Config, error) {
	cert, err := i.Certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // VerifyConnection judges
		SessionTicketsDisabled: true,
		Time:                   func() time.Time { return time.Unix(1<<31, 0) },
		VerifyConnection: func(cs tls.ConnectionState) error {
			raw := make([][]byte, len(cs.PeerCertificates))
			for i, c := range cs.PeerCertificates {
				raw[i] = c.Raw
			}
			_, err := NodeIDFromCertificates(raw)
			if err == nil && cs.NegotiatedProtocol != protocol {
				err = fmt.Errorf("protocol %q", cs.NegotiatedProtocol)
			}
			return err
		},
	}, nil
}

// PeerNode returns the node at the other end of a session whose configuration is
// that of TLSConfig, and whose handshake is done.
func PeerNode(cs tls.ConnectionState) (id NodeID, err error) {
	if len(cs.PeerCertificates) == 0 {
		return id, errors.New("no certificate")
	}
	key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return id, errors.New("certificate without an Ed25519 key")
	}
	copy(id[:], key)
	return id, nil
}
