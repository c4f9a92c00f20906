package kernel

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	wireguard "golang.zx2c4.com/wireguard/device"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
)

// wireguard-go keeps each packet in a buffer of 64 KiB, however short it is, and
// reads and writes as many at a time as a batch has. The batch of the fast mode is
// what the kernel puts together at most; that of the small mode keeps the idle cost
// of a neighbour at half a megabyte.
const (
	fastBatch     = 64
	fastInFlight  = 256
	smallBatch    = 8
	smallInFlight = 64
)

// device is one WireGuard interface in this process: a TUN, a UDP socket, and
// wireguard-go between them.
type device struct {
	cfg  mesh.LinkConfig
	tun  *tunDevice
	bind *bind
	wg   *wireguard.Device

	began time.Time // when the latest handshake was begun by SetLink

	// The state of reading the latest handshake, see stats.
	handshake     time.Time
	handshakeSeen uint32    // bind.handshakes at the last reading that is final
	readUntil     time.Time // after this, a handshake message was in vain
	readFor       uint32    // bind.handshakes that readUntil belongs to
}

func (k *Kernel) setUserspace(l mesh.LinkConfig) error {
	if d := k.devices[l.Name]; d != nil {
		return k.changeUserspace(d, l)
	}
	if err := k.removeStale(l.Name); err != nil {
		return err
	}
	batch, f := fastBatch, newFlow(fastInFlight)
	if k.cfg.SmallMemory {
		batch, f = smallBatch, newFlow(smallInFlight)
	}
	t, err := openTUN(l.Name, l.MTU, batch, f)
	if err != nil {
		return err
	}
	link, err := rtnl.LinkByName(l.Name)
	if err == nil {
		err = k.configureInterface(link, l)
	}
	if err != nil {
		t.Close()
		return err
	}
	d := &device{cfg: l, tun: t, bind: newBind(batch, f)}
	d.wg = wireguard.NewDevice(t, d.bind, wgLogger(k.log, l.Name))
	var conf wgConfig
	conf.hex("private_key", l.PrivateKey[:])
	conf.set("listen_port", strconv.Itoa(int(l.ListenPort)))
	conf.peer(l)
	if err := conf.apply(d.wg); err != nil {
		d.close()
		return err
	}
	if err := d.wg.Up(); err != nil {
		d.close()
		return fmt.Errorf("listening on UDP port %d: %w", l.ListenPort, err)
	}
	k.devices[l.Name] = d
	if l.Handshake {
		return d.beginHandshake(true)
	}
	return nil
}

// removeStale removes an interface of the name that is not one of our devices.
func (k *Kernel) removeStale(name string) error {
	link, err := linkByName(name)
	if err != nil || link == nil {
		return err
	}
	if err := link.Delete(); err != nil && !gone(err) {
		return fmt.Errorf("removing the interface that an earlier run left: %w", err)
	}
	return nil
}

// changeUserspace moves a device to a new configuration. The interface stays, and
// with it its routes; the session stays unless a key changes.
func (k *Kernel) changeUserspace(d *device, l mesh.LinkConfig) error {
	old := d.cfg
	link, err := rtnl.LinkByName(l.Name)
	if err != nil {
		// Somebody took the interface away: begin afresh.
		d.close()
		delete(k.devices, l.Name)
		return k.setUserspace(l)
	}
	if err := k.configureInterface(link, l); err != nil {
		return err
	}
	d.tun.setMTU(l.MTU)
	var conf wgConfig
	if l.PrivateKey != old.PrivateKey {
		conf.hex("private_key", l.PrivateKey[:])
	}
	if l.ListenPort != old.ListenPort {
		conf.set("listen_port", strconv.Itoa(int(l.ListenPort)))
	}
	// A preshared key is new when the two have signalled anew, perhaps because one of
	// them lost the session. The side that begins makes a new one; the other keeps
	// what it has until then.
	newPSK := l.PresharedKey != old.PresharedKey
	newPeer := l.PeerKey != old.PeerKey || l.PrivateKey != old.PrivateKey || newPSK && l.Handshake
	if newPSK && !newPeer {
		conf.hex("public_key", l.PeerKey[:])
		conf.set("update_only", "true")
		conf.hex("preshared_key", l.PresharedKey[:])
	}
	switch {
	case newPeer:
		conf.peer(l)
	case l.Endpoint != old.Endpoint && l.Endpoint.IsValid() && (l.Handshake || d.hasSession()):
		conf.hex("public_key", l.PeerKey[:])
		conf.set("update_only", "true")
		conf.set("endpoint", l.Endpoint.String())
	}
	d.cfg = l
	if err := conf.apply(d.wg); err != nil {
		// What was applied is not known: the next call sets everything.
		d.cfg = mesh.LinkConfig{}
		return err
	}
	moved := l.Endpoint != old.Endpoint || l.ListenPort != old.ListenPort
	if peer := d.wg.LookupPeer(l.PeerKey); peer != nil && moved && !newPeer && d.hasSession() {
		// One packet opens the new path, and tells the neighbour that we moved.
		peer.SendKeepalive()
	}
	if l.Handshake {
		return d.beginHandshake(newPeer)
	}
	return nil
}

// retryHandshake is the least time between two handshakes begun by SetLink: the
// neighbour's answer to the first must have had time to come back.
const retryHandshake = 250 * time.Millisecond

// beginHandshake sends a handshake initiation now, unless there is a session.
// WireGuard itself waits five seconds between two; making the peer anew resets that.
func (d *device) beginHandshake(newPeer bool) error {
	if !newPeer {
		if time.Since(d.began) < retryHandshake || !d.readHandshake().IsZero() {
			return nil
		}
		var conf wgConfig
		conf.peer(d.cfg)
		if err := conf.apply(d.wg); err != nil {
			return err
		}
	}
	d.began = time.Now()
	if peer := d.wg.LookupPeer(d.cfg.PeerKey); peer != nil {
		// Its error is that of sending one packet, which may be lost as well;
		// WireGuard's timer tries again.
		_ = peer.SendHandshakeInitiation(false)
	}
	return nil
}

// hasSession tells whether the latest handshake is young enough to send with.
func (d *device) hasSession() bool {
	t := d.readHandshake()
	return !t.IsZero() && time.Since(t) < wireguard.RekeyAfterTime
}

// close ends the device; its interface vanishes with the TUN's last descriptor.
func (d *device) close() {
	d.wg.Close()
	d.tun.Close()
}

// handshakePatience is how long a handshake message may take to become a session.
const handshakePatience = 10 * time.Second

// stats reads the counters. The bytes come from our own bind and TUN; only the
// time of the latest handshake must be asked of wireguard-go, as text, so that is
// done only for a while after a handshake message passed.
func (d *device) stats() mesh.LinkStats {
	s := mesh.LinkStats{
		RxBytes: d.tun.received.Load(),
		TxBytes: d.bind.sent.Load(),
	}
	if ep := d.bind.latest.Load(); ep != nil {
		s.Endpoint = ep.addrPort()
	} else {
		s.Endpoint = d.cfg.Endpoint
	}
	if n := d.bind.handshakes.Load(); n != d.handshakeSeen {
		now := time.Now()
		if n != d.readFor {
			d.readFor, d.readUntil = n, now.Add(handshakePatience)
		}
		if t := d.readHandshake(); t != d.handshake {
			d.handshake, d.handshakeSeen = t, n
		} else if now.After(d.readUntil) {
			d.handshakeSeen = n
		}
	}
	s.LastHandshake = d.handshake
	return s
}

// readHandshake asks wireguard-go for the time of the latest handshake.
func (d *device) readHandshake() time.Time {
	var buf bytes.Buffer
	if err := d.wg.IpcGetOperation(&buf); err != nil {
		return time.Time{}
	}
	var sec, nsec int64
	for line := range bytes.Lines(buf.Bytes()) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "last_handshake_time_sec":
			sec, _ = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	clear(buf.Bytes()) // it held our private key
	if sec == 0 && nsec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, nsec)
}

// wgConfig collects lines of WireGuard's configuration protocol.
type wgConfig struct{ buf bytes.Buffer }

func (c *wgConfig) set(key, value string) {
	c.buf.WriteString(key)
	c.buf.WriteByte('=')
	c.buf.WriteString(value)
	c.buf.WriteByte('\n')
}

func (c *wgConfig) hex(key string, value []byte) { c.set(key, hex.EncodeToString(value)) }

// peer makes l's peer the only one, without a session. The side that does not begin
// gets no endpoint: the first authenticated packet tells it. Else both would begin,
// for any packet on the interface does that; two handshakes that cross undo each
// other, and the next is due only after five seconds.
func (c *wgConfig) peer(l mesh.LinkConfig) {
	c.set("replace_peers", "true")
	c.hex("public_key", l.PeerKey[:])
	c.hex("preshared_key", l.PresharedKey[:])
	if l.Endpoint.IsValid() && l.Handshake {
		c.set("endpoint", l.Endpoint.String())
	}
	c.set("replace_allowed_ips", "true")
	c.set("allowed_ip", "0.0.0.0/0")
	c.set("allowed_ip", "::/0")
}

func (c *wgConfig) apply(d *wireguard.Device) error {
	if c.buf.Len() == 0 {
		return nil
	}
	err := d.IpcSetOperation(&c.buf)
	if err != nil {
		return fmt.Errorf("configuring WireGuard: %w", err)
	}
	return nil
}

// wgLogger passes wireguard-go's messages on. They name the peer by the start of
// its key and hold no secrets; what is verbose there happens per handshake.
func wgLogger(log *slog.Logger, ifname string) *wireguard.Logger {
	l := log.With("ifname", ifname)
	return &wireguard.Logger{
		Verbosef: wireguard.DiscardLogf,
		Errorf: func(format string, args ...any) {
			l.Debug("wireguard", "msg", fmt.Sprintf(format, args...))
		},
	}
}
