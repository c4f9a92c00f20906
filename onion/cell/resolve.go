package cell

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxResolved keeps an answer within one cell.
const maxResolved = 1200

// AppendResolve appends the name to look up. A name below in-addr.arpa or ip6.arpa
// asks for names, one that Record made for records, any other for addresses.
func AppendResolve(dst []byte, name string) []byte { return append(dst, name...) }

// Record is the question for a name's records of another type (RFC 1035 section 3.2.2).
func Record(name string, kind uint16) string { return name + "/" + strconv.Itoa(int(kind)) }

// ParseRecord takes such a question apart; kind is 0 where it asks for addresses or names.
func ParseRecord(question string) (name string, kind uint16, err error) {
	name, number, asks := strings.Cut(question, "/")
	if !asks {
		return name, 0, nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || name == "" {
		return "", 0, fmt.Errorf("%w: bad question", ErrMessage)
	}
	return name, uint16(n), nil
}

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

	Records [][]byte // RDATA, without pointers to names
}

// AppendResolved appends reason (1) ‖ TTL (4) ‖ addresses, names and records, as
// many as fit.
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
	for _, r := range m.Records {
		if len(dst)-at+3+len(r) > maxResolved {
			break
		}
		dst = append(binary.BigEndian.AppendUint16(append(dst, kindRecord), uint16(len(r))), r...)
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
		if b[0] == kindRecord {
			if len(b) < 3 || len(b)-3 < int(binary.BigEndian.Uint16(b[1:])) {
				return Resolved{}, fmt.Errorf("%w: truncated record", ErrMessage)
			}
			end := 3 + int(binary.BigEndian.Uint16(b[1:]))
			m.Records, b = append(m.Records, bytes.Clone(b[3:end])), b[end:]
			continue
		}
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
