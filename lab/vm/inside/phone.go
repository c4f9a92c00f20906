package inside

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab/netns"
)

// The LAN of a router.
const (
	lanIfname = "br-lan"
	lanRouter = "192.168.77.1"
	lanPhone  = "192.168.77.2"
)

// Phone is a client in the LAN of a router. It has no software of ours.
type Phone struct{ *netns.Namespace }

// NewPhone joins a phone to the namespace of a radio, which then is a router.
func NewPhone(r *Radio) (*Phone, error) {
	ns, err := netns.New(netns.Config{Name: "phone"})
	if err != nil {
		return nil, err
	}
	p := &Phone{ns}
	if err := p.plug(r); err != nil {
		ns.Close()
		return nil, fmt.Errorf("joining a phone to %s: %w", r.Name, err)
	}
	return p, nil
}

func (p *Phone) plug(r *Radio) error {
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "wlan", PeerNamespace: netlink.NsFd(p.Fd())}
	veth.Name, veth.Namespace = lanIfname, netlink.NsFd(r.Fd())
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := address(r.Namespace, lanIfname, lanRouter); err != nil {
		return err
	}
	if err := address(p.Namespace, "wlan", lanPhone); err != nil {
		return err
	}
	h, err := p.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	return h.RouteAdd(&netlink.Route{Gw: net.ParseIP(lanRouter)})
}

// address gives an interface an address and brings it up.
func address(n *netns.Namespace, ifname, text string) error {
	h, err := n.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(text + "/24")
	if err != nil {
		return err
	}
	return errors.Join(h.AddrAdd(link, addr), h.LinkSetUp(link))
}

// dial dials from the phone.
func (p *Phone) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = p.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Get opens a page as a browser does: a question to the router's resolver, a
// connection to the address that it answers.
func (p *Phone) Get(ctx context.Context, host string) (body string, addr netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return p.dial(ctx, network, lanRouter+":53")
	}}
	addrs, err := resolver.LookupNetIP(ctx, "ip4", host+".")
	if err != nil {
		return "", addr, err
	}
	c, err := p.dial(ctx, "tcp", netip.AddrPortFrom(addrs[0].Unmap(), 80).String())
	if err != nil {
		return "", addr, err
	}
	defer c.Close()
	body, err = fetch(ctx, c, host)
	return body, addrs[0].Unmap(), err
}

// fetch asks for the page of a host on a connection.
func fetch(ctx context.Context, c net.Conn, host string) (string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	if err := req.Write(c); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusOK {
		return "", errors.Join(err, errors.New(resp.Status))
	}
	return string(body), err
}
