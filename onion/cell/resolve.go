package cell

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// maxResolved keeps an answer within one cell.
const maxResolved = 1200

// AppendResolve appends the name to look up. A name below in-addr.arpa or ip6.arpa
// asks for names, any other for addresses.
func AppendResolve(dst []byte, name string) []byte { return append(dst, name...) }

// ParseResolve reads the body of a MsgResolve.
func ParseResolve(b []byte) (string, error) {
	if !ValidName(string(b)) {
		return "", fmt.Errorf("%w: bad name", ErrMessage)
	}
	return string(b), nil
}

// Resolved is the answer to a MsgResolve.
type Resolved struct {
	Reason EndReason     // EndDone if there is an answer
	TTL    time.Duration // in seconds on the wire
	Addrs  []netip.Addr
	Names  []string
}

// AppendResolved appends reason (1) ‖ TTL (4) ‖ addresses and names, as many as fit.
func AppendResolved(dst []byte, m Resolved) []byte {
	at := len(dst)
	dst = append(dst, byte(m.Reason))
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(m.TTL/time.Second, 0), 1<<32-1)))
	for _, a := range m.Addrs {
		if len(dst)-at+17 > maxResolved {
			break
		}
		dst = AppendAddr(dst, a)
	}
	for _, name := range m.Names {
		if len(dst)-at+2+len(name) > maxResolved {
			break
		}
		dst = appendName(dst, name)
	}
	return dst
}

// ParseResolved reads the body of a MsgResolved.
func ParseResolved(b []byte) (m Resolved, err error) {
	if len(b) < 5 {
		return m, fmt.Errorf("%w: truncated answer", ErrMessage)
	}
	m.Reason, m.TTL = EndReason(b[0]), time.Duration(binary.BigEndian.Uint32(b[1:]))*time.Second
	for b = b[5:]; len(b) > 0; {
		if b[0] != kindName {
			var a netip.Addr
			if a, b, err = parseAddr(b); err != nil {
				return Resolved{}, err
			}
			m.Addrs = append(m.Addrs, a)
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return Resolved{}, fmt.Errorf("%w: truncated name", ErrMessage)
		}
		name, err := parseName(b[1 : 2+int(b[1])])
		if err != nil {
			return Resolved{}, err
		}
		m.Names, b = append(m.Names, name), b[2+int(b[1]):]
	}
	return m, nil
}
