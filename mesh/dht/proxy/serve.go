package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"globalnet/mesh/dht"
)

const (
	requestTime = 10 * time.Second // to send the request, and to take the reply
	workTime    = 25 * time.Second // for what the table does
)

// Table is what is asked in the name of others: a *dht.Node, inside Limited.
type Table interface {
	// Get finds the newest record of a key; GetDone.Record is nil if there is none.
	Get(ctx context.Context, typ uint16, key dht.Key) (dht.GetDone, error)
	// Put stores a signed record once.
	Put(ctx context.Context, r *dht.Record, o dht.PutOptions) (dht.PutDone, error)
}

// Serve carries out the one request of a connection. The table bounds what others
// may ask: see Limited. Serve ends within a minute, or with ctx; the connection is
// closed by the caller. The error says why a request was not answered.
func Serve(ctx context.Context, rw net.Conn, table Table) error {
	ctx, cancel := context.WithTimeout(ctx, workTime+requestTime)
	defer cancel()
	defer interrupt(ctx, rw)()
	rw.SetDeadline(time.Now().Add(requestTime))
	f, err := readFrame(rw)
	var q request
	if err == nil {
		q, err = parseRequest(f)
	}
	answer := reply{status: refused}
	switch {
	case err == nil:
		rw.SetDeadline(time.Time{})
		answer = carryOut(ctx, table, q)
	case !errors.Is(err, errMalformed):
		return fmt.Errorf("reading a request to the hash table: %w", err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("answering for the hash table: %w", ctx.Err())
	}
	rw.SetDeadline(time.Now().Add(requestTime))
	if _, werr := rw.Write(appendFrame(nil, answer.frame())); werr != nil {
		return fmt.Errorf("answering for the hash table: %w", werr)
	}
	if err != nil {
		return fmt.Errorf("request to the hash table: %w", err)
	}
	return nil
}

// interrupt ends what waits on the connection when ctx ends. The function it returns
// ends the watch.
func interrupt(ctx context.Context, rw net.Conn) func() bool {
	return context.AfterFunc(ctx, func() { rw.SetDeadline(time.Unix(1, 0)) })
}

func carryOut(ctx context.Context, table Table, q request) reply {
	ctx, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	if q.record == nil {
		done, err := table.Get(ctx, q.typ, q.key)
		switch {
		case err != nil:
			return failure(err)
		case done.Record == nil:
			return reply{status: missing}
		}
		return reply{status: found, record: done.Record}
	}
	done, err := table.Put(ctx, q.record, dht.PutOptions{})
	if err != nil {
		return failure(err)
	}
	return reply{status: stored, stored: uint8(min(done.Stored, 255)), of: uint8(min(done.Of, 255))}
}

func failure(err error) reply {
	switch {
	case errors.Is(err, ErrBusy):
		return reply{status: busy}
	case errors.Is(err, dht.ErrRecord):
		return reply{status: refused}
	case errors.Is(err, dht.ErrNewer):
		return reply{status: newer}
	}
	return reply{status: failed}
}
