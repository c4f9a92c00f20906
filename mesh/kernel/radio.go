package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh/kernel/air"
	"globalnet/mesh/kernel/rtnl"
)

// RadioMode is how radios of a mesh talk.
type RadioMode string

// Values of RadioMode, as UCI calls them.
const (
	RadioMesh  RadioMode = "mesh"  // 802.11s, without its own routing
	RadioAdHoc RadioMode = "adhoc" // IBSS
)

// Radio is how an interface is to be on the air.
type Radio struct {
	Ifname    string
	Mode      RadioMode
	Frequency int              // MHz
	ID        string           // of the mesh or the cell; empty: air.MeshID
	BSSID     net.HardwareAddr // of the cell; nil: air.CellBSSID
}

func (r Radio) id() string {
	if r.ID == "" {
		return air.MeshID
	}
	return r.ID
}

func (r Radio) check() error {
	switch {
	case r.Mode != RadioMesh && r.Mode != RadioAdHoc:
		return fmt.Errorf("mode %q: want %s or %s", r.Mode, RadioMesh, RadioAdHoc)
	case r.Frequency < 2400 || r.Frequency > 7200:
		return fmt.Errorf("%d MHz is no frequency of Wi-Fi", r.Frequency)
	case len(r.id()) > 32:
		return fmt.Errorf("a mesh ID of %d bytes: at most 32", len(r.id()))
	case r.BSSID != nil && len(r.BSSID) != 6:
		return fmt.Errorf("%v is no BSSID", r.BSSID)
	}
	return nil
}

// JoinRadio puts a radio's interface into the mesh or the cell and brings it up.
// It has no effect on one that is there already but a moment of silence. Whatever
// else the interface was, it ends.
func JoinRadio(ctx context.Context, r Radio) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("joining on %s: %w", r.Ifname, err)
	}
	if err := r.join(ctx); err != nil {
		return fmt.Errorf("joining on %s: %w", r.Ifname, explainRadio(err))
	}
	return nil
}

func (r Radio) join(ctx context.Context) error {
	w, err := openRadio(ctx, r.Ifname)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.leave(); err != nil {
		return err
	}
	// The type of an interface changes only while it is down.
	if err := w.link.SetDown(); err != nil {
		return err
	}
	typ := uint32(unix.NL80211_IFTYPE_MESH_POINT)
	if r.Mode == RadioAdHoc {
		typ = unix.NL80211_IFTYPE_ADHOC
	}
	err = w.do(unix.NL80211_CMD_SET_INTERFACE, change, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.NL80211_ATTR_IFTYPE, typ)
	})
	if err != nil {
		return fmt.Errorf("making it %s: %w", r.Mode, err)
	}
	if err := w.link.SetUp(); err != nil {
		return err
	}
	if r.Mode == RadioAdHoc {
		return w.joinCell(r)
	}
	return w.joinMesh(r)
}

func (w *wireless) joinCell(r Radio) error {
	bssid := r.BSSID
	if bssid == nil {
		bssid = air.CellBSSID
	}
	err := w.do(unix.NL80211_CMD_JOIN_IBSS, change, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NL80211_ATTR_SSID, []byte(r.id()))
		ae.Uint32(unix.NL80211_ATTR_WIPHY_FREQ, uint32(r.Frequency))
		ae.Flag(unix.NL80211_ATTR_FREQ_FIXED, true)
		ae.Bytes(unix.NL80211_ATTR_MAC, bssid)
	})
	if err != nil {
		return fmt.Errorf("joining the cell: %w", err)
	}
	return nil
}

func (w *wireless) joinMesh(r Radio) error {
	err := w.do(unix.NL80211_CMD_JOIN_MESH, change, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NL80211_ATTR_MESH_ID, []byte(r.id()))
		ae.Uint32(unix.NL80211_ATTR_WIPHY_FREQ, uint32(r.Frequency))
		ae.Nested(unix.NL80211_ATTR_MESH_CONFIG, func(nae *netlink.AttributeEncoder) error {
			// 802.11s routes by itself, which would hide from Babel who is how near.
			nae.Uint8(unix.NL80211_MESHCONF_FORWARDING, 0)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("joining the mesh: %w", err)
	}
	return nil
}

// LeaveRadio takes a radio's interface off the air. One that is in no mesh and no
// cell is only brought down.
func LeaveRadio(ctx context.Context, ifname string) error {
	w, err := openRadio(ctx, ifname)
	if err == nil {
		defer w.close()
		err = errors.Join(w.leave(), w.link.SetDown())
	}
	if err != nil {
		return fmt.Errorf("leaving the air on %s: %w", ifname, explainRadio(err))
	}
	return nil
}

// wireless is nl80211 opened for one interface.
type wireless struct {
	conn   *genetlink.Conn
	family genetlink.Family
	link   *rtnl.Link
}

var errNoRadio = errors.New("not a radio")

func openRadio(ctx context.Context, ifname string) (*wireless, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := linkByName(ifname)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, errors.New("no such interface")
	}
	c, f, err := dialWireless()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("%w: the kernel has no 802.11", errNoRadio)
	}
	w := &wireless{c, f, l}
	// Before anything is touched: other interfaces have nothing to do with nl80211.
	if err := w.do(unix.NL80211_CMD_GET_INTERFACE, netlink.Request, func(*netlink.AttributeEncoder) {}); err != nil {
		w.close()
		return nil, fmt.Errorf("%w: %w", errNoRadio, err)
	}
	return w, nil
}

func (w *wireless) close() { _ = w.conn.Close() }

// leave ends what the interface takes part in. The kernel knows which of the two
// that is, and says of the other that it is not supported.
func (w *wireless) leave() error {
	for _, command := range []uint8{unix.NL80211_CMD_LEAVE_MESH, unix.NL80211_CMD_LEAVE_IBSS} {
		err := w.do(command, change, func(*netlink.AttributeEncoder) {})
		switch {
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ENETDOWN):
		default:
			return err
		}
	}
	return nil
}

// change is a request that is answered with an acknowledgement alone.
const change = netlink.Request | netlink.Acknowledge

// do sends one request about the interface.
func (w *wireless) do(command uint8, flags netlink.HeaderFlags, attributes func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.NativeEndian
	ae.Uint32(unix.NL80211_ATTR_IFINDEX, uint32(w.link.Index))
	attributes(ae)
	data, err := ae.Encode()
	if err != nil {
		return err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command}, Data: data}
	_, err = w.conn.Execute(m, w.family.ID, flags)
	return err
}

// explainRadio adds what the driver means by its error.
func explainRadio(err error) error {
	switch {
	case errors.Is(err, errNoRadio):
		return err
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (the driver does not know this mode, or not beside what else the radio does)", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (another interface of this radio holds it on another channel, such as an access point)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (is the frequency allowed here? iw reg get; iw phy)", err)
	}
	return explain(err)
}
