package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"globalnet/mesh/dht"
)

// What a proxy may answer instead of what was wanted. Put returns dht.ErrNewer, too.
var (
	ErrNotFound = errors.New("there is no such record")
	ErrRefused  = errors.New("the proxy refused the request")
	ErrBusy     = errors.New("the proxy has too much to do")
	ErrFailed   = errors.New("the proxy could not do it")
)

// Get asks the proxy at the other end for the newest record of a key. The record is
// what it should be: its key, type, signature and form were verified. Whether it is
// the newest only several proxies together can tell, and what was read before; whose
// clock is right also looks at Expiry. The connection is closed by the caller.
func Get(ctx context.Context, rw net.Conn, typ uint16, key dht.Key) (*dht.Record, error) {
	a, err := ask(ctx, rw, request{typ: typ, key: key})
	if err != nil {
		return nil, fmt.Errorf("getting a record by a proxy: %w", err)
	}
	switch a.status {
	case found:
	case missing:
		return nil, ErrNotFound
	default:
		return nil, a.err()
	}
	if a.record.Type != typ || a.record.Key() != key {
		return nil, fmt.Errorf("getting a record by a proxy: %w: it is another one", errMalformed)
	}
	if err := dht.Verify(dht.DefaultTypes(), a.record); err != nil {
		return nil, fmt.Errorf("getting a record by a proxy: %w", err)
	}
	return a.record, nil
}

// Put asks the proxy to store a signed record, once, on the nodes closest to its
// key. It returns on how many of those it is, as the proxy says: to be sure, get it
// by another proxy. The record must be published again before its time to live ends.
func Put(ctx context.Context, rw net.Conn, r *dht.Record) (stored, of int, err error) {
	if err := dht.Verify(dht.DefaultTypes(), r); err != nil {
		return 0, 0, fmt.Errorf("storing a record by a proxy: %w", err)
	}
	a, err := ask(ctx, rw, request{record: r})
	if err == nil {
		err = a.err()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("storing a record by a proxy: %w", err)
	}
	return int(a.stored), int(a.of), nil
}

// ask sends the request and waits for the reply, as long as ctx and Serve allow.
func ask(ctx context.Context, rw net.Conn, q request) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, workTime+2*requestTime)
	defer cancel()
	rw.SetDeadline(time.Time{})
	stop := interrupt(ctx, rw)
	a, err := exchange(rw, q)
	if !stop() && ctx.Err() != nil {
		return reply{}, ctx.Err()
	}
	if err == nil && (q.record != nil) != (a.status == stored) && (a.status == stored || a.status == found || a.status == missing) {
		err = fmt.Errorf("%w: status %d", errMalformed, a.status)
	}
	return a, err
}

func exchange(rw net.Conn, q request) (reply, error) {
	if _, err := rw.Write(appendFrame(nil, q.frame())); err != nil {
		return reply{}, err
	}
	f, err := readFrame(rw)
	if err != nil {
		return reply{}, err
	}
	return parseReply(f)
}

func (a reply) err() error {
	switch a.status {
	case newer:
		return dht.ErrNewer
	case refused:
		return ErrRefused
	case busy:
		return ErrBusy
	case failed:
		return ErrFailed
	}
	return nil
}
