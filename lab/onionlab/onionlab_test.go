package onionlab_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"globalnet/lab/labtest"
	"globalnet/lab/onionlab"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == onionlab.NodeCommand {
		if err := onionlab.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	labtest.Main(m)
}

// get fetches a file through the onion's client.
func get(w *onionlab.World, o onionlab.Onion, n int) error {
	at, err := o.Connect()
	if err != nil {
		return err
	}
	to, stop, err := w.Serve()
	if err != nil {
		return err
	}
	defer stop()
	return w.Do(onionlab.Client, func() error {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			err := getOnce(at, to, n)
			if err == nil || time.Now().After(deadline) {
				return err
			}
		}
	})
}

// An onion of ours and one of tor's, on loopback and over links that take time, bring
// a file, and build circuits: each takes longer than light needs.
func TestOnions(t *testing.T) {
	labtest.Require(t)
	for _, x := range []struct {
		name  string
		delay time.Duration
		start func(context.Context, *onionlab.World) (onionlab.Onion, error)
		least time.Duration // of a circuit
	}{
		{"ours", 0, onionlab.NewOurs, 0},
		{"ours, far", 5 * time.Millisecond, onionlab.NewOurs, 60 * time.Millisecond},
		{"tor", 0, onionlab.NewTor, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.name == "tor" {
				if testing.Short() || onionlab.CheckTor() != nil {
					t.Skip("no tor, or no time for it")
				}
			}
			w, err := onionlab.NewWorld(x.delay)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			o, err := x.start(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			if err := get(w, o, 200000); err != nil {
				t.Fatal(err)
			}
			took, err := o.Build(t.Context())
			if err != nil && !strings.Contains(err.Error(), "circuit") {
				t.Error(err)
			}
			if err == nil && took < x.least {
				t.Errorf("a circuit in %v", took)
			}
			if len(o.RelayPids()) < 3 || o.ClientPid() == 0 {
				t.Errorf("relays %v, client %d", o.RelayPids(), o.ClientPid())
			}
		})
	}
}

func getOnce(at, to netip.AddrPort, n int) error {
	conn, err := onionlab.Dial(at, to, "x")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := onionlab.Ask(conn, "GET", fmt.Sprintf("/%d", n)); err != nil {
		return err
	}
	got, err := io.Copy(io.Discard, conn)
	if err == nil && got != int64(n) {
		err = fmt.Errorf("%d bytes came, not %d", got, n)
	}
	return err
}

// Services of ours, each with a new key, bring a file; circuits that a client parts
// from are made again.
func TestServices(t *testing.T) {
	labtest.Require(t)
	w, err := onionlab.NewWorld(0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	o, err := onionlab.NewOurServices(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	_, stop, err := w.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	at, err := o.Connect()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		address, err := o.Offer(t.Context())
		if err != nil || seen[address] {
			t.Fatalf("offered at %q: %v", address, err)
		}
		seen[address] = true
		for _, cached := range []bool{false, true} {
			who, err := o.Fresh(t.Context(), cached)
			if err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
				conn, err := onionlab.DialHost(at, address, who)
				if err == nil {
					err = onionlab.Ask(conn, "GET", "/100")
					conn.Close()
				}
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		}
	}
}
