package netdir

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// begin runs a session on one end of a pipe and returns the other, and its end.
func begin(t *testing.T) (net.Conn, chan error) {
	t.Helper()
	here, there := net.Pipe()
	d := directory(t, 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s := &session{x: newExchange(time.Now(), d, person(t, 2).NodeID(), newBook(), newQuota(2000)), dir: d, conn: here,
		cancel: cancel, ended: make(chan struct{}), awake: make(chan struct{}, 1), ticks: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	return there, done
}

func TestSlowNeighbourEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reads bool
		send  []byte
		after time.Duration
	}{
		{"says nothing", true, nil, silenceTimeout},
		{"half a header", true, []byte{kindRoot}, messageTimeout},
		{"half a message", true, []byte{kindRoot, 0, 16, 1}, messageTimeout},
		{"does not read", false, nil, writeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				conn, done := begin(t)
				defer conn.Close()
				if tt.reads {
					go io.Copy(io.Discard, conn)
				}
				conn.Write(tt.send)
				err := <-done
				if took := time.Since(began); took != tt.after || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ended after %v, want %v: %v", took, tt.after, err)
				}
				if broken(err) {
					t.Error("being slow is taken for malice")
				}
			})
		})
	}
}

// Reading stops for a while where a neighbour sends faster than it may.
func TestReadingIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		conn, done := begin(t)
		go io.Copy(io.Discard, conn)
		message := frame(nil, kindHave, appendHave(nil, false, make([]offer, maxLines)))
		const total = 3 * readBurst
		for sent := 0; sent < total; sent += len(message) {
			if _, err := conn.Write(message); err != nil {
				t.Fatal(err)
			}
		}
		if took, least := time.Since(began), time.Duration(total-readBurst)*time.Second/readRate*8/10; took < least {
			t.Errorf("%d bytes were read in %v", total, took)
		}
		conn.Close()
		<-done
	})
}
