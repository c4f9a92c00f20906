package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
)

// wgControl configures WireGuard in the kernel. What an interface has is asked of
// the kernel; only what it does not tell is kept here.
type wgControl struct {
	client *wgctrl.Client
	conn   *genetlink.Conn
	family genetlink.Family
	links  map[string]*nativeLink
}

// nativeLink is what SetLink was last told of an interface.
type nativeLink struct {
	cfg   mesh.LinkConfig
	began time.Time // when the latest handshake was begun by SetLink
}

func openControl() (*wgControl, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("opening generic netlink: %w", err)
	}
	f, err := c.GetFamily(unix.WG_GENL_NAME)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("asking for the WireGuard family: %w", err)
	}
	client, err := wgctrl.New()
	if err != nil {
		c.Close()
		return nil, err
	}
	return &wgControl{client: client, conn: c, family: f, links: make(map[string]*nativeLink)}, nil
}

func (c *wgControl) close() error { return errors.Join(c.client.Close(), c.conn.Close()) }

// useNative tells whether the kernel has WireGuard. It is found out by making the
// first interface, since that also loads the module, and never asked again.
func (k *Kernel) useNative(name string) bool {
	if k.decided {
		return k.native
	}
	err := k.openNative(name)
	switch {
	case err == nil:
		k.native = true
		k.log.Info("WireGuard in the kernel")
	case errors.Is(err, unix.EPERM):
		// Nothing is known yet: SetLink will fail on the interface with a word on rights.
		return false
	default:
		k.log.Info("WireGuard in user space, since the kernel has none", "err", err)
	}
	k.decided = true
	return k.native
}

func (k *Kernel) openNative(name string) error {
	link, err := linkByName(name)
	if err != nil {
		return err
	}
	if link == nil || link.Kind != "wireguard" {
		if err := k.removeStale(name); err != nil {
			return err
		}
		if err := rtnl.AddLink(name, "wireguard"); err != nil {
			return err
		}
	}
	k.wg, err = openControl()
	if err != nil {
		_ = k.removeStale(name)
	}
	return err
}

func (k *Kernel) setNative(l mesh.LinkConfig) error {
	link, err := linkByName(l.Name)
	if err != nil {
		return err
	}
	if link != nil && link.Kind != "wireguard" {
		if err := k.removeStale(l.Name); err != nil {
			return err
		}
		link = nil
	}
	if link == nil {
		if err := rtnl.AddLink(l.Name, "wireguard"); err != nil {
			return err
		}
		if link, err = rtnl.LinkByName(l.Name); err != nil {
			return err
		}
		delete(k.wg.links, l.Name)
	}
	n := k.wg.links[l.Name]
	if n == nil {
		n = &nativeLink{}
		k.wg.links[l.Name] = n
	}
	dev, err := k.wg.client.Device(l.Name)
	if err != nil {
		return fmt.Errorf("reading its configuration: %w", err)
	}
	// The socket is made when the interface comes up, or here if it is up.
	err = waitPort(func() error { return k.wg.client.ConfigureDevice(l.Name, deviceChange(dev, l)) })
	if err != nil {
		return fmt.Errorf("setting its keys and port %d: %w", l.ListenPort, err)
	}
	if err := waitPort(func() error { return k.configureInterface(link, l) }); err != nil {
		return err
	}
	if err := k.wg.setPeer(n, dev, l); err != nil {
		return fmt.Errorf("setting its peer: %w", err)
	}
	n.cfg = l
	return nil
}

// waitPort repeats a step while the port is held by the socket that chose it.
func waitPort(step func() error) error {
	for deadline := time.Now().Add(portPatience); ; time.Sleep(2 * time.Millisecond) {
		err := step()
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
	}
}

// deviceChange is what differs in the interface itself.
func deviceChange(dev *wgtypes.Device, l mesh.LinkConfig) wgtypes.Config {
	var c wgtypes.Config
	if key := clamp(l.PrivateKey); dev.PrivateKey != key {
		c.PrivateKey = &key
	}
	if port := int(l.ListenPort); dev.ListenPort != port {
		c.ListenPort = &port
	}
	return c
}

// clamp makes of a private key what the kernel stores and shows of it: the scalar
// of RFC 7748 section 5.
func clamp(private mesh.Secret) wgtypes.Key {
	private[0] &= 248
	private[31] = private[31]&127 | 64
	return wgtypes.Key(private)
}

// setPeer makes l's peer the only one. A peer that stays keeps its session; see
// wgConfig.peer on why only the side that begins is told the endpoint.
func (c *wgControl) setPeer(n *nativeLink, dev *wgtypes.Device, l mesh.LinkConfig) error {
	var peer *wgtypes.Peer
	if len(dev.Peers) == 1 && dev.Peers[0].PublicKey == wgtypes.Key(l.PeerKey) && dev.PrivateKey == clamp(l.PrivateKey) {
		peer = &dev.Peers[0]
	}
	begin := l.Handshake && (peer == nil || peer.PresharedKey != wgtypes.Key(l.PresharedKey) ||
		peer.LastHandshakeTime.IsZero() && time.Since(n.began) >= retryHandshake)
	psk := wgtypes.Key(l.PresharedKey)
	p := wgtypes.PeerConfig{PublicKey: wgtypes.Key(l.PeerKey), PresharedKey: &psk, ReplaceAllowedIPs: true, AllowedIPs: everything}
	switch {
	case peer == nil || begin:
		if err := c.client.ConfigureDevice(l.Name, wgtypes.Config{ReplacePeers: true, Peers: []wgtypes.PeerConfig{p}}); err != nil {
			return err
		}
	case peer.PresharedKey != psk:
		p.UpdateOnly = true
		if err := c.client.ConfigureDevice(l.Name, wgtypes.Config{Peers: []wgtypes.PeerConfig{p}}); err != nil {
			return err
		}
	}
	live := peer != nil && !begin && !peer.LastHandshakeTime.IsZero() && time.Since(peer.LastHandshakeTime) < wireguard.RekeyAfterTime
	if l.Endpoint.IsValid() && (begin || live && l.Endpoint != n.cfg.Endpoint) {
		if err := c.setEndpoint(l.Name, l.PeerKey, l.Endpoint); err != nil {
			return err
		}
	}
	moved := live && (l.Endpoint != n.cfg.Endpoint || l.ListenPort != n.cfg.ListenPort)
	if !begin && !moved {
		return nil
	}
	if begin {
		n.began = time.Now()
	}
	// Switching keepalives on sends one at once, which begins a handshake or, with a
	// session, opens the new path.
	for _, every := range []time.Duration{keepaliveOn, 0} {
		k := wgtypes.PeerConfig{PublicKey: wgtypes.Key(l.PeerKey), UpdateOnly: true, PersistentKeepaliveInterval: &every}
		if err := c.client.ConfigureDevice(l.Name, wgtypes.Config{Peers: []wgtypes.PeerConfig{k}}); err != nil {
			return err
		}
	}
	return nil
}

// keepaliveOn is any interval: it is switched off again at once.
const keepaliveOn = time.Hour

// everything is the allowed IPs of each peer.
var everything = []net.IPNet{
	{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
	{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
}

// nativeStats adds the counters of all interfaces that SetLink made.
func (k *Kernel) nativeStats(stats map[string]mesh.LinkStats) error {
	for name, n := range k.wg.links {
		dev, err := k.wg.client.Device(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // somebody removed it
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, p := range dev.Peers {
			stats[name] = mesh.LinkStats{
				RxBytes:       uint64(p.ReceiveBytes),
				TxBytes:       uint64(p.TransmitBytes),
				LastHandshake: p.LastHandshakeTime,
				Endpoint:      zoned(p.Endpoint, n.cfg.Endpoint),
			}
		}
	}
	return nil
}

// zoned is the endpoint that wgctrl read, with the zone that it does not read: a
// neighbour does not leave the segment of its link.
func zoned(read *net.UDPAddr, configured netip.AddrPort) netip.AddrPort {
	if read == nil {
		return configured
	}
	ap := read.AddrPort()
	a := ap.Addr().Unmap()
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(configured.Addr().Zone())
	}
	return netip.AddrPortFrom(a, ap.Port())
}
