package relay

import (
	"testing"

	"globalnet/onion/channel"
)

// id marks a handshake.
func id(n byte) handshake { return handshake{request: []byte{n}} }

func TestQueueTakesTurns(t *testing.T) {
	q := newQueue()
	flood, a, b := new(channel.Channel), new(channel.Channel), new(channel.Channel)
	for i := range maxWaitingOfChannel + 5 {
		if _, full := q.push(flood, id('f')); full != (i >= maxWaitingOfChannel) {
			t.Fatalf("handshake %d of a channel: full %v", i, full)
		}
	}
	q.push(a, id('a'))
	q.push(b, id('b'))
	q.push(a, id('a'))
	got := ""
	for len(q.more) > 0 {
		<-q.more
		got += string(q.pop().request)
	}
	if got[:5] != "fabfa" || len(got) != maxWaitingOfChannel+3 || q.n != 0 || len(q.turns) != 0 {
		t.Errorf("%s", got)
	}
}

func TestFullQueue(t *testing.T) {
	q := newQueue()
	var floods []*channel.Channel
	for range maxWaiting / maxWaitingOfChannel {
		ch := new(channel.Channel)
		floods = append(floods, ch)
		for range maxWaitingOfChannel {
			q.push(ch, id('f'))
		}
	}
	honest := new(channel.Channel)
	if h, full := q.push(honest, id('h')); !full || h.request[0] != 'f' {
		t.Errorf("refused %q, full %v", h.request, full)
	}
	if h, full := q.push(floods[len(floods)-1], id('x')); !full || h.request[0] != 'x' {
		t.Errorf("refused %q, full %v", h.request, full)
	}
	n, at := 0, -1
	for len(q.more) > 0 {
		<-q.more
		if q.pop().request[0] == 'h' {
			at = n
		}
		n++
	}
	if n != maxWaiting || at < 0 || at > len(floods) || len(q.turns) != 0 {
		t.Errorf("%d handshakes, the honest one was number %d", n, at)
	}
	// When every channel has one, a new channel has to wait outside.
	for range maxWaiting {
		q.push(new(channel.Channel), id('f'))
	}
	if h, full := q.push(new(channel.Channel), id('h')); !full || h.request[0] != 'h' || len(q.turns) != maxWaiting {
		t.Errorf("refused %q, full %v, %d channels", h.request, full, len(q.turns))
	}
}
