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
	world  *World
	relays []*process
	client *process
	out    *bufio.Reader
}

// NewOurs starts the relays.
func NewOurs(_ context.Context, w *World) (Onion, error) {
	o := &Ours{world: w}
	for place := first; place < first+ourRelays; place++ {
		p, err := o.start(nodeConfig{Place: place, Relay: true, Exit: place == first+ourRelays-1, Neighbours: others(place)}, nil)
		if err != nil {
			o.Close()
			return nil, err
		}
		o.relays = append(o.relays, p)
	}
	return o, nil
}

// others are the relays; all have links with all.
func others(place int) (list []int) {
	for p := first; p < first+ourRelays; p++ {
		if p != place {
			list = append(list, p)
		}
	}
	if place != Client {
		list = append(list, Client)
	}
	return list
}

// Name implements Onion.
func (o *Ours) Name() string { return "GlobalNet" }

func (o *Ours) start(c nodeConfig, out io.Writer) (*process, error) {
	c.Addrs = map[int]netip.Addr{Client: o.world.Addr(Client)}
	for place := first; place < first+ourRelays; place++ {
		c.Addrs[place] = o.world.Addr(place)
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

// Connect implements Onion.
func (o *Ours) Connect() (netip.AddrPort, error) {
	stop(o.client)
	o.client = nil
	r, w, err := os.Pipe()
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer w.Close()
	o.out = bufio.NewReader(r)
	at := netip.AddrPortFrom(o.world.Addr(Client), socksPort)
	o.client, err = o.start(nodeConfig{Place: Client, SOCKS: at, Target: o.world.target(), Neighbours: others(Client)}, w)
	return at, err
}

// Build implements Onion.
func (o *Ours) Build(context.Context) (time.Duration, error) {
	if _, err := io.WriteString(o.client.stdin, "build\n"); err != nil {
		return 0, err
	}
	text, err := o.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	verb, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if verb != "built" {
		return 0, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	return time.Duration(n), err
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
func (o *Ours) Close() { stop(append(o.relays, o.client)...) }
