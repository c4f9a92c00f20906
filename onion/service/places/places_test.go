package places

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/layer"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
)

// What a relay of a test does when it is asked.
const (
	answers   = iota // what the table says
	nothing          // there is nothing
	breaks           // the stream cannot be opened
	silent           // never says a word
	away             // no circuit leads there
	haveNewer        // there is something newer
)

var errGone = errors.New("the circuit broke")

// relays are asked one after the other; each does what its number says.
type relays struct {
	does  []int
	asked []int
	open  int // circuits that are
}

func node(i int) identity.NodeID { return identity.NodeID{byte(i + 1)} }

func (r *relays) draw(avoid ...identity.NodeID) (circuit.Hop, error) {
	for i := range r.does {
		if !slices.Contains(avoid, node(i)) {
			return circuit.Hop{Node: node(i)}, nil
		}
	}
	return circuit.Hop{}, errors.New("no other relay")
}

func (r *relays) hold(ctx context.Context, want client.Want) (way, error) {
	i := 0
	if want.Last != nil {
		i = int(want.Last.Node[0]) - 1
	}
	if i >= len(r.does) {
		return nil, errors.New("no relays")
	}
	r.asked = append(r.asked, i)
	if r.does[i] == away {
		return nil, errGone
	}
	r.open++
	return &relay{r, i}, nil
}

type relay struct {
	*relays
	i int
}

type stream struct {
	net.Conn
	does int
}

func (r *relay) last() identity.NodeID { return node(r.i) }
func (r *relay) close()                { r.relays.open-- }
func (r *relay) open() (net.Conn, error) {
	if r.does[r.i] == breaks {
		return nil, errGone
	}
	conn, other := net.Pipe()
	other.Close()
	return &stream{conn, r.does[r.i]}, nil
}

// paper is a hash table that answers as the relay does that it is asked through.
type paper struct{ value []byte }

func (p *paper) Get(ctx context.Context, conn net.Conn, place ed25519.PublicKey) ([]byte, error) {
	switch conn.(*stream).does {
	case nothing:
		return nil, service.ErrNotFound
	case silent:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return append(slices.Clone(p.value), place[:4]...), nil
}

func (p *paper) Put(ctx context.Context, conn net.Conn, _ service.Signer, _ uint64, value []byte) (int, error) {
	switch conn.(*stream).does {
	case haveNewer:
		return 0, service.ErrNewer
	case silent:
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	p.value = value
	return 8, nil
}

var at = key.Place{Period: 20000, Slot: 1, Replica: 1}

func TestGet(t *testing.T) {
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		does  []int
		twice bool
		asked int
		err   error // nil: the value
		after time.Duration
	}{
		{"at once", []int{answers, answers}, true, 1, nil, 0},
		{"not there", []int{nothing, answers}, false, 1, service.ErrNotFound, 0},
		{"not there, another knows", []int{nothing, answers}, true, 2, nil, 0},
		{"not there, twice", []int{nothing, nothing, answers}, true, 2, service.ErrNotFound, 0},
		{"relays that fail", []int{breaks, away, answers}, true, 3, nil, 0},
		{"too many that fail", []int{breaks, away, breaks, answers}, true, 3, errGone, 0},
		{"one that is silent", []int{silent, answers}, true, 2, nil, askTime},
		{"all silent", []int{silent, silent, silent, answers}, false, 3, context.DeadlineExceeded, 3 * askTime},
		{"one relay, that fails", []int{breaks}, true, 1, errGone, 0},
		{"one relay, that finds nothing", []int{nothing}, true, 1, service.ErrNotFound, 0},
		{"what one says counts more than that another fails", []int{nothing, breaks}, true, 2, service.ErrNotFound, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &relays{does: tt.does}
			p := &Places{Table: &paper{[]byte("x")}, via: r}
			began := time.Now()
			value, err := p.Get(t.Context(), client.Want{}, id.NodeID(), at, tt.twice)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || err == nil && len(value) != 5 {
				t.Errorf("%s: %q, %v", tt.name, value, err)
			}
			if len(r.asked) != tt.asked || len(slices.Compact(slices.Sorted(slices.Values(r.asked)))) != tt.asked {
				t.Errorf("%s: asked %v", tt.name, r.asked)
			}
			if r.open != 0 {
				t.Errorf("%s: %d circuits are left", tt.name, r.open)
			}
			if d := time.Since(began); d != tt.after {
				t.Errorf("%s: after %v", tt.name, d)
			}
		})
	}
}

func TestPut(t *testing.T) {
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	d := &desc.Descriptor{Revision: 1, Slots: 1, Points: []desc.IntroPoint{{Suites: []layer.Suite{layer.ChaCha}}}}
	for _, tt := range []struct {
		name  string
		does  []int
		asked int
		err   error
	}{
		{"at once", []int{answers}, 1, nil},
		{"the second", []int{breaks, answers}, 2, nil},
		{"somebody was faster", []int{haveNewer, answers}, 1, service.ErrNewer},
	} {
		x := &paper{}
		r := &relays{does: tt.does}
		stored, err := (&Places{Table: x, via: r}).Put(t.Context(), client.Want{}, id, at, d, desc.Access{})
		if !errors.Is(err, tt.err) || len(r.asked) != tt.asked || err == nil && stored != 8 {
			t.Errorf("%s: %d, %v, asked %v", tt.name, stored, err, r.asked)
		}
		if err == nil {
			if _, err := desc.Open(x.value, id.NodeID(), at, nil, 0); err != nil {
				t.Errorf("%s: what was stored: %v", tt.name, err)
			}
		}
	}
	if _, err := new(Places).Put(t.Context(), client.Want{}, id, at, d, desc.Access{}); !errors.Is(err, errNone) {
		t.Errorf("without a table: %v", err)
	}
	if _, err := new(Places).Get(t.Context(), client.Want{}, id.NodeID(), at, false); !errors.Is(err, errNone) {
		t.Errorf("without a table: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &relays{does: []int{breaks, answers}}
	if _, err := (&Places{Table: &paper{}, via: r}).Get(ctx, client.Want{}, id.NodeID(), at, false); err == nil || len(r.asked) != 1 {
		t.Errorf("who leaves: %v, asked %v", err, r.asked)
	}
}
