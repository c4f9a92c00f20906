package onionlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab/netns"
)

// World is where the processes are: all on one loopback, or each in a namespace of
// its own with a link to all others.
type World struct {
	dir    string
	delay  time.Duration
	spaces []*netns.Namespace // none on loopback
	taps   []*os.File
	lines  []*line
	done   sync.WaitGroup
}

// NewWorld makes a World. Packets between all places but the server's take delay, one
// way; without delay the place is the loopback of this process.
func NewWorld(delay time.Duration) (w *World, err error) {
	if !netns.Inside() {
		return nil, errors.New("making a world for onions: not inside a sandbox")
	}
	w = &World{delay: delay}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "gnonion-"); err != nil {
		return nil, err
	}
	if delay == 0 {
		return w, raise("lo", "")
	}
	for i := range places {
		if err := w.addSpace(i); err != nil {
			return nil, err
		}
	}
	for i := range w.taps {
		w.done.Go(func() { w.read(i) })
		w.done.Go(func() { w.lines[i].write(w.taps[i]) })
	}
	return w, nil
}

// Close takes the World down.
func (w *World) Close() {
	for i, t := range w.taps {
		t.Close()
		w.lines[i].close()
	}
	w.done.Wait()
	for _, n := range w.spaces {
		n.Close()
	}
	os.RemoveAll(w.dir)
}

// Addr is the address of a place.
func (w *World) Addr(place int) netip.Addr {
	if w.delay == 0 {
		return netip.AddrFrom4([4]byte{127, 0, 0, byte(10 + place)})
	}
	return netip.AddrFrom4([4]byte{10, 9, 0, byte(10 + place)})
}

// Do calls f where sockets belong to a place.
func (w *World) Do(place int, f func() error) error {
	if w.delay == 0 {
		return f()
	}
	return w.spaces[place].Do(f)
}

// Listen opens a TCP listener at a place.
func (w *World) Listen(place int, port uint16) (l net.Listener, err error) {
	err = w.Do(place, func() error {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(context.Background(), "tcp4", netip.AddrPortFrom(w.Addr(place), port).String())
		return err
	})
	return l, err
}

func (w *World) start(place int, cmd *exec.Cmd) error {
	if w.delay == 0 {
		return cmd.Start()
	}
	cmd.Dir = "/"
	return w.spaces[place].Start(cmd)
}

// mtu leaves room for what a real link would add.
const mtu = 1420

func (w *World) addSpace(place int) error {
	n, err := netns.New(netns.Config{Name: fmt.Sprintf("onion%d", place), TmpDir: w.dir})
	if err != nil {
		return err
	}
	w.spaces = append(w.spaces, n)
	tap, err := n.OpenTUN("link")
	if err != nil {
		return err
	}
	w.taps = append(w.taps, tap)
	w.lines = append(w.lines, newLine())
	return n.Do(func() error { return raise("link", w.Addr(place).String()+"/24") })
}

// raise brings an interface of this thread's namespace up.
func raise(ifname, addr string) error {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("interface %s: %w", ifname, err)
	}
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("address of %s: %w", ifname, err)
		}
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("MTU of %s: %w", ifname, err)
		}
		if err := netlink.LinkSetTxQLen(link, 10000); err != nil {
			return fmt.Errorf("queue of %s: %w", ifname, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing %s up: %w", ifname, err)
	}
	return nil
}

// read passes on what a place sends.
func (w *World) read(from int) {
	for {
		p := packets.Get().(*[mtu]byte)
		n, err := w.taps[from].Read(p[:])
		if err != nil {
			return
		}
		if n < 20 || p[0]>>4 != 4 {
			packets.Put(p)
			continue
		}
		to := int(p[19]) - 10
		if [3]byte(p[16:19]) != [3]byte{10, 9, 0} || to < 0 || to >= len(w.lines) {
			packets.Put(p)
			continue
		}
		due := time.Now()
		if from != Server && to != Server {
			due = due.Add(w.delay)
		}
		w.lines[to].send(packet{p, n, due})
	}
}

var packets = sync.Pool{New: func() any { return new([mtu]byte) }}

type packet struct {
	bytes *[mtu]byte
	n     int
	due   time.Time
}

// line is what is on the way to one place: to each in the order in which it will
// arrive, as all but the server's take the same time.
type line struct {
	now, late chan packet
	stop      chan struct{}
}

// onTheWay bounds packets of a line: 20 ms at 400 MB/s, and then senders lose.
const onTheWay = 8192

func newLine() *line {
	return &line{now: make(chan packet, onTheWay), late: make(chan packet, onTheWay), stop: make(chan struct{})}
}

func (l *line) close() { close(l.stop) }

func (l *line) send(p packet) {
	to := l.late
	if time.Until(p.due) <= 0 {
		to = l.now
	}
	select {
	case to <- p:
	default:
		packets.Put(p.bytes)
	}
}

// write delivers what is due until the line is closed.
func (l *line) write(tap *os.File) {
	deliver := func(p packet) {
		tap.Write(p.bytes[:p.n]) // an interface that is full drops, as a link does
		packets.Put(p.bytes)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var next packet
	var waiting <-chan time.Time
	late := l.late
	for {
		select {
		case <-l.stop:
			return
		case p := <-l.now:
			deliver(p)
		case p := <-late:
			if d := time.Until(p.due); d > 0 {
				next, late = p, nil
				timer.Reset(d)
				waiting = timer.C
				continue
			}
			deliver(p)
		case <-waiting:
			deliver(next)
			late, waiting = l.late, nil
		}
	}
}
