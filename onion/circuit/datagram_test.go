package circuit_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/stream"
)

func udpEcho(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		p := make([]byte, 2000)
		for {
			n, from, err := c.ReadFromUDPAddrPort(p)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(p[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestDatagrams(t *testing.T) {
	server := udpEcho(t)
	exit := exitFunc(func(to cell.Target) (net.Conn, error) {
		if to.Network != cell.UDP {
			return nil, errors.New("not UDP")
		}
		return net.Dial("udp", netip.AddrPortFrom(to.Addr, to.Port).String())
	})
	client, path, relays := threeHops(t, newNetwork(), mixed, exit)
	c := mustBuild(t, client, path)
	s, err := c.Open(cell.Target{Network: cell.UDP, Addr: server.Addr(), Port: server.Port()}, []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	p := make([]byte, 2000)
	if n, err := s.Read(p); err != nil || string(p[:n]) != "first" {
		t.Fatalf("%q, %v", p[:n], err)
	}
	// 1200 bytes is what QUIC begins with, 1500 the most.
	for _, size := range []int{1, 0, 90, 1182, 1187, 1188, 1200, 1300, 1472, 1500} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := s.Write(want); err != nil {
			t.Fatal(err)
		}
		n, err := s.Read(p)
		if err != nil || !bytes.Equal(p[:n], want) {
			t.Fatalf("%d bytes came back of %d, %v", n, size, err)
		}
	}
	if _, err := s.Write(make([]byte, 1501)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("too long: %v", err)
	}
	s.Write([]byte("ab"))
	s.Write([]byte("c"))
	if n, _ := s.Read(p[:1]); n != 1 || p[0] != 'a' {
		t.Errorf("%q", p[:n])
	}
	if n, _ := s.Read(p); n != 1 || p[0] != 'c' {
		t.Errorf("what did not fit was kept: %q", p[:n])
	}
	s.Close()
	eventually(t, "no stream is left", func() bool { return relays[2].relay.Stats().Streams == 0 })
}

// resolver is an Exit that answers questions.
type resolver struct{ exitFunc }

func (resolver) Resolve(_ context.Context, name string) (cell.Resolved, error) {
	if name == "example.org" {
		return cell.Resolved{TTL: time.Minute, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, nil
	}
	return cell.Resolved{}, &net.DNSError{}
}

func TestResolve(t *testing.T) {
	client, path, _ := threeHops(t, newNetwork(), mixed, resolver{})
	c := mustBuild(t, client, path)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if m, err := c.Resolve(ctx, "example.org"); err != nil || m.TTL != time.Minute || len(m.Addrs) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	var end *stream.EndError
	if _, err := c.Resolve(ctx, "nobody.example"); !errors.As(err, &end) || end.Reason != cell.EndResolve {
		t.Errorf("%v", err)
	}
	if _, err := c.Resolve(ctx, "not a name"); err == nil {
		t.Error("asked for nonsense")
	}
	c2 := mustBuild(t, client, path[:2])
	if _, err := c2.Resolve(ctx, "example.org"); !errors.As(err, &end) || end.Reason != cell.EndPolicy {
		t.Errorf("asked who does not answer: %v", err)
	}
	c.Close()
	if _, err := c.Resolve(ctx, "example.org"); err == nil {
		t.Error("asked a closed circuit")
	}
}
