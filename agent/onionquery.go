package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/policy"
)

// The methods below are control.Onion: what the owner of the node may see and do.

// Status returns what this node knows of itself in the onion.
func (o *overlay) Status() control.OnionStatus {
	s := o.node.Status(time.Now())
	out := control.OnionStatus{
		Relay: s.Relay, Exit: ports(s.Exit), Relays: s.Relays, Exits: s.Exits,
		Hops: s.Client.Hops, Short: s.Client.Short, Relaxed: []string{}, Ready: s.Client.Ready, Used: s.Client.Used,
		Carried: s.Carried.Circuits, Streams: s.Carried.Streams, Channels: s.Channels,
		Guards: []control.Guard{}, Doors: o.doors.list(),
		Memory: control.Memory{Cells: s.Cells, CellsKilled: s.CellsKilled, Bytes: s.Bytes, BytesKilled: s.BytesKilled},
	}
	for _, rule := range s.Client.Relaxed {
		out.Relaxed = append(out.Relaxed, string(rule))
	}
	for _, g := range s.Guards {
		out.Guards = append(out.Guards, control.Guard{Node: g.Node, Listed: g.Listed, Used: g.Used, Down: g.Down, Resting: g.Resting,
			Circuits: g.Circuits, Failed: g.Failed})
	}
	return out
}

// ports is a policy as people read it: TCP 80,443 UDP 443.
func ports(s policy.Summary) string {
	var parts []string
	for _, p := range []struct {
		name  string
		ports policy.Ports
	}{{"TCP", s.TCP}, {"UDP", s.UDP}} {
		var list []string
		for _, r := range p.ports {
			if r.First == r.Last {
				list = append(list, fmt.Sprint(r.First))
			} else {
				list = append(list, fmt.Sprintf("%d-%d", r.First, r.Last))
			}
		}
		if len(list) > 0 {
			parts = append(parts, p.name+" "+strings.Join(list, ","))
		}
	}
	if !s.IsExit() {
		return ""
	}
	return strings.Join(parts, " ")
}

// Relays lists the relays that this node knows.
func (o *overlay) Relays() []control.Relay {
	relays := o.node.Directory().Relays(time.Now())
	list := make([]control.Relay, len(relays))
	for i, r := range relays {
		list[i] = describe(r)
	}
	return list
}

func describe(r netdir.Relay) control.Relay {
	return control.Relay{Node: r.Node, Sequence: r.Sequence, Exit: ports(r.Exit), Families: len(r.Families), Vouches: len(r.Vouches),
		Known: r.Known, Bandwidth: r.Bandwidth, Tries: r.Tries, Failures: r.Failures}
}

// Circuits lists this node's circuits.
func (o *overlay) Circuits() []control.Circuit {
	all := o.node.Client().Circuits()
	list := make([]control.Circuit, len(all))
	for i, c := range all {
		list[i] = control.Circuit{ID: c.ID, Purpose: string(c.Purpose), Path: c.Path, Age: c.Age, Used: c.Used, Closing: c.Closing,
			Streams: c.Streams, RxBytes: c.Received, TxBytes: c.Sent, RTT: c.RTT}
	}
	return list
}

// CloseCircuit closes a circuit and its streams.
func (o *overlay) CloseCircuit(id uint32) error {
	if o.node.Client().CloseCircuit(id) {
		return nil
	}
	return &control.Error{Code: control.BadRequest, Message: fmt.Sprintf("there is no circuit %d", id), Hint: "`globalnet circuits` lists them"}
}

// NewIdentity has new streams take circuits that nothing was sent through.
func (o *overlay) NewIdentity() { o.node.Client().NewIdentity() }

// Tunnel opens a listener that leads along a path, until ctx ends.
func (o *overlay) Tunnel(ctx context.Context, text string, tell func(control.TunnelEvent)) error {
	if spec, err := path.Parse(text); err == nil && spec.Internet() {
		hops := strings.SplitN(text, ">", 2)[1]
		p := config.Proxy{Name: "tunnel", Path: strings.TrimSpace(hops), Wait: true}
		return asked(o.doors.openProxy(ctx, p, spec.Listen, func(where string) { tell(control.TunnelEvent{Listen: where}) }, func(err error) {
			tell(control.TunnelEvent{Error: err.Error()})
		}))
	}
	t := config.Tunnel{Name: "tunnel", Path: text}
	return asked(o.doors.openTunnel(ctx, t, func(where string) { tell(control.TunnelEvent{Listen: where}) }, func(err error) {
		tell(control.TunnelEvent{Error: err.Error()})
	}))
}

// asked makes an error of what the owner asked for one that the API explains.
func asked(err error) error {
	if err == nil {
		return nil
	}
	return &control.Error{Code: control.BadRequest, Message: err.Error(), Hint: "`globalnet tunnel --help` shows paths; `globalnet relays` lists the relays"}
}

// list says which doors there are.
func (d *doors) list() []control.Door {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []control.Door{}
	for _, section := range d.want {
		c := control.Door{}
		switch s := section.(type) {
		case config.Proxy:
			c.Kind, c.Name, c.Where = "proxy", s.Name, s.Listen.String()
		case config.Tunnel:
			c.Kind, c.Name, c.Where = "tunnel", s.Name, s.Path
		}
		if open := d.open[section]; open != nil {
			if c.Open = open.where != ""; c.Open {
				c.Where = open.where
			}
			if open.err != nil {
				c.Error = open.err.Error()
			}
		}
		list = append(list, c)
	}
	return list
}
