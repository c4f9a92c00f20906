package circuit_test

import (
	"io"
	"net"
	"testing"
	"time"

	"globalnet/onion/layer"
)

func BenchmarkBuild(b *testing.B) {
	client, path, _ := threeHops(b, newNetwork(), [3]layer.Suite{layer.AES, layer.AES, layer.AES}, nil)
	mustBuild(b, client, path) // opens the channels
	for b.Loop() {
		c, err := client.build(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		time.Sleep(20 * time.Millisecond) // what a relay allows
	}
}

func BenchmarkDownload(b *testing.B) {
	for name, suite := range map[string]layer.Suite{"aes": layer.AES, "chacha": layer.ChaCha} {
		b.Run(name, func(b *testing.B) {
			client, path, _ := threeHops(b, newNetwork(), [3]layer.Suite{suite, suite, suite}, server(b, func(c *net.TCPConn) {
				io.Copy(c, zeros{})
				c.Close()
			}))
			c := mustBuild(b, client, path)
			s, err := c.Open(target, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			const chunk = 1 << 20
			b.SetBytes(chunk)
			for b.Loop() {
				if _, err := io.CopyN(io.Discard, s, chunk); err != nil {
					b.Fatal(err)
				}
			}
			_, shortest := c.RTT()
			b.ReportMetric(float64(shortest.Microseconds()), "rtt-µs")
		})
	}
}

// BenchmarkDelayed is a path of three links of 20 ms one way.
func BenchmarkDelayed(b *testing.B) {
	n := newNetwork()
	n.delay = 20 * time.Millisecond
	aes := [3]layer.Suite{layer.AES, layer.AES, layer.AES}
	client, path, _ := threeHops(b, n, aes, server(b, func(c *net.TCPConn) {
		io.Copy(c, zeros{})
		c.Close()
	}))
	c := mustBuild(b, client, path)
	s, err := c.Open(target, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const chunk = 1 << 20
	b.SetBytes(chunk)
	for b.Loop() {
		if _, err := io.CopyN(io.Discard, s, chunk); err != nil {
			b.Fatal(err)
		}
	}
	last, shortest := c.RTT()
	b.ReportMetric(float64(last.Milliseconds()), "last-rtt-ms")
	b.ReportMetric(float64(shortest.Milliseconds()), "rtt-ms")
}

func BenchmarkUpload(b *testing.B) {
	client, path, _ := threeHops(b, newNetwork(), [3]layer.Suite{layer.AES, layer.AES, layer.AES}, server(b, func(c *net.TCPConn) {
		io.Copy(io.Discard, c)
		c.Close()
	}))
	c := mustBuild(b, client, path)
	s, err := c.Open(target, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := s.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	last, shortest := c.RTT()
	b.ReportMetric(float64(last.Microseconds()), "last-rtt-µs")
	b.ReportMetric(float64(shortest.Microseconds()), "rtt-µs")
}

func BenchmarkRequest(b *testing.B) {
	client, path, _ := threeHops(b, newNetwork(), [3]layer.Suite{layer.AES, layer.AES, layer.AES}, server(b, echo))
	c := mustBuild(b, client, path)
	for b.Loop() {
		s, err := c.Open(target, []byte("GET / HTTP/1.1\r\n\r\n"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 18)); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
