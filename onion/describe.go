package onion

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
	"globalnet/onion/netdir"
	"globalnet/onion/ntor"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
)

const (
	onionKeyLife   = 24 * time.Hour // the one before stays good for as long again
	descriptorRest = time.Second    // between two descriptors, so that changes gather
	firstRest      = 100 * time.Millisecond
	vouchRest      = 30 * time.Second // before neighbours that come and go are named anew, at most; others take few of us
	vouchCalm      = 5 * time.Minute  // after which it begins with descriptorRest again
	exitCheck      = 20 * time.Second // between two looks at what leaves here: the internet comes and goes
)

// describe keeps the descriptor of this node true until ctx ends: it is made again
// when something in it changes, when another one of an earlier life is about, and
// before the last one gets old.
func (n *Node) describe(ctx context.Context) error {
	rotate := time.NewTicker(onionKeyLife)
	defer rotate.Stop()
	old := time.NewTicker(netdir.Republish * 3 / 4)
	defer old.Stop()
	check := time.NewTicker(exitCheck)
	defer check.Stop()
	rest, pace := firstRest, descriptorRest
	var later <-chan time.Time // when vouches that have changed are due
	var said time.Time         // when it was last made
	for due := true; ; {
		changed := n.directory.Changed()
		if due || n.directory.OwnSequence() >= n.sequence && n.sequence != 0 {
			if err := n.publish(time.Now()); err != nil {
				n.log.Warn("this node cannot describe itself", "err", err)
			}
			if time.Since(said) > vouchCalm {
				pace = descriptorRest
			}
			later, said = nil, time.Now()
			n.pin()
			select { // what changes now waits a little
			case <-ctx.Done():
				return nil
			case <-time.After(rest):
			}
			if n.sequence != 0 {
				rest = descriptorRest
			}
		}
		due = false
		select {
		case <-ctx.Done():
			return nil
		case <-n.renew:
			due = true
		case <-n.vouched:
			if later == nil {
				later = time.After(pace)
				pace = min(2*pace, vouchRest)
			}
		case <-later:
			due = true
		case <-old.C:
			due = true
		case <-check.C:
			due = n.relays() != n.relaySaid || n.relaySaid && !bytes.Equal(n.exitSaid, policy.AppendSummary(nil, n.exit.Summary()))
		case <-rotate.C:
			key, err := ntor.GenerateKey()
			if err != nil {
				return fmt.Errorf("making an onion key: %w", err)
			}
			n.onionKey = key
			n.relay.Rotate(key)
			due = true
		case <-changed:
		}
	}
}

// publish signs a descriptor and hands it on. A node that does not relay has none,
// unless there is one about that says it does.
func (n *Node) publish(now time.Time) error {
	s := n.settings.Load()
	sequence := n.directory.NextSequence()
	if n.relaySaid = n.relays(); !n.relaySaid && sequence == 1 {
		return nil
	}
	d := &netdir.Descriptor{
		Sequence:  sequence,
		OnionKey:  n.onionKey.Public(),
		Protocols: netdir.CurrentProtocols(),
		Suites:    suites(),
	}
	if n.relaySaid {
		d.Flags = netdir.FlagRelay | netdir.FlagService
		d.Exit = n.exit.Summary()
		n.exitSaid = policy.AppendSummary(nil, d.Exit)
		d.Vouches = n.gossip.Vouches()
		d.Vouches = d.Vouches[:min(len(d.Vouches), netdir.MaxVouches)]
		for _, secret := range s.Families {
			d.Families = append(d.Families, netdir.SignFamily(netdir.FamilyKey(secret), n.cfg.Identity.NodeID()))
		}
	}
	raw, err := netdir.Sign(n.cfg.Identity, d)
	if err != nil {
		return err
	}
	err = n.directory.SetOwn(now, raw)
	if errors.Is(err, netdir.ErrOwnSequence) {
		n.redescribe() // a higher one has come just now
		return nil
	}
	if err != nil {
		return err
	}
	n.sequence = d.Sequence
	if n.cfg.Publish != nil {
		n.cfg.Publish(raw)
	}
	return nil
}

// suites are those of this CPU, the fastest first.
func suites() []layer.Suite {
	if layer.Fastest() == layer.AES {
		return []layer.Suite{layer.AES, layer.ChaCha}
	}
	return []layer.Suite{layer.ChaCha}
}

// pin keeps the descriptors of guards, whatever the sample of the directory says.
func (n *Node) pin() {
	guards := n.chooser.Guards(time.Now())
	n.directory.Pin(guardNodes(guards))
}

// acceptor takes the circuits of others while this node relays.
type acceptor struct {
	relay *relay.Relay
	on    func() bool
}

// HandleCreate implements channel.Acceptor.
func (a *acceptor) HandleCreate(leg *channel.Leg, request []byte) {
	if !a.on() {
		leg.Destroy(cell.ReasonHandshake)
		return
	}
	a.relay.HandleCreate(leg, request)
}
