package host

import (
	"slices"
	"time"

	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
)

// dirtyTime is for how long circuits of before somebody was shut out take new streams:
// whose they are does not show, and clients leave a circuit after that time by themselves.
const dirtyTime = 10 * time.Minute

// accessOf is whom a configuration lets in; the cookie is missing.
func (o *offer) accessOf(c service.Config) desc.Access {
	a := desc.Access{Restricted: c.Restricted, Clients: slices.Clone(c.Clients)}
	if c.Restricted {
		a.Clients = append(a.Clients, o.self.Public())
	}
	return a
}

// admit says whom the service lets in from now on.
func (o *offer) admit(c service.Config) {
	a := o.accessOf(c)
	o.mu.Lock()
	o.next = &a
	o.mu.Unlock()
	select {
	case o.look <- struct{}{}:
	default:
	}
}

// takeAccess does what admit asked for. Who is let in, is in the next descriptor, and
// nobody else notices. Who is shut out has the cookie, and knows the introduction points:
// both are made anew, those points leave when others are published. Circuits stay as
// long as there are streams, because whose they are does not show.
func (o *offer) takeAccess() {
	o.mu.Lock()
	next := o.next
	o.next = nil
	o.mu.Unlock()
	before := o.access
	if next == nil || next.Restricted == before.Restricted && slices.Equal(next.Clients, before.Clients) {
		return
	}
	gone := func(c key.ClientPublic) bool { return !slices.Contains(next.Clients, c) && c != o.self.Public() }
	out := slices.ContainsFunc(before.Clients, gone)
	closed := next.Restricted && !before.Restricted
	switch next.Cookie = before.Cookie; {
	case len(next.Clients) == 0:
		next.Cookie = desc.Cookie{}
	case out || next.Cookie == desc.Cookie{}:
		next.Cookie = desc.NewCookie()
	}
	o.access = *next
	o.publisher.dirty = true
	if out || closed {
		o.shutOut(closed)
	}
	for _, p := range o.points {
		o.setDoors(p)
	}
}

// shutOut ends what somebody could come in by who may not any more; strangers are told
// apart from clients.
func (o *offer) shutOut(strangers bool) {
	now := time.Now()
	for _, p := range o.points {
		p.until = now
	}
	o.queue.Clear()
	o.mu.Lock()
	o.epoch++
	o.shut = now
	var over []*caller
	for c := range o.clients {
		if strangers && !c.authorised || c.held.Circuit().Streams() == 0 {
			over = append(over, c)
		}
	}
	o.mu.Unlock()
	for _, c := range over {
		c.held.Close()
	}
}

// welcome reports whether a circuit may have new streams.
func (o *offer) welcome(c *caller) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.epoch == o.epoch || time.Since(o.shut) < dirtyTime
}
