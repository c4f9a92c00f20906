package peers

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"globalnet/internal/identity"
	"globalnet/lab"
)

// Babeld is babeld, directly on the wires and without encryption, with its
// default intervals. Each router announces its mesh address as ours do.
type Babeld struct{}

func (Babeld) Name() string { return "babeld" }

func (Babeld) Check() error { return check("babeld") }

// Prepare gives each router its address on the loopback interface.
func (Babeld) Prepare(ctx context.Context, l *lab.Lab) (Mesh, error) {
	program, err := find("babeld")
	if err != nil {
		return nil, err
	}
	d := newDaemons(l, "babeld")
	for _, n := range l.Routers() {
		addr, err := n.Address()
		if err != nil {
			return nil, err
		}
		if err := onLoopback(n, addr); err != nil {
			return nil, err
		}
		if err := n.Namespace().Sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil {
			return nil, err
		}
		d.address[n.Name] = addr
		words := []string{program,
			"-I", filepath.Join(n.Dir(), "babeld.pid"),
			"-S", filepath.Join(n.Dir(), "babeld.state"),
			"-C", "random-id true",
			"-C", fmt.Sprintf("redistribute local ip %s eq 128 allow", identity.MeshPrefix),
			"-C", "redistribute local deny",
		}
		names, err := wires(n)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			words = append(words, "-C", "interface "+name+" type wired")
		}
		d.command[n.Name] = words
	}
	return d, nil
}

// onLoopback adds an address of the host itself.
func onLoopback(n *lab.Node, addr netip.Addr) error {
	h, err := n.Namespace().Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback of %s: %w", n.Name, err)
	}
	a, err := netlink.ParseAddr(addr.String() + "/128")
	if err != nil {
		return err
	}
	if err := h.AddrReplace(lo, a); err != nil {
		return fmt.Errorf("address of %s: %w", n.Name, err)
	}
	return nil
}
