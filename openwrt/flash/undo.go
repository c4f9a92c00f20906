package flash

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"globalnet/openwrt/guard"
)

// undo puts the router back after a failure, over a new connection if the old one
// is dead, and says in the error how it stands.
func (s *session) undo(ctx context.Context, err error) error {
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		f = &Failure{Kind: Undone, Err: err}
	}
	f.Step = s.step
	if errors.Is(err, context.Canceled) {
		f.Err = errors.New("interrupted")
	}
	if s.gone {
		return f
	}
	// What was asked to end must still tidy up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.times.apply+s.o.times.upgrade)
	defer cancel()
	s.note("%v: putting the router back", f.Err)
	armed := s.armed
	if undoErr := s.putBack(ctx); undoErr != nil {
		f.Kind = Pending
		f.State = "The router cannot be reached to put it back."
		f.Advice = "Nothing was installed; what was sent is in the router's memory until its next start."
		if armed {
			f.State = fmt.Sprintf("The router cannot be reached. It puts itself back within %s, and at its next start.", s.o.times.install)
			f.Advice = "Wait that long or take the power away and give it back; then try again. " + guard.Dir + " is gone from it when it is done."
		}
		return f
	}
	f.State = "The router is as it was."
	if f.Advice == "" {
		f.Advice = advice(s.step)
	}
	return f
}

// advice is what to do after a step that failed and was undone.
func advice(step string) string {
	switch step {
	case "send", "back up":
		return "Check the cable or the radio between here and the router, and try again."
	case "arm":
		return "Make room on the router: `df /overlay` shows how much there is."
	case "install":
		return "`logread` on the router may say more. Make room, or try the package of another version."
	case "configure":
		return "Look at the options given; `uci changes` and `uci show globalnet` on the router show what is there."
	case "apply", "verify":
		return "`logread -e globalnet` on the router says why. Try again with fewer options: first without --mesh-radio and --lan."
	}
	return "Try again."
}

// putBack has the guard restore everything and waits until it has.
func (s *session) putBack(ctx context.Context) error {
	for {
		err := s.putBackOnce(ctx)
		if err == nil {
			s.armed = false
			return nil
		}
		if sleepErr := sleep(ctx, s.o.times.poll); sleepErr != nil {
			return err
		}
		// Each try has a connection of its own: the network may be changing back.
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		err = s.fresh(dialCtx)
		cancel()
		if _, isKey := errors.AsType[*HostKeyError](err); isKey || errors.Is(err, ErrLogin) {
			return err
		}
	}
}

func (s *session) putBackOnce(ctx context.Context) error {
	if s.conn == nil {
		return errors.New("no connection")
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if !s.armed {
		_, err := s.conn.run(ctx, "rm -rf "+guard.Stage, nil)
		return err
	}
	if _, err := s.conn.run(ctx, "[ ! -e "+guard.Armed+" ] || "+guard.Program+" undo", nil); err != nil {
		return err
	}
	for {
		if _, err := s.conn.run(ctx, "[ ! -e "+guard.Armed+" ] && rm -rf "+guard.Dir+" "+guard.Stage+" "+guard.Hook, nil); err == nil {
			return nil
		} else if _, isExit := errors.AsType[*exitError](err); !isExit {
			return err
		}
		if err := sleep(ctx, s.o.times.poll/2); err != nil {
			return err
		}
	}
}

// confirm tells the guard that all is well. Where the answer is lost, a new
// connection sees whether the guard got it.
func (s *session) confirm(ctx context.Context) error {
	token := rand.Text()
	command := fmt.Sprintf("[ ! -e %s ] || %s confirm %s; [ \"$(cat %s)\" = %s ]", guard.Armed, guard.Program, token, guard.Confirmed, token)
	for deadline := time.Now().Add(s.limit() / 4); ; {
		err := errors.New("no connection")
		if s.conn != nil {
			_, err = s.conn.run(ctx, command, nil)
		}
		if err == nil {
			s.armed = false
			return nil
		}
		if _, isExit := errors.AsType[*exitError](err); isExit {
			return errors.New("the router has put itself back meanwhile: it took too long")
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		if err := sleep(ctx, s.o.times.poll); err != nil {
			return err
		}
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		_ = s.fresh(dialCtx) // the next round sees it
		cancel()
	}
}
