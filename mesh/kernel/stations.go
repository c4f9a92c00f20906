package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// mlmeGroup is the multicast group in which nl80211 tells of stations.
const mlmeGroup = "mlme"

// Stations lists the stations that a radio hears, for the metric of its links. It
// is empty for an interface that is no radio, and without error where the kernel
// has no 802.11 at all.
func (k *Kernel) Stations(ctx context.Context, ifname string) ([]Station, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := stations(ifname)
	if err != nil {
		return nil, fmt.Errorf("listing stations of %s: %w", ifname, explain(err))
	}
	return list, nil
}

func stations(ifname string) ([]Station, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	c, family, err := dialWireless()
	if c == nil {
		return nil, err
	}
	defer c.Close()
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.NL80211_ATTR_IFINDEX, uint32(ifi.Index))
	data, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	req := genetlink.Message{Header: genetlink.Header{Command: unix.NL80211_CMD_GET_STATION}, Data: data}
	msgs, err := c.Execute(req, family.ID, netlink.Request|netlink.Dump)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
		return nil, nil // no radio
	}
	if err != nil {
		return nil, err
	}
	var list []Station
	for _, m := range msgs {
		if m.Header.Command != unix.NL80211_CMD_NEW_STATION || len(list) == maxStations {
			continue
		}
		_, s, err := parseStation(m.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// dialWireless opens nl80211; nil without error means that the kernel has none.
func dialWireless() (*genetlink.Conn, genetlink.Family, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, genetlink.Family{}, fmt.Errorf("opening generic netlink: %w", err)
	}
	f, err := c.GetFamily(unix.NL80211_GENL_NAME)
	if err != nil {
		c.Close()
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, f, err
	}
	return c, f, nil
}

// watchStations begins to watch stations come and go, unless it has. It is tried
// again when an interface appears: the first radio's driver brings nl80211.
func (w *watcher) watchStations() {
	if w.wireless != nil {
		return
	}
	c, f, err := dialWireless()
	if err == nil && c != nil {
		err = errors.New("nl80211 has no group " + mlmeGroup)
		for _, g := range f.Groups {
			if g.Name == mlmeGroup {
				err = c.JoinGroup(g.ID)
			}
		}
	}
	if err != nil && !w.warned {
		w.warned = true
		w.log.Warn("new stations of radios are not seen", "err", err)
	}
	if c == nil {
		return
	}
	w.wireless = c
	w.wg.Add(1)
	go w.readStations(c)
}

func (w *watcher) readStations(c *genetlink.Conn) {
	defer w.wg.Done()
	for {
		msgs, _, err := c.Receive()
		if err != nil {
			select {
			case <-w.done:
				return
			default:
			}
			if !errors.Is(err, unix.ENOBUFS) {
				w.log.Error("watching stations ended", "err", err)
				return
			}
			continue // the beacons find who was missed
		}
		for _, m := range msgs {
			if change, ok := stationChange(m); ok && !w.send(change) {
				return
			}
		}
	}
}

func stationChange(m genetlink.Message) (mesh.Change, bool) {
	var c mesh.Change
	switch m.Header.Command {
	case unix.NL80211_CMD_NEW_STATION:
		c.Kind = mesh.StationJoined
	case unix.NL80211_CMD_DEL_STATION:
		c.Kind = mesh.StationLeft
	default:
		return c, false
	}
	index, _, err := parseStation(m.Data)
	if err != nil {
		return c, false
	}
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return c, false
	}
	c.Ifname = ifi.Name
	return c, true
}
