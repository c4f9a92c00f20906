package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// maxPending bounds the changes that wait for the reader; more are folded into one.
const maxPending = 64

// watcher turns netlink notifications into changes. Changes of one kind and
// interface that nobody has taken yet are one change.
type watcher struct {
	log    *slog.Logger
	out    chan mesh.Change
	in     chan mesh.Change
	done   chan struct{}
	wg     sync.WaitGroup
	routes sync.WaitGroup // of readRoute alone
	conn   *netlink.Conn
	once   sync.Once

	warned   bool            // that wireless cannot be had
	wireless *genetlink.Conn // nil without 802.11; readRoute's, and close's after it
}

func newWatcher(log *slog.Logger) (*watcher, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{})
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", explain(err))
	}
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		if err := c.JoinGroup(group); err != nil {
			c.Close()
			return nil, fmt.Errorf("watching interfaces: %w", explain(err))
		}
	}
	w := &watcher{
		log:  log,
		out:  make(chan mesh.Change),
		in:   make(chan mesh.Change),
		done: make(chan struct{}),
		conn: c,
	}
	w.wg.Add(1)
	go w.deliver()
	w.watchStations()
	w.routes.Add(1)
	go w.readRoute()
	return w, nil
}

func (w *watcher) close() {
	w.once.Do(func() {
		close(w.done)
		w.conn.Close()
		w.routes.Wait()
		if w.wireless != nil {
			w.wireless.Close()
		}
		w.wg.Wait()
	})
}

// deliver holds what the reader has not taken yet.
func (w *watcher) deliver() {
	defer w.wg.Done()
	var pending []mesh.Change
	for {
		var out chan mesh.Change
		var next mesh.Change
		if len(pending) > 0 {
			out, next = w.out, pending[0]
		}
		select {
		case <-w.done:
			return
		case c := <-w.in:
			pending = merge(pending, c)
		case out <- next:
			pending = pending[1:]
		}
	}
}

// merge adds a change to those pending, unless it is among them. When there are
// too many, one nameless InterfacesChanged stands for all: the reader then looks
// at every interface.
func merge(pending []mesh.Change, c mesh.Change) []mesh.Change {
	for _, p := range pending {
		if p == c {
			return pending
		}
	}
	if len(pending) >= maxPending {
		pending = pending[:0]
		c = mesh.Change{Kind: mesh.InterfacesChanged}
	}
	return append(pending, c)
}

// send hands a change to deliver; false means that the watcher closes.
func (w *watcher) send(c mesh.Change) bool {
	select {
	case w.in <- c:
		return true
	case <-w.done:
		return false
	}
}

func (w *watcher) readRoute() {
	defer w.routes.Done()
	names := make(map[int32]string)
	for {
		msgs, err := w.conn.Receive()
		if err != nil {
			select {
			case <-w.done:
				return
			default:
			}
			if !errors.Is(err, unix.ENOBUFS) {
				w.log.Error("watching interfaces ended", "err", err)
				return
			}
			// The socket overflowed: something was lost, so everything may have changed.
			if !w.send(mesh.Change{Kind: mesh.InterfacesChanged}) {
				return
			}
			continue
		}
		for _, m := range msgs {
			known := len(names)
			ifname, ok := changedInterface(m, names)
			if len(names) > known {
				w.watchStations()
			}
			if ok && !w.send(mesh.Change{Kind: mesh.InterfacesChanged, Ifname: ifname}) {
				return
			}
		}
	}
}

// changedInterface reads which interface a notification is about; not ok means
// that it is none of the mesh's business. names remembers index and name of
// interfaces, because address notifications carry only the index.
func changedInterface(m netlink.Message, names map[int32]string) (ifname string, ok bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg {
			return "", false
		}
		index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
		ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofIfInfomsg:])
		if err != nil {
			return "", false
		}
		for ad.Next() {
			if ad.Type() == unix.IFLA_IFNAME {
				ifname = ad.String()
			}
		}
		if ad.Err() != nil {
			return "", false
		}
		if m.Header.Type == unix.RTM_DELLINK {
			delete(names, index)
		} else if len(names) < 4096 {
			names[index] = ifname
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return "", false
		}
		index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
		if ifname, ok = names[index]; !ok {
			if i, err := net.InterfaceByIndex(int(index)); err == nil {
				ifname = i.Name
			}
		}
	default:
		return "", false
	}
	return ifname, !strings.HasPrefix(ifname, mesh.LinkPrefix)
}
