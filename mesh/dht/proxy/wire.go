// Package proxy lets one node use the hash table in the name of another: a get or
// the put of a signed record travels over any connection, in practice a stream of a
// circuit, so that those who are asked see the proxy and not who is interested.
// docs/protocols/dht.md has the bytes. The proxy is not trusted: it can refuse, or
// answer with an old record of the key, but not with a false one.
//
// A connection carries one request and one reply. Nothing here keeps state, except
// for the rates of a Limited table, which may be used by any goroutine.
package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/wire"
)

const (
	version = 1

	opGet = 1
	opPut = 2

	headerSize = 4
	getSize    = 2 + len(dht.Key{})
	maxBody    = 4400 // the longest record, and some
)

// status is the answer to a request.
type status uint8

const (
	found   status = iota // body: the record
	missing               // there is none
	stored                // body: stored on u8, of u8
	newer                 // a newer record is stored
	refused               // the request is not understood, or the record not valid
	busy                  // more is asked of the proxy than it does for others
	failed                // it could not be done now
	statusCount
)

// frame is a request or a reply:
//
//	version u8 | operation or status u8 | length u16 | body
type frame struct {
	code uint8
	body []byte
}

func appendFrame(dst []byte, f frame) []byte {
	dst = append(dst, version, f.code)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(f.body)))
	return append(dst, f.body...)
}

var errMalformed = errors.New("malformed")

// readFrame reads as much as a frame has, and no more than maxBody.
func readFrame(r io.Reader) (frame, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return frame{}, err
	}
	if header[0] != version {
		return frame{}, fmt.Errorf("%w: version %d", errMalformed, header[0])
	}
	n := binary.BigEndian.Uint16(header[2:])
	if n > maxBody {
		return frame{}, fmt.Errorf("%w: %d octets", errMalformed, n)
	}
	f := frame{code: header[1], body: make([]byte, n)}
	_, err := io.ReadFull(r, f.body)
	return f, err
}

// request is a get, or the put of a record.
type request struct {
	typ    uint16
	key    dht.Key
	record *dht.Record // nil: a get
}

func (q request) frame() frame {
	if q.record != nil {
		return frame{opPut, wire.AppendRecord(nil, q.record)}
	}
	body := binary.BigEndian.AppendUint16(make([]byte, 0, getSize), q.typ)
	return frame{opGet, append(body, q.key[:]...)}
}

func parseRequest(f frame) (q request, err error) {
	switch {
	case f.code == opGet && len(f.body) == getSize:
		return request{typ: binary.BigEndian.Uint16(f.body), key: dht.Key(f.body[2:])}, nil
	case f.code == opPut:
		if q.record, err = wire.ParseRecord(f.body); err != nil {
			return q, fmt.Errorf("%w: %w", errMalformed, err)
		}
		q.typ, q.key = q.record.Type, q.record.Key()
		return q, nil
	}
	return q, fmt.Errorf("%w: operation %d with %d octets", errMalformed, f.code, len(f.body))
}

// reply is what came of a request.
type reply struct {
	status     status
	record     *dht.Record // found
	stored, of uint8       // stored
}

func (a reply) frame() frame {
	f := frame{code: uint8(a.status)}
	switch a.status {
	case found:
		f.body = wire.AppendRecord(nil, a.record)
	case stored:
		f.body = []byte{a.stored, a.of}
	}
	return f
}

func parseReply(f frame) (a reply, err error) {
	a.status = status(f.code)
	switch {
	case a.status == found:
		if a.record, err = wire.ParseRecord(f.body); err != nil {
			return a, fmt.Errorf("%w: %w", errMalformed, err)
		}
	case a.status == stored && len(f.body) == 2:
		a.stored, a.of = f.body[0], f.body[1]
	case a.status >= statusCount || a.status == stored || len(f.body) != 0:
		return a, fmt.Errorf("%w: status %d with %d octets", errMalformed, f.code, len(f.body))
	}
	return a, nil
}
