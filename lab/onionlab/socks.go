package onionlab

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Dial connects to an address through a SOCKS5 proxy with user and password, which
// are both who (RFC 1928, RFC 1929): connections of one who share a circuit. The
// error of a proxy that refuses is a *Refused.
func Dial(proxy, to netip.AddrPort, who string) (net.Conn, error) {
	return DialHost(proxy, to.String(), who)
}

// DialHost is Dial to "host:port", where the host may be a name, which the proxy looks up.
func DialHost(proxy netip.AddrPort, to, who string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", proxy.String(), 10*time.Second)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if err := socks(conn, to, who); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Refused is a proxy's answer that is no success.
type Refused struct{ Code byte }

func (r *Refused) Error() string { return fmt.Sprintf("the proxy answers with code %d", r.Code) }

func socks(conn net.Conn, to, who string) error {
	target, err := socksAddr(to)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte{5, 1, 2}); err != nil {
		return err
	}
	var b [22]byte
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return err
	}
	if b[1] != 2 {
		return fmt.Errorf("the proxy wants method %d", b[1])
	}
	login := append([]byte{1, byte(len(who))}, who...)
	login = append(append(login, byte(len(who))), who...)
	if _, err := conn.Write(login); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte{5, 1, 0}, target...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b[:4]); err != nil {
		return err
	}
	if b[1] != 0 {
		return &Refused{b[1]}
	}
	rest := 6
	if b[3] == 4 {
		rest = 18
	}
	_, err = io.ReadFull(conn, b[:rest])
	return err
}

// socksAddr is an IPv4 address or a name, and a port, as SOCKS5 has them.
func socksAddr(to string) ([]byte, error) {
	host, text, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || len(host) > 255 {
		return nil, fmt.Errorf("no address: %q", to)
	}
	b := append([]byte{3, byte(len(host))}, host...)
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		b = append([]byte{1}, addr.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(port)), nil
}

// Ask sends a request for a path of the file server's and, if it is a GET, reads the
// header of the answer.
func Ask(conn net.Conn, verb, path string) error {
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.0\r\n\r\n", verb, path); err != nil {
		return err
	}
	if verb != "GET" {
		return nil
	}
	return Answer(conn)
}

// Answer reads the header of an answer.
func Answer(conn net.Conn) error {
	b := make([]byte, len(header))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != header {
		return fmt.Errorf("answer %q", b)
	}
	return nil
}
