package proxy

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"globalnet/onion/cell"
)

// Replies of RFC 1928 section 6.
const (
	replyDone        = 0
	replyFailure     = 1
	replyNotAllowed  = 2
	replyNetwork     = 3
	replyHost        = 4
	replyRefused     = 5
	replyTTL         = 6
	replyCommand     = 7
	replyAddressType = 8
)

// Methods of RFC 1928 section 3.
const (
	methodNone     = 0
	methodPassword = 2
	noMethod       = 0xff
)

// socks5Replies is indexed by cell.EndReason.
var socks5Replies = [...]byte{
	cell.EndDone:        replyFailure,
	cell.EndMisc:        replyFailure,
	cell.EndPolicy:      replyNotAllowed,
	cell.EndResolve:     replyHost,
	cell.EndRefused:     replyRefused,
	cell.EndUnreachable: replyNetwork,
	cell.EndTimeout:     replyTTL,
	cell.EndReset:       replyRefused,
	cell.EndResource:    replyFailure,
	cell.EndProtocol:    replyFailure,
	cell.EndCircuit:     replyFailure,
	cell.EndNeedsKey:    replyNotAllowed,
	cell.EndWrongKey:    replyNotAllowed,
}

// socks5 makes the answers of RFC 1928 section 6.
type socks5 struct{}

func (socks5) accept() []byte { return socks5Reply(replyDone, netip.AddrPort{}) }

func (socks5) refuse(reason cell.EndReason) []byte {
	code := byte(replyFailure)
	if int(reason) < len(socks5Replies) {
		code = socks5Replies[reason]
	}
	return socks5Reply(code, netip.AddrPort{})
}

// socks5Reply is version ‖ code ‖ 0 ‖ address; an invalid one is written as 0.0.0.0.
func socks5Reply(code byte, bound netip.AddrPort) []byte {
	if !bound.IsValid() {
		bound = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return appendSocksAddr([]byte{5, code, 0}, cell.Target{Addr: bound.Addr(), Port: bound.Port()})
}

// appendSocksAddr appends type (1) ‖ address ‖ port (2).
func appendSocksAddr(b []byte, t cell.Target) []byte {
	switch {
	case t.Name != "":
		b = append(append(b, 3, byte(len(t.Name))), t.Name...)
	case t.Addr.Is4():
		b = append(append(b, 1), t.Addr.AsSlice()...)
	default:
		b = append(append(b, 4), t.Addr.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, t.Port)
}

// parseSocksAddr reads what appendSocksAddr wrote. n is right also for a bad target.
func parseSocksAddr(b []byte) (t cell.Target, n int, err error) {
	if len(b) < 2 {
		return t, 0, errShort
	}
	at, size := 1, 0
	switch b[0] {
	case 1:
		size = 4
	case 3:
		at, size = 2, int(b[1])
	case 4:
		size = 16
	default:
		return t, 0, &refusal{socks5Reply(replyAddressType, netip.AddrPort{}), "unknown type of address"}
	}
	n = at + size + 2
	if len(b) < n {
		return t, 0, errShort
	}
	host, port := b[at:at+size], binary.BigEndian.Uint16(b[at+size:])
	if b[0] == 3 {
		t, err = namedTarget(string(host), port)
	} else {
		a, _ := netip.AddrFromSlice(host)
		t, err = addrTarget(a, port)
	}
	return t, n, err
}

// socks5 agrees on a method and reads a request.
func (r *reader) socks5() (*request, error) {
	var method byte
	err := r.parse(func(b []byte) (n int, err error) {
		method, n, err = parseMethods(b)
		return n, err
	})
	if err != nil {
		return nil, err
	}
	if method == noMethod {
		return nil, &refusal{[]byte{5, noMethod}, "no method in common"}
	}
	if _, err := r.conn.Write([]byte{5, method}); err != nil {
		return nil, err
	}
	req := new(request)
	if method == methodPassword {
		err := r.parse(func(b []byte) (n int, err error) {
			req.credentials, n, err = parsePassword(b)
			return n, err
		})
		if err != nil {
			return nil, err
		}
		if _, err := r.conn.Write([]byte{1, 0}); err != nil {
			return nil, err
		}
	}
	err = r.parse(func(b []byte) (n int, err error) {
		n, err = req.parseSocks5(b)
		return n, err
	})
	if err != nil {
		return nil, err
	}
	return req, nil
}

// parseMethods reads version ‖ count ‖ methods, and chooses one. User and password
// are preferred: they isolate.
func parseMethods(b []byte) (method byte, n int, err error) {
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return 0, 0, errShort
	}
	n = 2 + int(b[1])
	for _, m := range []byte{methodPassword, methodNone} {
		if bytes.IndexByte(b[2:n], m) >= 0 {
			return m, n, nil
		}
	}
	return noMethod, n, nil
}

// parsePassword reads version 1 ‖ length ‖ user ‖ length ‖ password, RFC 1929 section 2.
func parsePassword(b []byte) (credentials [32]byte, n int, err error) {
	if b[0] != 1 {
		return credentials, 0, &refusal{[]byte{1, 1}, "unknown version of user and password"}
	}
	if len(b) < 2 || len(b) < 3+int(b[1]) {
		return credentials, 0, errShort
	}
	user := string(b[2 : 2+int(b[1])])
	b = b[2+len(user):]
	if len(b) < 1+int(b[0]) {
		return credentials, 0, errShort
	}
	password := string(b[1 : 1+int(b[0])])
	return hashCredentials(user, password), 3 + len(user) + len(password), nil
}

// Commands: of RFC 1928 section 4, and the two that Tor added.
var socks5Commands = map[byte]command{1: connect, 3: associate, 0xf0: resolve, 0xf1: resolvePTR}

// parseSocks5 reads version ‖ command ‖ 0 ‖ address.
func (r *request) parseSocks5(b []byte) (n int, err error) {
	r.protocol = socks5{}
	if b[0] != 5 {
		return 0, errProtocol
	}
	if len(b) < 4 {
		return 0, errShort
	}
	t, n, err := parseSocksAddr(b[3:])
	if err == errTarget {
		return 0, &refusal{socks5Reply(replyFailure, netip.AddrPort{}), "bad target"}
	}
	if err != nil {
		return 0, err
	}
	n += 3
	c, ok := socks5Commands[b[1]]
	if !ok {
		return 0, &refusal{socks5Reply(replyCommand, netip.AddrPort{}), "unknown command"}
	}
	if c == connect && t.Port == 0 || c == resolvePTR && !t.Addr.IsValid() {
		return 0, &refusal{socks5Reply(replyFailure, netip.AddrPort{}), "bad target"}
	}
	r.command, r.target = c, t
	return n, nil
}

// socks4 makes the answers of SOCKS4.
type socks4 struct{}

func (socks4) accept() []byte               { return []byte{0, 90, 0, 0, 0, 0, 0, 0} }
func (socks4) refuse(cell.EndReason) []byte { return []byte{0, 91, 0, 0, 0, 0, 0, 0} }

func (r *reader) socks4() (*request, error) {
	req := new(request)
	if err := r.parse(req.parseSocks4); err != nil {
		return nil, err
	}
	return req, nil
}

// max4 bounds a name and a user in SOCKS4, with the zero behind.
const max4 = 256

// parseSocks4 reads version ‖ command ‖ port (2) ‖ IPv4 (4) ‖ user ‖ 0, and where
// the address is 0.0.0.x (4a) name ‖ 0.
func (r *request) parseSocks4(b []byte) (n int, err error) {
	r.protocol = socks4{}
	if len(b) < 8 {
		return 0, errShort
	}
	bad := &refusal{r.refuse(cell.EndMisc), "bad request"}
	addr, port := netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])
	user, n, err := zeroEnded(b, 8)
	if err != nil {
		return 0, orRefuse(err, bad)
	}
	t := cell.Target{Addr: addr, Port: port}
	if a := addr.As4(); a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] != 0 {
		var name string
		if name, n, err = zeroEnded(b, n); err == nil {
			t, err = namedTarget(name, port)
		}
		if err != nil {
			return 0, orRefuse(err, bad)
		}
	}
	if b[1] != 1 || port == 0 {
		return 0, bad
	}
	r.command, r.target, r.credentials = connect, t, hashCredentials(user, "")
	return n, nil
}

// orRefuse leaves errShort as it is.
func orRefuse(err error, no *refusal) error {
	if err == errShort {
		return err
	}
	return no
}

// zeroEnded returns the text at b[at:] up to a zero, and where it goes on behind.
func zeroEnded(b []byte, at int) (string, int, error) {
	text := b[at:]
	if len(text) > max4 {
		text = text[:max4]
	}
	switch end := bytes.IndexByte(text, 0); {
	case end >= 0:
		return string(text[:end]), at + end + 1, nil
	case len(text) == max4:
		return "", 0, errLong
	}
	return "", 0, errShort
}
