package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	built "globalnet/onion/circuit"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/intro"
	"globalnet/onion/stream"
)

// end is a circuit of one hop, and what the relay says on it.
type end struct {
	*built.Circuit
	t    testing.TB
	said chan cell.Message
}

func (c *client) end() *end {
	c.t.Helper()
	made, err := built.Build(c.t.Context(), c.ch, []built.Hop{{Node: c.node, OnionKey: c.onion, Suite: layer.ChaCha}})
	if err != nil {
		c.t.Fatal(err)
	}
	e := &end{made, c.t, make(chan cell.Message, 100)}
	made.Handle(func(m cell.Message) error {
		e.said <- cell.Message{Command: m.Command, Body: bytes.Clone(m.Body)}
		return nil
	})
	return e
}

// say sends a message.
func (e *end) say(command cell.MessageCommand, body []byte) {
	e.t.Helper()
	if err := e.Say(cell.Message{Command: command, Body: body}); err != nil {
		e.t.Fatal(err)
	}
}

// hear expects a message.
func (e *end) hear(command cell.MessageCommand) []byte {
	e.t.Helper()
	select {
	case m := <-e.said:
		if m.Command != command {
			e.t.Fatalf("message %d, want %d", m.Command, command)
		}
		return m.Body
	case <-e.Done():
		e.t.Fatalf("waiting for message %d: %v", command, e.Err())
	case <-time.After(20 * time.Second):
		e.t.Fatalf("message %d does not come", command)
	}
	return nil
}

// status expects a message that carries a status.
func (e *end) status(command cell.MessageCommand, want cell.IntroStatus) {
	e.t.Helper()
	got, err := cell.ParseIntroStatus(e.hear(command))
	if err != nil || got != want {
		e.t.Errorf("%s (%v), want %s", got, err, want)
	}
}

// destroyed expects the end of the circuit.
func (e *end) destroyed(why string) {
	e.t.Helper()
	select {
	case <-e.Done():
	case <-time.After(20 * time.Second):
		e.t.Errorf("%s: the circuit lives", why)
	}
}

func newKey(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// introduction is the body of one for a key.
func introduction(key identity.NodeID) []byte {
	return cell.AppendIntroduce(nil, cell.Introduce{Key: key, Request: bytes.Repeat([]byte{7}, 1319)})
}

func TestIntroductionPoint(t *testing.T) {
	c := newRelay(t, nil)
	auth := newKey(t)
	id := auth.NodeID()
	service, other := c.end(), c.end()
	// What was signed for one circuit is worth nothing in another.
	other.say(cell.MsgEstablishIntro, intro.Establish(auth, service.Binding(), 0, 0))
	other.status(cell.MsgIntroEstablished, cell.IntroRefused)
	service.say(cell.MsgEstablishIntro, intro.Establish(auth, service.Binding(), 1, 2))
	service.status(cell.MsgIntroEstablished, cell.IntroDone)
	// One may come a second, which a slow machine takes for what follows.
	c.relay.services.mu.Lock()
	if p := c.relay.services.points[id]; p.rate != 1 || p.burst != 2 {
		t.Errorf("the service is told of %v a second, %v at once", p.rate, p.burst)
	} else {
		p.rate = 0
	}
	c.relay.services.mu.Unlock()

	visitor := c.end()
	body := introduction(id)
	for _, tt := range []struct {
		name string
		body []byte
		want cell.IntroStatus
	}{
		{"first", body, cell.IntroDone},
		{"somebody else's", introduction(newKey(t).NodeID()), cell.IntroUnknown},
		{"malformed", body[:20], cell.IntroRefused},
		{"second", body, cell.IntroDone},
	} {
		visitor.say(cell.MsgIntroduce1, tt.body)
		visitor.status(cell.MsgIntroduceAck, tt.want)
		if tt.want == cell.IntroDone && !bytes.Equal(service.hear(cell.MsgIntroduce2), tt.body) {
			t.Errorf("%s: the service hears something else", tt.name)
		}
	}
	visitor.say(cell.MsgIntroduce1, body)
	visitor.destroyed("five introductions on a circuit")
	visitor = c.end()
	visitor.say(cell.MsgIntroduce1, body) // the service wants two at once
	visitor.status(cell.MsgIntroduceAck, cell.IntroLimited)

	// A later circuit for the key takes the place of the first.
	later := c.end()
	later.say(cell.MsgEstablishIntro, intro.Establish(auth, later.Binding(), 0, 0))
	later.status(cell.MsgIntroEstablished, cell.IntroDone)
	service.destroyed("another circuit has its key")
	visitor.say(cell.MsgIntroduce1, body)
	visitor.status(cell.MsgIntroduceAck, cell.IntroDone)
	later.hear(cell.MsgIntroduce2)
	later.Close()
	eventually(t, "the service is gone", func() bool { return c.relay.Stats().Services.Points == 0 })
	visitor.say(cell.MsgIntroduce1, body)
	visitor.status(cell.MsgIntroduceAck, cell.IntroUnknown)
	if s := c.relay.Stats().Services; s.Introduced != 3 || s.Limited != 1 || s.Unknown != 2 {
		t.Errorf("%+v", s)
	}
}

// A circuit has one use.
func TestRolesExclude(t *testing.T) {
	c := newRelay(t, nil)
	auth := newKey(t)
	establish := func(e *end) {
		e.say(cell.MsgEstablishIntro, intro.Establish(auth, e.Binding(), 0, 0))
		e.status(cell.MsgIntroEstablished, cell.IntroDone)
	}
	cookie := bytes.Repeat([]byte{1}, cell.CookieSize)
	reply := cell.AppendRendezvous(nil, cell.Rendezvous{Cookie: cell.Cookie(cookie), Reply: []byte("x")})
	for _, tt := range []struct {
		name  string
		first func(e *end)
		then  cell.MessageCommand
		body  func(e *end) []byte
	}{
		{"two establishments", establish, cell.MsgEstablishIntro, func(e *end) []byte { return intro.Establish(auth, e.Binding(), 0, 0) }},
		{"a service that introduces", establish, cell.MsgIntroduce1, func(*end) []byte { return introduction(auth.NodeID()) }},
		{"a service that waits", establish, cell.MsgEstablishRendezvous, func(*end) []byte { return cookie }},
		{"a service that joins its introductions", establish, cell.MsgRendezvous1, func(*end) []byte { return reply }},
		{"an extension of it", establish, cell.MsgExtend, func(*end) []byte {
			return cell.AppendExtend(nil, cell.Extend{Node: [32]byte{1}, Handshake: 1, Request: []byte("x")})
		}},
		{"no cookie", nil, cell.MsgEstablishRendezvous, func(*end) []byte { return make([]byte, cell.CookieSize) }},
		{"a cookie that nobody waits with", nil, cell.MsgRendezvous1, func(*end) []byte { return reply }},
		{"a rendezvous without a reply", nil, cell.MsgRendezvous1, func(*end) []byte { return cookie }},
		{"what only relays say", nil, cell.MsgIntroduce2, func(*end) []byte { return introduction(auth.NodeID()) }},
		{"the same of a rendezvous", nil, cell.MsgRendezvous2, func(*end) []byte { return reply }},
	} {
		e := c.end()
		if tt.first != nil {
			tt.first(e)
		}
		e.say(tt.then, tt.body(e))
		e.destroyed(tt.name)
	}
	e := c.end()
	establish(e)
	s, err := e.Open(cell.Target{Name: "x", Port: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Ended()
	eventually(t, "all is gone", func() bool {
		e.Close()
		s := c.relay.Stats()
		return s.Circuits == 0 && s.Services.Points == 0 && s.Services.Waiting == 0 && s.Services.Joined == 0
	})
	if s := c.relay.Stats().Services; s.WrongCookies != 1 {
		t.Errorf("%+v", s)
	}
}

// sessions are the layers of two ends.
func sessions() (client, service *intro.Session) {
	keys := ntor.Keys{Forward: [32]byte{1}, Backward: [32]byte{2}}
	return intro.NewClientSession(layer.ChaCha, keys), intro.NewServiceSession(layer.ChaCha, keys)
}

// join has two circuits meet; the service answers streams with what it hears.
func join(t testing.TB, c *client, cookie cell.Cookie) (visitor, service *end) {
	t.Helper()
	visitor, service = c.end(), c.end()
	near, far := sessions()
	visitor.Handle(func(m cell.Message) error {
		visitor.said <- cell.Message{Command: m.Command, Body: bytes.Clone(m.Body)}
		if m.Command == cell.MsgRendezvous2 {
			return visitor.Join(built.Joint{Session: near}, nil)
		}
		return nil
	})
	if err := visitor.SayLast(cell.Message{Command: cell.MsgEstablishRendezvous, Body: cookie[:]}); err != nil {
		t.Fatal(err)
	}
	visitor.status(cell.MsgRendezvousEstablished, cell.IntroDone)
	err := service.Join(built.Joint{Session: far, Accept: func(s *stream.Stream, m cell.Begin) {
		go func() {
			io.Copy(s, s)
			s.CloseWrite()
		}()
	}}, &cell.Message{Command: cell.MsgRendezvous1, Body: cell.AppendRendezvous(nil, cell.Rendezvous{Cookie: cookie, Reply: []byte("reply")})})
	if err != nil {
		t.Fatal(err)
	}
	if got := visitor.hear(cell.MsgRendezvous2); string(got) != "reply" {
		t.Errorf("reply %q", got)
	}
	return visitor, service
}

func TestRendezvous(t *testing.T) {
	c := newRelay(t, nil)
	cookie := cell.Cookie{1}
	visitor, service := join(t, c, cookie)
	s, err := visitor.Open(cell.Target{Name: "x", Port: 1}, []byte("early "))
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("and a lot more "), 1<<17)
	go func() {
		s.Write(sent)
		s.CloseWrite()
	}()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(s)
	if want := append([]byte("early "), sent...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(want), err)
	}
	if err := visitor.Extend(t.Context(), built.Hop{Node: c.node, OnionKey: c.onion, Suite: layer.ChaCha}); err == nil {
		t.Error("a joined circuit was made longer")
	}
	if s := c.relay.Stats().Services; s.Joined != 1 || s.Met != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	// A cookie joins once.
	late := c.end()
	late.say(cell.MsgRendezvous1, cell.AppendRendezvous(nil, cell.Rendezvous{Cookie: cookie, Reply: []byte("late")}))
	late.destroyed("the cookie was used")
	// One circuit does not outlive the other, whichever goes first.
	service.Close()
	visitor.destroyed("the service has gone")
	visitor, service = join(t, c, cookie)
	visitor.Close()
	service.destroyed("the client has gone")
	eventually(t, "all is gone", func() bool { s := c.relay.Stats(); return s.Circuits == 0 && s.Services.Joined == 0 })
}

func TestCookies(t *testing.T) {
	c := newRelay(t, nil)
	cookie := bytes.Repeat([]byte{1}, cell.CookieSize)
	first, second := c.end(), c.end()
	first.SayLast(cell.Message{Command: cell.MsgEstablishRendezvous, Body: cookie})
	first.status(cell.MsgRendezvousEstablished, cell.IntroDone)
	second.say(cell.MsgEstablishRendezvous, cookie)
	second.status(cell.MsgRendezvousEstablished, cell.IntroRefused)
	second.Close()
	if n := c.relay.Stats().Services.Waiting; n != 1 {
		t.Errorf("%d wait", n)
	}
	// Who speaks while it has to be silent is not listened to.
	first.Say(cell.Message{Command: cell.MsgIntroduce1, Body: []byte{1}})
	first.Close()
	eventually(t, "nobody waits", func() bool { return c.relay.Stats().Services.Waiting == 0 })
}

// A cell on a joined circuit that was changed by the far end's relay, as far as it can,
// is noticed at the end.
func TestForgedCellOfTheFarEnd(t *testing.T) {
	c := newRelay(t, nil)
	visitor, service := c.end(), c.end()
	near, _ := sessions()
	wrong := intro.NewServiceSession(layer.ChaCha, ntor.Keys{Forward: [32]byte{1}, Backward: [32]byte{9}})
	visitor.Handle(func(m cell.Message) error {
		if m.Command == cell.MsgRendezvous2 {
			return visitor.Join(built.Joint{Session: near}, nil)
		}
		return nil
	})
	cookie := cell.Cookie{5}
	visitor.SayLast(cell.Message{Command: cell.MsgEstablishRendezvous, Body: cookie[:]})
	eventually(t, "it waits", func() bool { return c.relay.Stats().Services.Waiting == 1 })
	accepted := make(chan struct{}, 1)
	err := service.Join(built.Joint{Session: wrong, Accept: func(s *stream.Stream, _ cell.Begin) { accepted <- struct{}{} }},
		&cell.Message{Command: cell.MsgRendezvous1, Body: cell.AppendRendezvous(nil, cell.Rendezvous{Cookie: cookie, Reply: []byte("r")})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Open(cell.Target{Name: "x", Port: 1}, nil); err != nil {
		t.Fatal(err)
	}
	visitor.destroyed("a cell of the far end did not verify")
	if !errors.Is(visitor.Err(), layer.ErrIntegrity) {
		t.Errorf("%v", visitor.Err())
	}
	service.destroyed("the other circuit died")
}

func TestTableStreams(t *testing.T) {
	c := newRelay(t, nil)
	open := func() (*stream.Stream, error) {
		return c.end().Open(cell.Target{Network: cell.Table}, []byte("question"))
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	<-s.Ended()
	if end := (*stream.EndError)(nil); !errors.As(s.Err(), &end) || end.Reason != cell.EndPolicy {
		t.Errorf("a relay without a table: %v", s.Err())
	}
	asked, answer := make(chan string, 2*maxTables), make(chan struct{})
	c.relay.cfg.Table = func(ctx context.Context, conn net.Conn) {
		b := make([]byte, 8)
		io.ReadFull(conn, b)
		asked <- string(b)
		<-answer
		conn.Write([]byte("answer"))
	}
	var streams []*stream.Stream
	for range maxTables {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	for range maxTables {
		if q := <-asked; q != "question" {
			t.Errorf("asked %q", q)
		}
	}
	if s, err = open(); err != nil {
		t.Fatal(err)
	}
	<-s.Ended()
	if end := (*stream.EndError)(nil); !errors.As(s.Err(), &end) || end.Reason != cell.EndResource {
		t.Errorf("one more than there are places: %v", s.Err())
	}
	close(answer)
	for _, s := range streams {
		s.SetDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(s); err != nil || string(b) != "answer" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if n := c.relay.Stats().Services.Tables; n != maxTables {
		t.Errorf("%d questions counted", n)
	}
}
