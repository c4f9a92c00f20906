package stream

import (
	"context"
	"errors"
	"fmt"

	"globalnet/onion/cell"
)

// MaxQuestions bounds the names that are being looked up on a circuit.
const MaxQuestions = 256

// Resolve has the last hop look a name up. The error is an *EndError where the
// last hop answered that it cannot.
func (e *End) Resolve(ctx context.Context, name string) (cell.Resolved, error) {
	if !cell.ValidName(name) {
		return cell.Resolved{}, errors.New("resolving: not a name")
	}
	answer := make(chan cell.Resolved, 1)
	e.mu.Lock()
	if e.closed || len(e.questions) >= MaxQuestions {
		closed := e.closed
		e.mu.Unlock()
		if closed {
			return cell.Resolved{}, &EndError{cell.EndCircuit}
		}
		return cell.Resolved{}, ErrTooMany
	}
	id := e.freeID()
	e.questions[id] = answer
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.questions, id)
	}()
	if err := e.Send(cell.Message{Command: cell.MsgResolve, Stream: id, Body: cell.AppendResolve(nil, name)}); err != nil {
		return cell.Resolved{}, err
	}
	select {
	case m := <-answer:
		if m.Reason != cell.EndDone {
			return m, &EndError{m.Reason}
		}
		return m, nil
	case <-e.gone:
		return cell.Resolved{}, &EndError{cell.EndCircuit}
	case <-ctx.Done():
		return cell.Resolved{}, context.Cause(ctx)
	}
}

// onResolved takes an answer.
func (e *End) onResolved(m cell.Message) error {
	r, err := cell.ParseResolved(m.Body)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if answer := e.questions[m.Stream]; answer != nil {
		delete(e.questions, m.Stream)
		answer <- r
	}
	return nil
}

// onResolve takes a question.
func (e *End) onResolve(m cell.Message) error {
	name, err := cell.ParseResolve(m.Body)
	if err != nil {
		return err
	}
	e.mu.Lock()
	full := e.asked >= MaxQuestions
	if !full {
		e.asked++
	}
	e.mu.Unlock()
	if e.cfg.Resolve == nil || full {
		if !full {
			e.answered()
		}
		return e.reply(m.Stream, cell.Resolved{Reason: cell.EndResource})
	}
	e.cfg.Resolve(name, func(r cell.Resolved) {
		e.answered()
		e.Send(cell.Message{Command: cell.MsgResolved, Stream: m.Stream, Body: cell.AppendResolved(nil, r)})
	})
	return nil
}

// reply answers at once, from the reader; it goes out with the next flush.
func (e *End) reply(id uint16, r cell.Resolved) error {
	e.out.Lock()
	defer e.out.Unlock()
	if err := e.add(cell.MsgResolved, id, cell.AppendResolved(nil, r)); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}

func (e *End) answered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked--
}
