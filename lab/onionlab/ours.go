package onionlab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// NodeCommand is the argument with which this program runs Main.
const NodeCommand = "onion-node"

// ourRelays are five relays and an exit, as in the table of what must hold.
const ourRelays = 6

const socksPort = 9050

// Ours is our onion, nodes alone: what the mesh does is plain TCP here.
type Ours struct {
	world    *World
	size     int // relays
	relays   []*process
	client   *process
	out      *bufio.Reader // of the client
	services bool
	host     *process // of services
	hostOut  *bufio.Reader
	visits   int
}

// NewOurs starts the relays.
func NewOurs(_ context.Context, w *World) (Onion, error) {
	o := &Ours{world: w, size: ourRelays}
	return o, o.startRelays()
}

// NewOurServices starts as many relays as tor's network has, each with its part of the
// hash table, and the host.
func NewOurServices(_ context.Context, w *World) (Services, error) {
	o := &Ours{world: w, size: authorities + torExits, services: true}
	if err := o.startRelays(); err != nil {
		return nil, err
	}
	var err error
	o.host, o.hostOut, err = o.startAsked(nodeConfig{Place: host})
	if err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

func (o *Ours) startRelays() error {
	for place := first; place < first+o.size; place++ {
		p, err := o.start(nodeConfig{Place: place, Relay: true, Exit: place == first+o.size-1}, nil)
		if err != nil {
			o.Close()
			return err
		}
		o.relays = append(o.relays, p)
	}
	return nil
}

// places are those of the nodes.
func (o *Ours) places() []int {
	list := []int{Client}
	for p := first; p < first+o.size; p++ {
		list = append(list, p)
	}
	if o.services {
		list = append(list, host)
	}
	return list
}

// Name implements Onion.
func (o *Ours) Name() string { return "GlobalNet" }

func (o *Ours) start(c nodeConfig, out io.Writer) (*process, error) {
	c.Addrs, c.Target, c.Table = make(map[int]netip.Addr), o.world.target(), o.services
	for _, place := range o.places() { // all have links with all
		c.Addrs[place] = o.world.Addr(place)
		if place != c.Place {
			c.Neighbours = append(c.Neighbours, place)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, NodeCommand)
	cmd.Stdout = out
	p, err := o.world.spawn(c.Place, cmd, filepath.Join(o.world.dir, fmt.Sprintf("node%d.log", c.Place)))
	if err != nil {
		return nil, err
	}
	if _, err := p.stdin.Write(append(text, '\n')); err != nil {
		stop(p)
		return nil, fmt.Errorf("configuring node %d: %w", c.Place, err)
	}
	return p, nil
}

// startAsked starts a node whose answers are read.
func (o *Ours) startAsked(c nodeConfig) (*process, *bufio.Reader, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	p, err := o.start(c, w)
	return p, bufio.NewReader(r), err
}

// Connect implements Onion.
func (o *Ours) Connect() (at netip.AddrPort, err error) {
	stop(o.client)
	o.client = nil
	at = netip.AddrPortFrom(o.world.Addr(Client), socksPort)
	o.client, o.out, err = o.startAsked(nodeConfig{Place: Client, SOCKS: at})
	return at, err
}

// ask has a node do something and returns the second word of its answer.
func ask(p *process, out *bufio.Reader, what string) (string, error) {
	if _, err := io.WriteString(p.stdin, what+"\n"); err != nil {
		return "", err
	}
	text, err := out.ReadString('\n')
	if err != nil {
		return "", err
	}
	verb, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if verb == "error" {
		return "", errors.New(rest)
	}
	return rest, nil
}

// Build implements Onion.
func (o *Ours) Build(context.Context) (time.Duration, error) {
	text, err := ask(o.client, o.out, "build")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(n), err
}

// Offer implements Services.
func (o *Ours) Offer(context.Context) (string, error) { return ask(o.host, o.hostOut, "offer") }

// Fresh implements Services: isolations have their own descriptors.
func (o *Ours) Fresh(_ context.Context, cached bool) (string, error) {
	if cached {
		_, err := ask(o.client, o.out, "part")
		return fmt.Sprintf("visit%d", o.visits), err
	}
	o.visits++
	return fmt.Sprintf("visit%d", o.visits), nil
}

// ClientPid implements Onion.
func (o *Ours) ClientPid() int { return o.client.pid() }

// RelayPids implements Onion.
func (o *Ours) RelayPids() []int { return pids(o.relays) }

func pids(all []*process) (list []int) {
	for _, p := range all {
		list = append(list, p.pid())
	}
	return list
}

// Close implements Onion.
func (o *Ours) Close() { stop(append(o.relays, o.client, o.host)...) }
