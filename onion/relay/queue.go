package relay

import (
	"sync"
	"time"

	"globalnet/onion/channel"
)

const (
	maxWaiting          = 256 // handshakes that wait for a worker
	maxWaitingOfChannel = 64
	// A handshake that waited longer is of no use: its client gives up soon.
	handshakeAge = time.Second
)

// handshake is a Create that waits for a worker.
type handshake struct {
	leg     *channel.Leg
	request []byte
	since   time.Time
}

// queue is the handshakes that wait. Channels take turns, so one that floods
// waits for itself alone.
type queue struct {
	mu    sync.Mutex
	turns []*waiting
	n     int
	more  chan struct{} // a token for each handshake that waits
}

// waiting is the handshakes of one channel; there is at least one.
type waiting struct {
	ch    *channel.Channel
	shake []handshake
}

func newQueue() *queue { return &queue{more: make(chan struct{}, maxWaiting)} }

// push puts a handshake in. If there is no room, the one that must go is
// returned: this one, or the newest of the channel that has most waiting.
func (q *queue) push(ch *channel.Channel, h handshake) (refused handshake, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var own, longest *waiting
	for _, w := range q.turns {
		if w.ch == ch {
			own = w
		}
		if longest == nil || len(w.shake) > len(longest.shake) {
			longest = w
		}
	}
	if own == nil {
		own = &waiting{ch: ch}
		q.turns = append(q.turns, own)
	}
	if len(own.shake) >= maxWaitingOfChannel {
		return h, true
	}
	if q.n >= maxWaiting {
		if len(longest.shake) <= len(own.shake)+1 {
			if len(own.shake) == 0 {
				q.turns = q.turns[:len(q.turns)-1]
			}
			return h, true
		}
		last := len(longest.shake) - 1
		refused, full = longest.shake[last], true
		longest.shake = longest.shake[:last]
		own.shake = append(own.shake, h)
		return refused, full // its token is the new one's
	}
	own.shake = append(own.shake, h)
	q.n++
	q.more <- struct{}{}
	return handshake{}, false
}

// pop takes the handshake whose turn it is. It must be called once for each token of more.
func (q *queue) pop() handshake {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.turns[0]
	h := w.shake[0]
	w.shake = w.shake[1:]
	q.n--
	q.turns = q.turns[1:]
	if len(w.shake) > 0 {
		q.turns = append(q.turns, w)
	}
	return h
}
