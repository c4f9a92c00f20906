package exit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"globalnet/onion/cell"
)

const (
	// stagger is how long an attempt runs alone before the next address is tried as well (RFC 8305).
	stagger = 250 * time.Millisecond
	// maxAttempts bounds the addresses of a name that are tried.
	maxAttempts = 6
)

// Dialer makes connections. It is given addresses, never names.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

var errLimit = errors.New("too many connections")

// attempt is the end of one.
type attempt struct {
	conn net.Conn
	addr netip.Addr
	err  error
}

// dial connects to the first of the addresses that answers. The caller owes
// leaveTo for the address of the result. It returns when all attempts have ended.
func (e *Exit) dial(ctx context.Context, network cell.Network, addrs []netip.Addr, port uint16) (net.Conn, netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan attempt)
	running := 0
	var best attempt
	fail := func(err error) {
		if best.err == nil || errors.Is(best.err, errLimit) {
			best.err = err
		}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		if len(addrs) == 0 && running == 0 {
			return best.conn, best.addr, best.err
		}
		var start <-chan time.Time
		if len(addrs) > 0 {
			start = next.C
		}
		select {
		case <-start:
			a := addrs[0]
			addrs = addrs[1:]
			if !e.gate.enterTo(a) {
				fail(errLimit)
				next.Reset(0)
				continue
			}
			running++
			go func() {
				c, err := e.cfg.Dialer.DialContext(ctx, networkName(network), netip.AddrPortFrom(a, port).String())
				if err != nil {
					e.gate.leaveTo(a)
				}
				ended <- attempt{c, a, err}
			}()
			next.Reset(stagger)
		case a := <-ended:
			running--
			switch {
			case a.err != nil:
				if best.conn == nil {
					fail(a.err)
				}
				next.Reset(0)
			case best.conn != nil: // too late
				a.conn.Close()
				e.gate.leaveTo(a.addr)
			default:
				best, addrs = a, nil
				cancel()
			}
		}
	}
}

// interleave puts the families in turn, IPv6 first, and cuts the list.
func interleave(addrs []netip.Addr) []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for len(v4)+len(v6) > 0 && len(out) < maxAttempts {
		if len(v6) > 0 {
			out, v6 = append(out, v6[0]), v6[1:]
		}
		if len(v4) > 0 {
			out, v4 = append(out, v4[0]), v4[1:]
		}
	}
	return out
}

func networkName(n cell.Network) string {
	if n == cell.UDP {
		return "udp"
	}
	return "tcp"
}
