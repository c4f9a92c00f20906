package kerneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// runSink accepts one connection after the other, reads it to its end and answers
// with the number of bytes.
func runSink() error {
	l, err := net.Listen("tcp6", "[::]:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var n int64
			buf := make([]byte, 256<<10)
			for {
				m, err := c.Read(buf)
				n += int64(m)
				if err != nil {
					break
				}
			}
			_, _ = c.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
		}()
	}
}

// runSend sends for a while and prints the bits per second that arrived.
func runSend() error {
	d, err := time.ParseDuration(os.Getenv("KERNELTEST_FOR"))
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp6", os.Getenv("KERNELTEST_TO"), 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	begin := time.Now()
	buf := make([]byte, 128<<10)
	for time.Since(begin) < d {
		if err := c.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write(buf); err != nil {
			return err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	var n [8]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return fmt.Errorf("waiting for the count: %w", err)
	}
	fmt.Println(float64(binary.BigEndian.Uint64(n[:])) * 8 / time.Since(begin).Seconds())
	return nil
}

// Ping is Node.Ping on the node.
func (s *Server) Ping(a PingArgs, rtt *time.Duration) error {
	c, err := icmp.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	defer c.Close()
	to := &net.IPAddr{IP: a.To.WithZone("").AsSlice(), Zone: a.To.Zone()}
	deadline := time.Now().Add(a.Patience)
	sent := make(map[int]time.Time)
	buf := make([]byte, 1500)
	var sendErr error
	for seq := 1; time.Now().Before(deadline); seq++ {
		m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: seq}}
		b, err := m.Marshal(nil)
		if err != nil {
			return err
		}
		sent[seq] = time.Now()
		_, sendErr = c.WriteTo(b, to)
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				break
			}
			m, err := icmp.ParseMessage(58, buf[:n])
			if err != nil || m.Type != ipv6.ICMPTypeEchoReply {
				continue
			}
			echo, ok := m.Body.(*icmp.Echo)
			if !ok || echo.ID != os.Getpid()&0xffff {
				continue
			}
			if at, ok := sent[echo.Seq]; ok && netip.MustParseAddr(from.String()).WithZone("") == a.To.WithZone("") {
				*rtt = time.Since(at)
				return nil
			}
		}
	}
	return errors.Join(fmt.Errorf("no answer from %v in %v", a.To, a.Patience), sendErr)
}
