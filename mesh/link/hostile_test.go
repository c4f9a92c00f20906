package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/link/signal"
)

// stranger is a client that does by hand what a session does, and what it should not.
type stranger struct {
	*session
	t *testing.T
}

// connect goes as far as TLS.
func connect(t *testing.T, n, server *testNode) *stranger {
	t.Helper()
	raw, err := net.Dial("tcp", server.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	metered := &meteredConn{Conn: raw, prefix: newPreamble(n.cfg.Tag).append(nil, n.cfg.NetworkKey, server.cfg.Tag)}
	metered.budget.Store(maxSessionBytes)
	s := &session{e: n.Engine, outgoing: true, conn: tls.Client(metered, n.tls)}
	if err := s.conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	s.binding = binding{s.conn.ConnectionState()}
	return &stranger{s, t}
}

// greet exchanges Hello and returns the server's offer.
func (s *stranger) greet() *signal.Offer {
	s.t.Helper()
	hello, err := s.hello()
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(hello)
	for {
		m, err := signal.Read(s.conn)
		if err != nil {
			s.t.Fatal(err)
		}
		if offer, ok := m.(*signal.Offer); ok {
			return offer
		}
	}
}

// bye returns the reason with which the server ends the session, and closes it.
func (s *stranger) bye() signal.Reason {
	s.t.Helper()
	defer s.conn.Close()
	for {
		m, err := signal.Read(s.conn)
		if err != nil {
			s.t.Fatalf("waiting for Bye: %v", err)
		}
		if bye, ok := m.(*signal.Bye); ok {
			return bye.Reason
		}
	}
}

func (s *stranger) offer() *signal.Offer {
	s.t.Helper()
	_, offer, err := s.newOffer(&checker{ufrag: iceText(8), pwd: iceText(32)})
	if err != nil {
		s.t.Fatal(err)
	}
	return offer
}

func hostileServer(t *testing.T) *testNode {
	server := newTestNode(t, 5, nil)
	server.serve(t, "127.0.0.1:0")
	return server
}

// waitCounter waits until the server has counted want of what.
func (n *testNode) waitCounter(t *testing.T, what counter, want uint64) {
	t.Helper()
	eventually(t, counterNames[what]+" was not counted", func() bool { return n.Counters()[counterNames[what]] == want })
}

// Who does not know the network key, or means another node, or repeats what he
// has heard, is not answered with a single byte.
func TestSilence(t *testing.T) {
	server := hostileServer(t)
	tag := testTag(1)
	good := newPreamble(tag).append(nil, testKey, server.cfg.Tag)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	version := bytes.Clone(good)
	version[0] = 2
	for _, c := range []struct {
		name  string
		bytes []byte
		count counter
	}{
		{"a wrong passphrase", newPreamble(tag).append(nil, NetworkKey("test", "x"), server.cfg.Tag), preambleWrong},
		{"another network", newPreamble(tag).append(nil, NetworkKey("tesu", ""), server.cfg.Tag), preambleWrong},
		{"another node's tag", newPreamble(tag).append(nil, testKey, testTag(6)), preambleWrong},
		{"a wrong code", flipped, preambleWrong},
		{"another version", version, preambleWrong},
		{"the server's own tag", newPreamble(server.cfg.Tag).append(nil, testKey, server.cfg.Tag), preambleWrong},
		{"no tag", newPreamble(Tag{}).append(nil, testKey, server.cfg.Tag), preambleWrong},
		{"TLS at once", append([]byte{22, 3, 1, 0, 200}, make([]byte, 200)...), preambleWrong},
		{"a web request", []byte("GET / HTTP/1.1\r\nHost: router.example\r\nUser-Agent: scanner/1.0\r\nAccept: */*\r\n\r\n"), preambleWrong},
		{"half a preamble", good[:40], preambleMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := server.Counters()[counterNames[c.count]]
			if got := say(t, server.addr, c.bytes); len(got) != 0 {
				t.Errorf("answered %x", got)
			}
			server.waitCounter(t, c.count, before+1)
		})
	}
	t.Run("a replay", func(t *testing.T) {
		conn, err := net.Dial("tcp", server.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(good) // as it was heard on the radio
		eventually(t, "the preamble was not taken", func() bool {
			server.Engine.mu.Lock()
			defer server.Engine.mu.Unlock()
			return len(server.sessions) == 1
		})
		if got := say(t, server.addr, good); len(got) != 0 {
			t.Errorf("answered %x", got)
		}
		server.waitCounter(t, preambleReplayed, 1)
	})
}

// say sends b and returns all that comes back until the connection ends.
func say(t *testing.T, to netip.AddrPort, b []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	conn.Write(b)
	conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the connection was kept")
	}
	return got
}

func TestReplayFilterForgetsTheOldest(t *testing.T) {
	var f replayFilter
	random := func(i int) [16]byte { return [16]byte{byte(i), byte(i >> 8), 1} }
	for i := range maxSeenPreambles {
		if !f.fresh(random(i)) {
			t.Fatalf("%d is not fresh", i)
		}
	}
	for i := range maxSeenPreambles {
		if f.fresh(random(i)) {
			t.Fatalf("%d came through twice", i)
		}
	}
	f.fresh(random(maxSeenPreambles))
	if !f.fresh(random(0)) || len(f.seen) != maxSeenPreambles {
		t.Errorf("%d kept, want %d", len(f.seen), maxSeenPreambles)
	}
}

func TestHostileMessages(t *testing.T) {
	server := hostileServer(t)
	tamper := func(change func(*signal.Offer)) func(*stranger) {
		return func(s *stranger) {
			s.greet()
			offer := s.offer()
			change(offer)
			s.send(offer)
		}
	}
	for _, c := range []struct {
		name string
		do   func(s *stranger)
		want signal.Reason
	}{
		{"a hello without proof", func(s *stranger) {
			hello, _ := s.hello()
			hello.Proof[0] ^= 1
			s.send(hello)
		}, signal.Refused},
		{"the server's own proof", func(s *stranger) {
			hello, _ := s.hello()
			hello.Proof, _ = s.binding.proof(testKey, roleServer)
			s.send(hello)
		}, signal.Refused},
		{"another tag than in the preamble", func(s *stranger) {
			hello, _ := s.hello()
			hello.Tag = testTag(3)
			s.send(hello)
		}, signal.Refused},
		{"another version", func(s *stranger) {
			hello, _ := s.hello()
			hello.Version = 9
			s.send(hello)
		}, signal.Protocol},
		{"an offer before hello", func(s *stranger) { s.send(s.offer()) }, signal.Protocol},
		{"an unknown message", func(s *stranger) { s.conn.Write([]byte{0, 1, 99}) }, signal.Protocol},
		{"no offer", func(s *stranger) {
			s.greet()
			s.send(&signal.Switched{})
		}, signal.Protocol},
		{"an offer with another key", tamper(func(o *signal.Offer) { o.PublicKey[0] ^= 1 }), signal.Protocol},
		{"an offer with another password", tamper(func(o *signal.Offer) { o.Pwd = iceText(32) }), signal.Protocol},
		{"too many candidates", func(s *stranger) {
			s.greet()
			s.send(s.offer())
			for i := range maxCandidates + 1 {
				s.send(&signal.Candidate{Kind: signal.Host, Class: 1, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 9)})
			}
		}, signal.Protocol},
		{"a switch before the path is found", func(s *stranger) {
			s.greet()
			s.send(s.offer(), &signal.Switched{})
		}, signal.Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := connect(t, newTestNode(t, 1, nil), server)
			s.t = t
			c.do(s)
			if got := s.bye(); got != c.want {
				t.Errorf("Bye %d, want %d", got, c.want)
			}
			waitIdle(t, server)
		})
	}
	if made := server.made(); len(made) != 0 {
		t.Errorf("links were made: %v", made)
	}
}

// An offer is worth nothing in another session, nor when another node signed it,
// nor when it is the receiver's own.
func TestOffersAreBound(t *testing.T) {
	server := hostileServer(t)
	other := connect(t, newTestNode(t, 1, nil), server)
	heard := other.offer()
	other.conn.Close()
	mallory := newTestNode(t, 2, nil)
	for name, offer := range map[string]func(s *stranger, servers *signal.Offer) *signal.Offer{
		"of another session": func(*stranger, *signal.Offer) *signal.Offer { return heard },
		"the server's own":   func(_ *stranger, own *signal.Offer) *signal.Offer { return own },
		"signed by another node": func(s *stranger, _ *signal.Offer) *signal.Offer {
			s.e = mallory.Engine
			return s.offer()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, newTestNode(t, 1, nil), server)
			s.t = t
			own := s.greet()
			s.send(offer(s, own))
			if got := s.bye(); got != signal.Protocol {
				t.Errorf("Bye %d, want %d", got, signal.Protocol)
			}
			waitIdle(t, server)
		})
	}
}

// The client meets a server that has taken another node's address, or that
// knows the preamble's answer but not the network key.
func TestHostileServer(t *testing.T) {
	client := newTestNode(t, 1, nil)
	victim, _ := identity.Generate()
	mallory := newTestNode(t, 5, nil)
	mallory.serve(t, "127.0.0.1:0")

	// It was dialled by its tag, which a beacon told, but is not the node that is wanted.
	_, err := client.Dial(t.Context(), DialTarget{Addr: mallory.addr, Tag: mallory.cfg.Tag, MeshAddr: victim.NodeID().Address()})
	if !errors.Is(err, ErrWrongNode) {
		t.Errorf("Dial: %v, want ErrWrongNode", err)
	}

	// It does TLS with everyone but cannot prove that it is of the network.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.CopyN(io.Discard, conn, preambleSize)
		s := &session{e: newTestNode(t, 6, func(c *Config) { c.NetworkKey = NetworkKey("other", "") }).Engine, conn: tls.Server(conn, mallory.tls)}
		if s.conn.Handshake() != nil {
			return
		}
		s.binding = binding{s.conn.ConnectionState()}
		hello, _ := s.hello()
		s.send(hello)
		io.Copy(io.Discard, s.conn)
	}()
	_, err = client.Dial(t.Context(), DialTarget{Addr: addrPortOf(l.Addr()), Tag: testTag(6)})
	if !errors.Is(err, ErrWrongNetwork) {
		t.Errorf("Dial: %v, want ErrWrongNetwork", err)
	}
	<-done
}

// Connections that say nothing are bounded for each source and in all, and the
// oldest makes room for who comes with a preamble.
func TestHalfOpenConnectionsAreBounded(t *testing.T) {
	server := newTestNode(t, 5, func(c *Config) { c.MaxSessions = 6 })
	server.serve(t, "127.0.0.1:0")
	dial := func(source string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		conn, err := d.Dial("tcp", server.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	half := func() int {
		server.Engine.mu.Lock()
		defer server.Engine.mu.Unlock()
		return len(server.half)
	}
	oldest := dial("127.0.0.2")
	eventually(t, "not accepted", func() bool { return half() == 1 })
	for range maxHalfOpenPerSource {
		dial("127.0.0.2")
	}
	server.waitCounter(t, refusedSource, 1)
	for range 2 {
		dial("127.0.0.3")
	}
	eventually(t, "not accepted", func() bool { return half() == 6 })
	if _, err := newTestNode(t, 1, nil).Dial(t.Context(), server.target()); err != nil {
		t.Errorf("an honest client came to: %v", err)
	}
	oldest.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := oldest.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest connection was kept: %v", err)
	}
	server.waitCounter(t, evicted, 1)
}

// A session that has authenticated but hangs is ended by its timeout, and there is only
// room for so many.
func TestSessionsAreBounded(t *testing.T) {
	server := newTestNode(t, 5, func(c *Config) { c.MaxSessions, c.Timeout = 2, 2*time.Second })
	server.serve(t, "127.0.0.1:0")
	for b := range byte(2) {
		connect(t, newTestNode(t, 10+b, nil), server).greet()
	}
	_, err := newTestNode(t, 1, nil).Dial(t.Context(), server.target())
	if err == nil {
		t.Error("a session too many was taken")
	}
	server.waitCounter(t, refusedBusy, 1)
	waitIdle(t, server)
	if _, err := newTestNode(t, 1, nil).Dial(t.Context(), server.target()); err != nil {
		t.Errorf("when there was room again: %v", err)
	}
}

// A source that begins sessions without end is made to wait, at the cost of a
// preamble each; TLS is not even begun.
func TestSessionsOfASourceAreSlowedDown(t *testing.T) {
	server := newTestNode(t, 5, nil)
	server.starts = newBuckets(3, time.Hour, maxSources)
	server.serve(t, "127.0.0.1:0")
	server.admit = func(Peer) error { return ErrBusy }
	client := newTestNode(t, 1, nil)
	for range 3 {
		if _, err := client.Dial(t.Context(), server.target()); !errors.Is(err, ErrBusy) {
			t.Errorf("Dial: %v, want ErrBusy", err)
		}
	}
	if _, err := client.Dial(t.Context(), server.target()); !errors.Is(err, ErrWrongNetwork) {
		t.Errorf("Dial: %v, want silence", err)
	}
	server.waitCounter(t, refusedRate, 1)
}

// A client gets no more memory than a handshake needs.
func TestHandshakeBytesAreBounded(t *testing.T) {
	server := hostileServer(t)
	conn, err := net.Dial("tcp", server.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	conn.Write(newPreamble(testTag(1)).append(nil, testKey, server.cfg.Tag))
	// Handshake records of a ClientHello that claims to be 60 000 bytes long.
	record := append([]byte{22, 3, 1, 0x10, 0}, make([]byte, 4096)...)
	copy(record[5:], []byte{1, 0, 0xea, 0x60})
	for range 64 {
		if _, err := conn.Write(record); err != nil {
			break
		}
		copy(record[5:], []byte{0, 0, 0, 0})
	}
	io.Copy(io.Discard, conn)
	waitIdle(t, server)
	server.waitCounter(t, endedOtherwise, 1)
}
