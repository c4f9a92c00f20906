package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
)

// shake runs a handshake and returns what the server saw, and its error.
func shake(t *testing.T, client, server *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	c, s := tls.Client(a, client), tls.Server(b, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.Handshake() == nil {
			c.Read(make([]byte, 1)) // the server's verdict arrives behind the handshake
		}
		a.Close()
	}()
	err := s.Handshake()
	b.Close()
	<-done
	return s.ConnectionState(), err
}

func tlsConfig(t *testing.T, protocol string) (*tls.Config, NodeID) {
	t.Helper()
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := id.TLSConfig(protocol)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, id.NodeID()
}

func TestTLSNamesThePeer(t *testing.T) {
	client, node := tlsConfig(t, "one")
	server, _ := tlsConfig(t, "one")
	cs, err := shake(t, client, server)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := PeerNode(cs); err != nil || got != node {
		t.Errorf("peer is %v, %v; want %v", got, err, node)
	}
}

func TestTLSRefuses(t *testing.T) {
	server, _ := tlsConfig(t, "one")
	other, _ := tlsConfig(t, "two")
	silent, _ := tlsConfig(t, "one")
	silent.NextProtos, silent.VerifyConnection = nil, nil
	nobody, _ := tlsConfig(t, "one")
	nobody.Certificates = nil
	stranger, _ := tlsConfig(t, "one")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	stranger.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	for _, tt := range []struct {
		name   string
		client *tls.Config
		want   string
	}{
		{"another protocol", other, "protocol"},
		{"no protocol", silent, "protocol"},
		{"no certificate", nobody, "certificate"},
		{"a key that is no node's", stranger, "Ed25519"},
	} {
		if _, err := shake(t, tt.client, server); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if _, err := PeerNode(tls.ConnectionState{}); err == nil {
		t.Error("a session without a certificate has a peer")
	}
}
