package proxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/wire"
)

func record(seq uint64, value string) *dht.Record {
	r := &dht.Record{Type: dht.TypeService, Seq: seq, Value: append([]byte{1}, value...)}
	dht.SignRecord(r, dht.KeySigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))
	return r
}

// fakeTable has one record and does as it is told.
type fakeTable struct {
	mu     sync.Mutex
	record *dht.Record
	put    dht.PutDone
	err    error
	wait   time.Duration
	asked  int
}

func (f *fakeTable) work(ctx context.Context) error {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	select {
	case <-time.After(f.wait):
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeTable) Get(ctx context.Context, _ uint16, _ dht.Key) (dht.GetDone, error) {
	return dht.GetDone{Record: f.record}, f.work(ctx)
}

func (f *fakeTable) Put(ctx context.Context, r *dht.Record, _ dht.PutOptions) (dht.PutDone, error) {
	f.record = r
	return f.put, f.work(ctx)
}

// served returns a connection that Serve answers, and what Serve returns.
func served(t *testing.T, table Table) (net.Conn, <-chan error) {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Serve(t.Context(), b, table)
		b.Close()
		ended <- err
	}()
	t.Cleanup(func() { a.Close() })
	return a, ended
}

func TestGetAndPut(t *testing.T) {
	r := record(5, "introduction points")
	for _, tt := range []struct {
		name  string
		table *fakeTable
		get   error // nil: the record
		put   error
	}{
		{"there", &fakeTable{record: r, put: dht.PutDone{Stored: 7, Of: 8}}, nil, nil},
		{"many", &fakeTable{record: r, put: dht.PutDone{Stored: 7, Of: 1000}}, nil, nil},
		{"missing", &fakeTable{}, ErrNotFound, nil},
		{"newer", &fakeTable{err: dht.ErrNewer}, dht.ErrNewer, dht.ErrNewer},
		{"invalid", &fakeTable{err: errors.Join(dht.ErrRecord, errors.New("expired"))}, ErrRefused, ErrRefused},
		{"busy", &fakeTable{err: ErrBusy}, ErrBusy, ErrBusy},
		{"nobody", &fakeTable{err: dht.ErrNoNodes}, ErrFailed, ErrFailed},
		{"closed", &fakeTable{err: dht.ErrClosed}, ErrFailed, ErrFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, ended := served(t, tt.table)
			got, err := Get(t.Context(), conn, r.Type, r.Key())
			if !errors.Is(err, tt.get) || (err == nil) != (tt.get == nil) || err == nil && !reflect.DeepEqual(got, r) {
				t.Errorf("get %+v, %v", got, err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the proxy says %v", err)
			}
			conn, ended = served(t, tt.table)
			stored, of, err := Put(t.Context(), conn, r)
			if !errors.Is(err, tt.put) || (err == nil) != (tt.put == nil) ||
				err == nil && (stored != tt.table.put.Stored || of != min(255, tt.table.put.Of)) {
				t.Errorf("put on %d of %d, %v", stored, of, err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the proxy says %v", err)
			}
		})
	}
}

// A proxy can lie; the asker believes nothing that is not signed.
func TestLyingProxy(t *testing.T) {
	r := record(5, "x")
	other := &dht.Record{Type: dht.TypeService, Seq: 9, Value: []byte{1, 2}}
	dht.SignRecord(other, dht.KeySigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))))
	changed := record(5, "x")
	changed.Value = []byte{1, 'y'}
	form := record(5, "x")
	form.Value[0] = 9
	dht.SignRecord(form, dht.KeySigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))
	for name, answer := range map[string][]byte{
		"another record": appendFrame(nil, reply{status: found, record: other}.frame()),
		"changed":        appendFrame(nil, reply{status: found, record: changed}.frame()),
		"form":           appendFrame(nil, reply{status: found, record: form}.frame()),
		"stored":         appendFrame(nil, reply{status: stored, stored: 8, of: 8}.frame()),
		"no record":      appendFrame(nil, frame{code: uint8(found)}),
		"version":        {2, 0, 0, 0},
		"status":         {version, 200, 0, 0},
		"nothing":        {},
		"half":           {version, 0},
		"long":           {version, 0, 0xff, 0xff},
	} {
		a, b := net.Pipe()
		go func() {
			readFrame(b)
			b.Write(answer)
			b.Close()
		}()
		if got, err := Get(t.Context(), a, r.Type, r.Key()); err == nil {
			t.Errorf("%s: believed %+v", name, got)
		}
		a.Close()
	}
	a, b := net.Pipe()
	go func() {
		readFrame(b)
		b.Write(appendFrame(nil, reply{status: missing}.frame()))
	}()
	if _, _, err := Put(t.Context(), a, r); !errors.Is(err, errMalformed) {
		t.Errorf("a put that is answered as a get: %v", err)
	}
	if _, _, err := Put(t.Context(), a, changed); err == nil {
		t.Error("a record with a wrong signature is sent")
	}
}

func TestHostileRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		request []byte
		answer  bool
	}{
		"version":     {[]byte{9, opGet, 0, byte(getSize)}, true},
		"long":        {[]byte{version, opPut, 0xff, 0xff}, true},
		"operation":   {[]byte{version, 3, 0, 0}, true},
		"short get":   {[]byte{version, opGet, 0, 1, 0}, true},
		"no record":   {[]byte{version, opPut, 0, 2, 0, 0}, true},
		"half header": {[]byte{version}, false},
		"half body":   {[]byte{version, opGet, 0, byte(getSize), 1}, false},
		"nothing":     {nil, false},
	} {
		table := &fakeTable{}
		conn, ended := served(t, table)
		go func() {
			conn.Write(tt.request)
			if !tt.answer {
				conn.Close()
			}
		}()
		f, err := readFrame(conn)
		if tt.answer && (err != nil || status(f.code) != refused) {
			t.Errorf("%s: answered %+v, %v", name, f, err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the proxy says nothing", name)
		}
		if table.asked != 0 {
			t.Errorf("%s: the table was asked", name)
		}
	}
}

// Who is slow, on either side, does not hold the other for ever; nor does ctx's end.
func TestTimes(t *testing.T) {
	r := record(1, "x")
	synctest.Test(t, func(t *testing.T) {
		_, ended := served(t, &fakeTable{}) // sends nothing
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a silent asker: %v", err)
		}
		conn, ended := served(t, &fakeTable{record: r}) // does not take the reply
		conn.Write(appendFrame(nil, request{typ: r.Type, key: r.Key()}.frame()))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an asker that does not listen: %v", err)
		}
		conn, _ = served(t, &fakeTable{wait: time.Hour})
		if _, err := Get(t.Context(), conn, r.Type, r.Key()); !errors.Is(err, ErrFailed) {
			t.Errorf("a slow table: %v", err)
		}
		silent, _ := net.Pipe()
		if _, err := Get(t.Context(), silent, r.Type, r.Key()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a silent proxy: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		conn, _ = served(t, &fakeTable{wait: time.Hour})
		if _, err := Get(ctx, conn, r.Type, r.Key()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > time.Second {
			t.Errorf("an asker without patience: %v after %v", err, time.Since(begun))
		}
		a, b := net.Pipe()
		defer a.Close()
		go func() { a.Write([]byte{version}) }()
		if err := Serve(ctx, b, &fakeTable{}); err == nil {
			t.Error("a proxy that is told to end goes on")
		}
		synctest.Wait()
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTable{record: record(1, "x")}
		table := Limited(f, Limits{PerSecond: 2, Burst: 10, AtOnce: 3})
		r := f.record
		asked := func(n int) (done int) {
			for range n {
				if _, err := table.Get(t.Context(), r.Type, r.Key()); err == nil {
					done++
				} else if !errors.Is(err, ErrBusy) {
					t.Fatal(err)
				}
			}
			return done
		}
		if n := asked(50); n != 10 {
			t.Errorf("%d at once, want 10", n)
		}
		time.Sleep(2 * time.Second)
		if n := asked(50); n != 4 {
			t.Errorf("%d after two seconds, want 4", n)
		}
		time.Sleep(time.Second)
		if _, err := table.Put(t.Context(), r, dht.PutOptions{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a put at the price of two gets: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := table.Put(t.Context(), r, dht.PutOptions{}); err != nil {
			t.Error(err)
		}
		f.wait = time.Second
		time.Sleep(time.Minute)
		var group sync.WaitGroup
		var mu sync.Mutex
		refusals := 0
		for range 5 {
			group.Go(func() {
				if _, err := table.Get(t.Context(), r.Type, r.Key()); err != nil {
					mu.Lock()
					refusals++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		if refusals != 2 {
			t.Errorf("%d of 5 at the same time refused, want 2", refusals)
		}
		if n := asked(1); n != 1 {
			t.Error("a place is not given back")
		}
		conn, _ := served(t, Limited(&fakeTable{}, Limits{})) // the default lets one pass
		if _, err := Get(t.Context(), conn, r.Type, r.Key()); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	r := record(3, "value")
	f.Add(appendFrame(nil, request{typ: 3, key: dht.Key{1}}.frame()))
	f.Add(appendFrame(nil, request{record: r}.frame()))
	f.Add(appendFrame(nil, reply{status: found, record: r}.frame()))
	f.Add(appendFrame(nil, reply{status: stored, stored: 3, of: 8}.frame()))
	f.Add(appendFrame(nil, reply{status: busy}.frame()))
	f.Add(binary.BigEndian.AppendUint32(nil, version<<24|opPut<<16|0xffff))
	f.Fuzz(func(t *testing.T, p []byte) {
		in := bytes.NewReader(p)
		fr, err := readFrame(in)
		if err != nil {
			if cap(fr.body) > maxBody+headerSize {
				t.Fatalf("%d octets allocated", cap(fr.body))
			}
			return
		}
		rest, _ := io.ReadAll(in)
		whole := p[:len(p)-len(rest)]
		if again := appendFrame(nil, fr); !bytes.Equal(again, whole) {
			t.Fatalf("%x became %x", whole, again)
		}
		if q, err := parseRequest(fr); err == nil && !bytes.Equal(appendFrame(nil, q.frame()), whole) {
			t.Fatalf("request %x became %+v", whole, q)
		}
		if a, err := parseReply(fr); err == nil && !bytes.Equal(appendFrame(nil, a.frame()), whole) {
			t.Fatalf("reply %x became %+v", whole, a)
		}
	})
}

// A record that was signed elsewhere goes through a proxy into a real table, and comes
// back; the proxy does not take it for a publication of its own.
func TestRealTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := dht.NewNode(dht.Config{
			Self: netip.MustParseAddr("fd47:4e45::1"), Rand: rand.New(rand.NewChaCha8([32]byte{1})), ClockTrusted: true,
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { node.Run(ctx, dhttest.NewDeaf()) })
		defer running.Wait()
		defer cancel()
		table := Limited(node, Limits{})
		old, r := record(5, "old"), record(6, "new")
		ask := func(f func(net.Conn)) {
			conn, ended := served(t, table)
			f(conn)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		put := func(r *dht.Record) (err error) {
			ask(func(c net.Conn) { _, _, err = Put(ctx, c, r) })
			return err
		}
		if err := put(r); err != nil {
			t.Fatal(err)
		}
		if err := put(old); !errors.Is(err, dht.ErrNewer) {
			t.Errorf("put of an old record: %v", err)
		}
		expired := &dht.Record{Type: dht.TypeService, Seq: 9, Expiry: 1, Value: []byte{1, 1}}
		dht.SignRecord(expired, dht.KeySigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))
		if err := put(expired); !errors.Is(err, ErrRefused) {
			t.Errorf("put of an expired record: %v", err)
		}
		ask(func(c net.Conn) {
			if got, err := Get(ctx, c, r.Type, r.Key()); err != nil || got.Seq != 6 {
				t.Errorf("%+v, %v", got, err)
			}
		})
		ask(func(c net.Conn) {
			if _, err := Get(ctx, c, r.Type, dht.Key{1}); !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
		if list, err := node.Publications(ctx); err != nil || len(list) != 0 {
			t.Errorf("the proxy keeps %+v published, %v", list, err)
		}
	})
}

func TestRecordsFit(t *testing.T) {
	longest := &dht.Record{Type: dht.TypeGeneric, Salt: make([]byte, wire.MaxSalt), Value: make([]byte, wire.MaxValue)}
	if n := longest.Size(); n > maxBody {
		t.Errorf("the longest record has %d octets, a frame %d", n, maxBody)
	}
	if _, err := parseRequest(request{record: longest}.frame()); err != nil {
		t.Error(err)
	}
}
