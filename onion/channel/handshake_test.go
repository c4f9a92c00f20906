package channel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newBufioReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 4096) }

func TestHandshake(t *testing.T) {
	x, y := net.Pipe()
	wx, wy := &wire{Conn: x}, &wire{Conn: y}
	a, b := newIdentity(t), newIdentity(t)
	client, server := pair(t, wx, wy, Config{Identity: a}, Config{Identity: b})
	if client.Node() != b.NodeID() || server.Node() != a.NodeID() || !client.Outgoing() || server.Outgoing() {
		t.Error("the nodes are mistaken about each other")
	}
	if client.send.seed != server.get.seed || client.get.seed != server.send.seed || client.send.seed == client.get.seed {
		t.Error("wrong keys")
	}
	for _, w := range []*wire{wx, wy} {
		for _, id := range [][32]byte{a.NodeID(), b.NodeID()} {
			if bytes.Contains(w.sent.Bytes(), id[:]) {
				t.Error("a NodeID is seen on the way")
			}
		}
		if n := w.sent.Len(); n > 4096 {
			t.Errorf("a side says %d bytes", n)
		}
	}
}

func TestHandshakeFails(t *testing.T) {
	self := newIdentity(t)
	tests := []struct {
		name, want string
		server     Config
		ask        func(server Config) (id [32]byte)
		touch      func(p []byte)
	}{
		{"another node", "another node answered", Config{Identity: newIdentity(t)}, func(Config) [32]byte { return [32]byte{1} }, nil},
		{"ourselves", "ourselves", Config{Identity: self}, func(c Config) [32]byte { return c.Identity.NodeID() }, nil},
		{"changed certificate", "opening a channel", Config{Identity: newIdentity(t)}, func(c Config) [32]byte { return c.Identity.NodeID() },
			func(p []byte) { p[len(p)-200] ^= 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, y := net.Pipe()
			accepted := make(chan struct{})
			go func() {
				defer close(accepted)
				if c, err := Accept(t.Context(), &wire{Conn: y, touch: tt.touch}, tt.server); err == nil {
					c.Close()
				}
			}()
			c, err := Dial(t.Context(), x, Config{Identity: self}, tt.ask(tt.server))
			if err == nil || !strings.Contains(err.Error(), tt.want) || c != nil {
				t.Errorf("%v", err)
			}
			if _, err := x.Write([]byte{0}); err == nil {
				t.Error("the connection is still open")
			}
			<-accepted
		})
	}
}

func TestHandshakeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := net.Pipe()
		start := time.Now()
		_, err := Accept(t.Context(), x, Config{Identity: newIdentity(t)})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		y.Close()
	})
}

func TestOrdinaryTLSIsNotTaken(t *testing.T) {
	x, y := net.Pipe()
	go func() {
		tls.Client(y, &tls.Config{InsecureSkipVerify: true}).Handshake()
		y.Close()
	}()
	if _, err := Accept(t.Context(), x, Config{Identity: newIdentity(t)}); err == nil {
		t.Error("a web browser got a channel")
	}
}

func FuzzAccept(f *testing.F) {
	id := newIdentity(f)
	f.Add([]byte{0, 0, 4, 1, 0, 0, 0})
	f.Add([]byte{2, 0, 1, 0})
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, y := net.Pipe()
		go io.Copy(io.Discard, y)
		go func() {
			y.Write(b)
			y.Close()
		}()
		if _, err := Accept(t.Context(), x, Config{Identity: id}); err == nil {
			t.Fatal("a stranger got a channel")
		}
	})
}
