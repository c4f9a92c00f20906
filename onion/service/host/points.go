package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/netdir"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
)

const (
	establishTime = 10 * time.Second
	leastPoint    = 18 * time.Hour // of an introduction point
	mostPoint     = 24 * time.Hour
	avoidPoint    = 10 * time.Minute // after it failed
	workRate      = 1000             // introductions a second, where there is something to choose them by
	workBurst     = 2000
	firstRetry    = 500 * time.Millisecond
	lastRetry     = time.Minute
)

// point is an introduction point of the service.
type point struct {
	keys  *intro.Point
	held  interface{ Close() } // its circuit
	relay netdir.Relay
	until time.Time
	gone  bool
}

// wanted returns how many introduction points there should be: no more than relays.
func (o *offer) wanted() int {
	n := o.config.Points
	if n == 0 {
		n = desc.DefaultPoints
	}
	return min(n, desc.MaxPoints, len(o.h.cfg.Relays(time.Now())))
}

// tendPoints drops points that are gone and makes new ones.
func (o *offer) tendPoints(ctx context.Context) time.Duration {
	now := time.Now()
	wanted := o.wanted()
	fresh := len(o.fresh(now))
	var kept []*point
	for _, p := range o.points {
		switch {
		case p.gone:
			o.avoid[p.relay.Node] = now.Add(avoidPoint)
			o.publisher.dirty = true
		case !now.Before(p.until) && fresh > 0 && fresh >= wanted && !o.publisher.dirty && !o.publisher.busy:
			p.held.Close() // others are published in its place
		default:
			kept = append(kept, p)
		}
	}
	o.points = kept
	for node, until := range o.avoid {
		if now.After(until) {
			delete(o.avoid, node)
		}
	}
	wait := o.failed.left(now)
	if wait == 0 {
		wait = lookAround
		for len(o.fresh(now))+o.making < wanted {
			o.making++
			avoid := o.taken()
			if !o.h.start(func(context.Context) {
				p, node, err := o.makePoint(ctx, avoid)
				if !o.later(ctx, func() { o.made(p, node, err) }) && p != nil {
					p.held.Close()
				}
			}) {
				o.making--
				break
			}
		}
	}
	if wanted == 0 {
		o.setStatus(func(s *service.Status) { s.Error = "no relays are known" })
		wait = min(wait, time.Second)
	}
	o.showPoints()
	return wait
}

// fresh returns the points that have not served their time.
func (o *offer) fresh(now time.Time) (list []*point) {
	for _, p := range o.points {
		if !p.gone && now.Before(p.until) {
			list = append(list, p)
		}
	}
	return list
}

// published returns the points that descriptors name: those that served their time only
// while there are too few others.
func (o *offer) published(now time.Time) []*point {
	if list := o.fresh(now); len(list) > 0 && len(list) >= o.wanted() {
		return list
	}
	return o.points[:min(len(o.points), desc.MaxPoints)]
}

func (o *offer) showPoints() {
	o.setStatus(func(s *service.Status) {
		s.Points = s.Points[:0:0]
		for _, p := range o.published(time.Now()) {
			s.Points = append(s.Points, p.relay.Node)
		}
	})
}

// taken returns which relays are no introduction points: they are already, or failed.
func (o *offer) taken() []identity.NodeID {
	var list []identity.NodeID
	for _, p := range o.fresh(time.Now()) {
		list = append(list, p.relay.Node)
	}
	for node := range o.avoid {
		list = append(list, node)
	}
	return list
}

// made takes an introduction point that was made, or could not be.
func (o *offer) made(p *point, node identity.NodeID, err error) {
	o.making--
	if err != nil {
		o.h.cfg.Log.Debug("introduction point not established", "node", node.Short(), "err", err)
		if !node.IsZero() && !errors.Is(err, errTwice) {
			o.avoid[node] = time.Now().Add(avoidPoint)
		}
		if none := errors.Is(err, errTwice) && len(o.avoid) > 0; none || len(o.avoid) >= len(o.h.cfg.Relays(time.Now())) {
			clear(o.avoid) // better one that failed than none
			if none && len(o.points) == 0 {
				o.failed.reset() // nobody reaches the service meanwhile
			}
		}
		o.failed.failed(time.Now(), firstRetry, lastRetry)
		if len(o.points) == 0 {
			o.setStatus(func(s *service.Status) { s.Error = "no introduction point: " + err.Error() })
		}
		return
	}
	for _, other := range o.fresh(time.Now()) {
		if other.relay.Node == p.relay.Node { // two attempts drew one relay
			p.held.Close()
			return
		}
	}
	o.failed.reset()
	o.setDoors(p)
	o.points = append(o.points, p)
	o.publisher.dirty = true
}

func (o *offer) setDoors(p *point) { p.keys.SetDoors(o.periods, o.access.Restricted, o.access.Cookie) }

var errTwice = errors.New("all relays that are known are introduction points, or failed")

// makePoint makes an introduction point at a relay that is none yet.
func (o *offer) makePoint(ctx context.Context, avoid []identity.NodeID) (*point, identity.NodeID, error) {
	relay, err := o.h.cfg.Client.Draw(avoid...)
	if err != nil {
		return nil, identity.NodeID{}, errTwice
	}
	ctx, cancel := context.WithTimeout(ctx, 2*establishTime)
	defer cancel()
	keys, err := intro.NewPoint(o.config.Key.NodeID())
	if err != nil {
		return nil, relay.Node, err
	}
	want, hop := o.want(o.h.cfg.Client.Hops()+1), o.h.cfg.Client.Hop(relay)
	want.Last = &hop
	held, err := o.h.cfg.Client.Hold(ctx, want)
	if err != nil {
		return nil, relay.Node, err
	}
	p := &point{keys: keys, held: held, relay: relay, until: time.Now().Add(leastPoint + rand.N(mostPoint-leastPoint))}
	if err := o.establish(ctx, p, held.Circuit()); err != nil {
		held.Close()
		return nil, relay.Node, err
	}
	return p, relay.Node, nil
}

// establish asks the relay to pass introductions on, and has those handed to run.
func (o *offer) establish(ctx context.Context, p *point, circuit *circuit.Circuit) error {
	ctx, cancel := context.WithTimeout(ctx, establishTime)
	defer cancel()
	answer := make(chan cell.IntroStatus, 1)
	circuit.Handle(func(m cell.Message) error {
		switch m.Command {
		case cell.MsgIntroEstablished:
			status, err := cell.ParseIntroStatus(m.Body)
			if err != nil {
				return err
			}
			select {
			case answer <- status:
			default:
				return errProtocol
			}
		case cell.MsgIntroduce2:
			select {
			case o.arrived <- arrival{p, bytes.Clone(m.Body)}:
			default:
				o.setStatus(func(s *service.Status) { s.Refused++ })
			}
		default:
			return errProtocol
		}
		return nil
	})
	var rate, burst uint16 // as the relay likes
	if o.config.Work {
		rate, burst = workRate, workBurst
	}
	body := intro.Establish(p.keys.Auth(), circuit.Binding(), rate, burst)
	if err := circuit.Say(cell.Message{Command: cell.MsgEstablishIntro, Body: body}); err != nil {
		return err
	}
	select {
	case status := <-answer:
		if status != cell.IntroDone {
			return fmt.Errorf("the relay answers: %s", status)
		}
	case <-circuit.Done():
		return circuit.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	o.h.start(func(ctx context.Context) {
		select {
		case <-circuit.Done():
		case <-o.ended:
			return
		}
		o.later(ctx, func() { p.gone = true })
	})
	return nil
}

var errProtocol = errors.New("the relay broke the protocol")
