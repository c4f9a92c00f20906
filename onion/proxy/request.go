package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"

	"globalnet/onion/cell"
)

// maxRequest bounds a request, and what a client sends along with it.
const maxRequest = 8 << 10

type command uint8

const (
	connect command = iota
	associate
	resolve
	resolvePTR
)

// request is what a client wants, in whatever protocol it said so.
type request struct {
	protocol
	command     command
	target      cell.Target
	credentials [32]byte // hash of user and password; zero where there are none
	fetch       *fetch   // of a plain HTTP request
}

// protocol makes answers.
type protocol interface {
	// accept says that the stream is there. It may be empty.
	accept() []byte
	// refuse says why not.
	refuse(reason cell.EndReason) []byte
}

// host is the target without its port.
func (r *request) host() string {
	if r.target.Name != "" {
		return r.target.Name
	}
	return r.target.Addr.String()
}

// refusal is an invalid request with the answer to it.
type refusal struct {
	reply []byte
	why   string
}

func (r *refusal) Error() string { return r.why }

var (
	errShort    = errors.New("truncated request") // more bytes may make it whole
	errLong     = errors.New("request too long")
	errProtocol = errors.New("neither SOCKS nor HTTP")
	errTarget   = errors.New("bad target")
)

// reader reads requests. Its buffer grows with what comes: who says nothing costs little.
type reader struct {
	conn net.Conn
	buf  []byte // read, not parsed
}

// rest returns what came behind the request, and forgets it.
func (r *reader) rest() []byte {
	b := r.buf
	r.buf = nil
	return b
}

// parse calls f with what has come until that is enough, and drops the n bytes it took.
func (r *reader) parse(f func(b []byte) (n int, err error)) error {
	for {
		if len(r.buf) > 0 {
			n, err := f(r.buf)
			if err != errShort {
				r.buf = r.buf[n:]
				return err
			}
		}
		if err := r.more(); err != nil {
			return err
		}
	}
}

func (r *reader) more() error {
	if len(r.buf) >= maxRequest {
		return errLong
	}
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf), min(max(2*len(r.buf), 512), maxRequest))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.conn.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// request reads a request, and says what has to be said before it.
func (r *reader) request() (*request, error) {
	var first byte
	err := r.parse(func(b []byte) (int, error) {
		first = b[0]
		return 0, nil
	})
	switch {
	case err != nil:
		return nil, err
	case first == 5:
		return r.socks5()
	case first == 4:
		return r.socks4()
	case 'A' <= first && first <= 'Z':
		return r.http()
	}
	return nil, errProtocol
}

// hashCredentials makes user and password a value that isolates. Any pair will do.
func hashCredentials(user, password string) [32]byte {
	if user == "" && password == "" {
		return [32]byte{}
	}
	b := binary.BigEndian.AppendUint32([]byte("globalnet proxy credentials"), uint32(len(user)))
	return sha256.Sum256(append(append(b, user...), password...))
}

// namedTarget makes host a target: an address, or a name as everybody would write it.
func namedTarget(host string, port uint16) (cell.Target, error) {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(name); err == nil {
		return addrTarget(a, port)
	}
	if !cell.ValidName(name) || strings.ContainsAny(name, ":/@[]") || strings.Contains("."+name+".", "..") {
		return cell.Target{}, errTarget
	}
	return cell.Target{Name: name, Port: port}, nil
}

func addrTarget(a netip.Addr, port uint16) (cell.Target, error) {
	if a.Zone() != "" {
		return cell.Target{}, errTarget // has a meaning here only
	}
	return cell.Target{Addr: a.Unmap(), Port: port}, nil
}
