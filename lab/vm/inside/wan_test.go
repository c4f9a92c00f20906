package inside

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/mesh/kernel"
)

// TestWAN boots routers that have neither a WAN interface nor a default route nor a
// resolver. The WAN of n0 comes, by which a peer of its configuration can be reached;
// it goes, and comes with another address. The agents are the same processes, the
// link over the radio does not lose a ping for long, and both reach the peer whenever
// there is a WAN.
//
//	n1 ~ ~ n0 ─ ─ WAN ─ ─ n2
func TestWAN(t *testing.T) {
	require(t)
	radios := open(t, 3)
	for i, mask := range []uint64{1, 1, 2} {
		if err := radios[i].SetGroups(mask); err != nil {
			t.Fatal(err)
		}
	}
	// The far end has its name and address before it has a cable.
	const far = "203.0.113.1"
	if err := address(radios[2].Namespace, "lo", far); err != nil {
		t.Fatal(err)
	}
	agents := settle(t, kernel.RadioMesh, radios[1:], func(int) []string { return nil })
	id, err := identity.Load(filepath.Join(agents[1].dir, "identity.key"))
	if err != nil {
		t.Fatal(err)
	}
	agents = append(settle(t, kernel.RadioMesh, radios[:1], func(int) []string {
		return []string{"config peer 'far'", "option node '" + id.NodeID().String() + "'", "list address '" + far + ":18245'"}
	}), agents...)
	begin := time.Now()
	start(t, agents...)
	reach(t, begin, agents[0], agents[1])
	measured(t, "without a WAN, start to first ping over the radio", time.Since(begin).Seconds(), "s")

	silence, end := watch(t, agents[1], agents[0])
	for i, wan := range []string{"198.51.100.2", "198.51.100.77"} {
		time.Sleep(30 * time.Second)
		if up := links(t, agents[0]); up != 1 {
			t.Errorf("%d links without a WAN", up)
		}
		if err := connect(radios[0], radios[2], wan); err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		reach(t, begin, agents[0], agents[2])
		measured(t, fmt.Sprintf("WAN %d to first ping of the peer behind it", i+1), time.Since(begin).Seconds(), "s")
		reach(t, begin, agents[1], agents[2])
		time.Sleep(30 * time.Second)
		if err := disconnect(radios[0]); err != nil {
			t.Fatal(err)
		}
		if !until(patience, func() bool { return links(t, agents[0]) == 1 }) {
			t.Errorf("the link to the peer is up without a WAN")
		}
		reach(t, time.Now(), agents[0], agents[1])
	}
	end()
	measured(t, "WAN came and went twice: longest silence on the radio's link", silence().Seconds(), "s")
	if silence() > 5*time.Second {
		t.Errorf("the link over the radio was silent for %v", silence())
	}
	stop(t, agents)
}

// links counts those of an agent that are up.
func links(t *testing.T, a *Agent) (up int) {
	t.Helper()
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Neighbours {
		if n.State == "up" {
			up++
		}
	}
	return up
}

// wanIfname is the WAN of a router, and its other end.
const wanIfname = "wan"

// connect gives a router a WAN with an address and a default route, to another.
func connect(r, isp *Radio, wan string) error {
	const gateway = "198.51.100.1"
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: wanIfname, PeerNamespace: netlink.NsFd(isp.Fd())}
	veth.Name, veth.Namespace = wanIfname, netlink.NsFd(r.Fd())
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := address(isp.Namespace, wanIfname, gateway); err != nil {
		return err
	}
	if err := address(r.Namespace, wanIfname, wan); err != nil {
		return err
	}
	h, err := r.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	return h.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
}

// disconnect takes the WAN of a router away.
func disconnect(r *Radio) error {
	h, err := r.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(wanIfname)
	if err != nil {
		return err
	}
	return h.LinkDel(link)
}

// watch pings every 200 ms until end is called; silence is the longest time without
// an answer.
func watch(t *testing.T, from, to *Agent) (silence func() time.Duration, end func()) {
	t.Helper()
	p, err := lab.NewPinger(from.Radio.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var worst time.Duration
	go func() {
		defer close(ended)
		defer p.Close()
		for last := time.Now(); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			if ping(ctx, p, to.Address) == nil {
				last = time.Now()
			}
			if ctx.Err() == nil {
				worst = max(worst, time.Since(last))
			}
		}
	}()
	end = func() { cancel(); <-ended }
	t.Cleanup(end)
	return func() time.Duration { return worst }, end
}

func ping(ctx context.Context, p *lab.Pinger, to netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := p.Ping(ctx, to)
	return err
}
