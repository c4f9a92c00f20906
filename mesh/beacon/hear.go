package beacon

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	patience  = 128                   // datagrams refused in a row before a reader pauses
	pause     = 20 * time.Millisecond // then the kernel drops what is too much
	readBytes = maxMessage + 1
)

// read is the goroutine of one socket: it refuses what is too much or makes no
// sense and hands on the rest. It ends when the socket is closed.
func (b *Beacon) read(c *segmentConn) {
	limit := newSourceLimiter()
	buf := make([]byte, readBytes)
	refused := 0
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			b.wait(pause)
			continue
		}
		b.counters.received.Add(1)
		src := from.Addr().Unmap()
		if !limit.allow(time.Now(), src) {
			b.counters.tooFast.Add(1)
			if refused++; refused >= patience {
				refused = 0
				b.wait(pause)
			}
			continue
		}
		refused = 0
		a, err := parseAnnouncement(buf[:n])
		switch {
		case errors.Is(err, errGoodbye): // anyone may say it: only silence counts
			b.counters.goodbyes.Add(1)
			continue
		case errors.Is(err, errVersion):
			b.counters.otherVersion.Add(1)
			continue
		case err != nil:
			b.counters.malformed.Add(1)
			continue
		case a.tag == b.cfg.Tag:
			b.counters.own.Add(1)
			continue
		case !c.plausible(src, a):
			b.counters.badSource.Add(1)
			continue
		}
		if src.IsLinkLocalUnicast() && src.Is6() {
			src = src.WithZone(b.cfg.Ifname)
		}
		select {
		case b.heard <- hearing{src, a}:
		case <-b.done:
			return
		}
	}
}

func (b *Beacon) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.done:
	}
}

// plausible reports whether src is a neighbour's address on this segment and
// among those that the message gives, where it gives any of that family.
func (c *segmentConn) plausible(src netip.Addr, a *announcement) bool {
	src = src.WithZone("")
	if src.Is6() {
		if !src.IsLinkLocalUnicast() {
			return false
		}
	} else if !src.IsLinkLocalUnicast() && !slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(src) }) {
		return false
	}
	ofFamily := false
	for _, addr := range a.addrs {
		if addr == src {
			return true
		}
		ofFamily = ofFamily || addr.Is6() == src.Is6()
	}
	return !ofFamily
}

// note reports what was heard, if it is due, and whether its tag is a new one.
func (b *Beacon) note(known *table, h hearing) (stranger bool) {
	e, knew, report := known.hear(time.Now(), h.from, h.what, func(a *announcement) bool {
		return proofOf(b.cfg.NetworkKey, a.tag) == a.proof
	})
	if report {
		b.counters.sightings.Add(1)
		b.cfg.Seen(Sighting{
			Ifname:      b.cfg.Ifname,
			Addr:        h.from,
			Port:        e.port,
			Tag:         h.what.tag,
			SameNetwork: e.same,
		})
	}
	return !knew
}

// send sends msg on conns, counts it, and reports whether any took it. Only the
// first failure of a row is logged.
func (b *Beacon) send(msg []byte, conns []*segmentConn, count *atomic.Uint64) (sent bool) {
	failing := false
	for _, c := range conns {
		if _, err := c.udp.WriteToUDPAddrPort(msg, c.group); err != nil {
			b.counters.sendErrors.Add(1)
			if !b.failing && !failing {
				b.cfg.Log.Info("sending a beacon", "ifname", b.cfg.Ifname, "err", err)
			}
			failing = true
			continue
		}
		count.Add(1)
		sent = true
	}
	b.failing = failing
	return sent
}

// goodbye tells the caches of other software that the service is gone.
func (b *Beacon) goodbye() {
	if msg, err := appendAnnouncement(nil, &b.self, 0); err == nil {
		for _, c := range b.conns {
			c.udp.WriteToUDPAddrPort(msg, c.group)
		}
	}
}

// warned takes what the library complains of: most of it is what strangers sent.
func (b *Beacon) warned(format string) {
	if b.counters.warnings.Add(1) == 1 {
		b.cfg.Log.Debug("multicast DNS library warned", "ifname", b.cfg.Ifname, "err", format)
	}
}
