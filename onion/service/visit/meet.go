package visit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/pow"
)

const (
	meetTime    = 60 * time.Second        // for all attempts
	meetTries   = 3                       // rendezvous points that are lost
	answerLeast = 1200 * time.Millisecond // of a service that an introduction reached, before another one is sent
	answerMost  = 10 * time.Second        // the same, where circuits take long
	queueTime   = 30 * time.Second        // the same, of a service under load
	ackTime     = 5 * time.Second
	introTries  = 6                      // in a round
	rounds      = 5                      // of all introduction points that are known
	moreTime    = 3 * time.Second        // to read all slots
	roundPause  = 150 * time.Millisecond // doubled each time
	solveAtOnce = 1 << 10                // attempts between two looks at the clock
)

var (
	errProtocol = errors.New("the relay broke the protocol")
	errSilent   = errors.New("the service does not answer")
)

// meet arranges a meeting, and returns the circuit that leads to the service.
func (d *door) meet(ctx context.Context) (*client.Held, error) {
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	for try := 1; ; try++ {
		held, again, err := d.meetOnce(ctx)
		if err == nil || !again || try == meetTries {
			return held, err
		}
		d.v.cfg.Log.Debug("rendezvous point lost", "err", err)
	}
}

// meetOnce tries one rendezvous point. Another may do better if again is true.
func (d *door) meetOnce(ctx context.Context) (held *client.Held, again bool, err error) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &rendezvous{door: d, done: make(chan struct{}), joined: make(chan error, 1)}
	d.v.tasks.Go(func() { // while the descriptor is looked for
		defer close(r.done)
		r.err = r.wait(ctx)
	})
	if err = d.introduceAll(ctx, r); err == nil {
		return r.held, false, nil
	}
	again = r.broken() && outer.Err() == nil
	cancel()
	<-r.done
	if r.held != nil {
		r.held.Close()
	}
	return nil, again, err
}

// introduceAll tries the introduction points until the service comes: those that are
// known, then those that are published now, of all machines, and again when the service
// may have had time to make others.
func (d *door) introduceAll(ctx context.Context, r *rendezvous) error {
	var last error
	tried := make(map[identity.NodeID]bool) // by auth key
	for round := range rounds {
		list, period, err := d.descriptors(ctx, round > 0)
		if err != nil {
			return errors.Join(err, last)
		}
		if round == 2 { // nothing else has helped
			moreCtx, cancel := context.WithTimeout(ctx, moreTime)
			list = d.more(moreCtx, list, period, true)
			cancel()
		}
		rng := newRand()
		points := desc.Merge(list, rng)
		for i := 0; i < min(len(points), introTries); i++ {
			if round < 2 && tried[points[i].Auth] {
				continue
			}
			tried[points[i].Auth] = true
			err := d.introduce(ctx, r, list, period, points[i])
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return errors.Join(context.Cause(ctx), last)
			}
			if r.broken() {
				return err
			}
			d.v.cfg.Log.Debug("introduction did not lead to the service", "node", points[i].Node.Short(), "err", err)
			last = err
			if errors.Is(err, errSilent) && round == 0 {
				break // it may have been away, and have other introduction points now
			}
			if round < 2 && i == 0 {
				if all := d.more(ctx, list, period, false); len(all) > len(list) {
					list, points, i = all, desc.Merge(all, rng), -1
				}
			}
		}
		if round > 0 && round < rounds-1 {
			select {
			case <-time.After(roundPause << round):
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), last)
			}
		}
	}
	return fmt.Errorf("%w: %w", errNoPoint, last)
}

func newRand() *mrand.Rand {
	var seed [32]byte
	rand.Read(seed[:])
	return mrand.New(mrand.NewChaCha8(seed))
}

// introduce asks for the service at one of its introduction points, and waits for it.
func (d *door) introduce(ctx context.Context, r *rendezvous, list []*desc.Opened, period uint64, point desc.IntroPoint) error {
	// The way there can be made while the rendezvous circuit is.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hop := circuit.Hop{Node: point.Node, OnionKey: point.OnionKey, Suite: suite(point.Suites)}
	type way struct {
		held *client.Held
		err  error
	}
	ways := make(chan way, 1)
	d.v.tasks.Go(func() {
		held, err := d.v.client.Hold(ctx, client.Want{Hops: d.v.client.Hops() + 1, Last: &hop, Stub: true})
		ways <- way{held, err}
	})
	err := r.ready(ctx)
	w := <-ways
	if w.err == nil {
		defer w.held.Close()
	}
	if err = errors.Join(err, w.err); err != nil {
		return err
	}
	of := list[0]
	for _, o := range list {
		if slices.ContainsFunc(o.Points, func(p desc.IntroPoint) bool { return p.Auth == point.Auth }) {
			of = o
		}
	}
	request := intro.Request{Service: d.service, Period: period, Point: point, Authorised: of.Cookie, Meet: r.meet, Suite: layer.Fastest()}
	i, err := intro.NewClient(request)
	if err != nil {
		return err
	}
	solution, err := d.solve(ctx, i, of)
	if err != nil {
		return err
	}
	r.expect(i)
	asked := time.Now()
	status, err := say(ctx, w.held.Circuit(), i.Body(solution))
	if err != nil {
		return err
	}
	if status != cell.IntroDone {
		return fmt.Errorf("the introduction point answers: %s", status)
	}
	w.held.Close()
	// Not by how long the circuits took: some may have been tried through relays that are gone.
	patience := min(max(12*time.Since(asked), answerLeast), answerMost)
	if solution.Effort > 0 {
		patience = queueTime
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-r.joined:
		if err == nil {
			d.mu.Lock()
			d.harder = 0
			d.mu.Unlock()
		}
		return err
	case <-r.held.Circuit().Done():
		return r.held.Circuit().Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		if of.Work.Effort > 0 {
			d.mu.Lock()
			d.harder = min(max(2*solution.Effort, 2*of.Work.Effort), pow.MaxEffort)
			d.mu.Unlock()
		}
		return errSilent
	}
}

// suite returns the one of a relay's that suits this CPU, if the relay has it.
func suite(offered []layer.Suite) layer.Suite {
	if fast := layer.Fastest(); slices.Contains(offered, fast) {
		return fast
	}
	return layer.ChaCha
}

// solve does the work that the service asks for.
func (d *door) solve(ctx context.Context, i *intro.Client, of *desc.Opened) (pow.Solution, error) {
	if of.Work.Effort == 0 || of.Cookie != (desc.Cookie{}) {
		return pow.Solution{}, nil
	}
	d.mu.Lock()
	effort := min(max(of.Work.Effort, d.harder), pow.MaxEffort)
	d.mu.Unlock()
	solver := pow.NewSolver(i.Challenge(of.Work.Seed, effort), mrand.Uint64N(math.MaxInt64))
	for {
		if nonce, ok := solver.Try(solveAtOnce); ok {
			return pow.Solution{Effort: effort, Seed: of.Work.Seed.ID(), Nonce: nonce}, nil
		}
		if ctx.Err() != nil {
			return pow.Solution{}, context.Cause(ctx)
		}
	}
}

// say sends an introduction and waits for what became of it.
func say(ctx context.Context, c *circuit.Circuit, body []byte) (cell.IntroStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	answer := make(chan cell.IntroStatus, 1)
	c.Handle(func(m cell.Message) error {
		if m.Command != cell.MsgIntroduceAck {
			return errProtocol
		}
		status, err := cell.ParseIntroStatus(m.Body)
		if err != nil {
			return err
		}
		select {
		case answer <- status:
			return nil
		default:
			return errProtocol
		}
	})
	if err := c.Say(cell.Message{Command: cell.MsgIntroduce1, Body: body}); err != nil {
		return 0, err
	}
	select {
	case status := <-answer:
		return status, nil
	case <-c.Done():
		return 0, c.Err()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// rendezvous is the client's circuit to where it waits for the service.
type rendezvous struct {
	door   *door
	done   chan struct{} // closed when the rendezvous point waits, or never will
	err    error         // set before
	held   *client.Held  // the same; nil: there is none
	meet   intro.Rendezvous
	joined chan error

	mu      sync.Mutex
	pending []*intro.Client
	met     bool
}

// wait makes the circuit and has its last hop wait for the service.
func (r *rendezvous) wait(ctx context.Context) error {
	var last error
	for range 3 {
		held, err := r.door.v.client.Hold(ctx, client.Want{Stub: true})
		if err != nil {
			return errors.Join(err, last)
		}
		relay := held.Last()
		hop := held.Circuit().Path()[held.Hops()-1]
		r.held, r.meet = held, intro.Rendezvous{Node: relay.Node, OnionKey: hop.OnionKey, Suite: suite(relay.Suites)}
		rand.Read(r.meet.Cookie[:])
		if last = r.establish(ctx, held.Circuit()); last == nil {
			return nil
		}
		held.Close()
		if ctx.Err() != nil {
			break
		}
	}
	return last
}

func (r *rendezvous) establish(ctx context.Context, c *circuit.Circuit) error {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	answer := make(chan cell.IntroStatus, 1)
	c.Handle(func(m cell.Message) error {
		switch m.Command {
		case cell.MsgRendezvousEstablished:
			status, err := cell.ParseIntroStatus(m.Body)
			if err != nil {
				return err
			}
			select {
			case answer <- status:
				return nil
			default:
			}
		case cell.MsgRendezvous2:
			return r.arrived(c, bytes.Clone(m.Body))
		}
		return errProtocol
	})
	if err := c.SayLast(cell.Message{Command: cell.MsgEstablishRendezvous, Body: r.meet.Cookie[:]}); err != nil {
		return err
	}
	select {
	case status := <-answer:
		if status != cell.IntroDone {
			return fmt.Errorf("the rendezvous point answers: %s", status)
		}
		return nil
	case <-c.Done():
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// expect notes an introduction to which the service may answer.
func (r *rendezvous) expect(i *intro.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, i)
}

// arrived takes the service's answer, on the reader: what comes next is sealed by it.
func (r *rendezvous) arrived(c *circuit.Circuit, reply []byte) error {
	r.mu.Lock()
	pending := r.pending
	first := !r.met
	r.met = true
	r.mu.Unlock()
	if !first {
		return errProtocol
	}
	err := intro.ErrRendezvous
	var keys ntor.Keys
	for _, i := range slices.Backward(pending) { // the newest is the likeliest
		if keys, err = i.Finish(reply); err == nil {
			break
		}
	}
	if err == nil {
		err = c.Join(circuit.Joint{Session: intro.NewClientSession(layer.Fastest(), keys)}, nil)
	}
	r.joined <- err
	return err
}

// ready waits until the rendezvous point waits.
func (r *rendezvous) ready(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// broken reports whether the circuit is of no more use.
func (r *rendezvous) broken() bool {
	select {
	case <-r.done:
		return r.err != nil || r.held.Circuit().Err() != nil
	default:
		return false
	}
}
