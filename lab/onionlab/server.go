package onionlab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

const (
	serverPort  = 8080
	servicePort = 80 // of hidden services, which leads there
)

func (w *World) target() netip.AddrPort { return netip.AddrPortFrom(w.Addr(Server), serverPort) }

// Serve runs the file server until the returned function is called. It speaks just
// enough HTTP/1.0: GET /n answers n bytes, POST /n takes n bytes and then answers, GET
// /echo sends every byte back.
func (w *World) Serve() (netip.AddrPort, func(), error) {
	l, err := w.Listen(Server, serverPort)
	if err != nil {
		return netip.AddrPort{}, nil, fmt.Errorf("file server: %w", err)
	}
	stop := Serve(l)
	return w.target(), stop, nil
}

// Serve is the file server on a listener of the caller's.
func Serve(l net.Listener) (stop func()) {
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	})
	return func() {
		l.Close()
		running.Wait()
	}
}

const header = "HTTP/1.0 200 OK\r\n\r\n"

var block [64 << 10]byte

func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	request, err := r.ReadString('\n')
	if err != nil {
		return
	}
	for line := request; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	words := strings.Fields(request)
	if len(words) < 2 {
		return
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(words[1], "/"), 10, 64)
	switch {
	case words[1] == "/echo":
		io.WriteString(conn, header)
		io.Copy(conn, r)
	case err != nil:
	case words[0] == "POST":
		if _, err := io.CopyN(io.Discard, r, n); err == nil {
			io.WriteString(conn, header)
		}
	default:
		if n < int64(len(block)) { // one write, one packet
			conn.Write(append([]byte(header), block[:n]...))
			return
		}
		io.WriteString(conn, header)
		for n > 0 {
			k, err := conn.Write(block[:min(n, int64(len(block)))])
			if err != nil {
				return
			}
			n -= int64(k)
		}
	}
}
