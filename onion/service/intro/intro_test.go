package intro

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

var update = flag.Bool("update", false, "write testdata anew")

const period = 20000

var (
	start  = time.Unix(1_800_000_000, 0)
	cookie = desc.Cookie{1, 15: 2}
)

func fromSeed(t testing.TB, n byte) *identity.Identity {
	t.Helper()
	i, err := identity.FromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// scene is a service with one introduction point.
type scene struct {
	service identity.NodeID
	point   *Point
	seeds   *pow.Seeds
}

func newScene(t testing.TB, restricted bool) *scene {
	t.Helper()
	s := &scene{service: fromSeed(t, 7).NodeID()}
	enc, err := ntor.NewPrivateKey(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s.point = newPoint(s.service, fromSeed(t, 8), enc)
	s.point.SetDoors([]uint64{period, period + 1, period - 1}, restricted, cookie, desc.Cookie{})
	s.seeds = pow.NewSeeds(s.service, start)
	return s
}

func (s *scene) request() Request {
	return Request{
		Service: s.service, Period: period,
		Point: s.point.Describe(identity.NodeID{5}, ntor.PublicKey{6}, []layer.Suite{layer.ChaCha}),
		Meet:  Rendezvous{identity.NodeID{3}, ntor.PublicKey{4}, layer.AES, cell.Cookie{5, 15: 6}},
		Suite: layer.ChaCha,
	}
}

func begin(t testing.TB, r Request) *Client {
	t.Helper()
	c, err := NewClient(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMeeting(t *testing.T) {
	for _, tt := range []struct {
		name       string
		restricted bool
		period     uint64
		authorised desc.Cookie
	}{
		{"a stranger", false, period, desc.Cookie{}}, {"with the period before", false, period - 1, desc.Cookie{}},
		{"a friend, with the next period", false, period + 1, cookie}, {"a friend of a restricted service", true, period, cookie},
	} {
		s := newScene(t, tt.restricted)
		r := s.request()
		r.Period, r.Authorised = tt.period, tt.authorised
		c := begin(t, r)
		body := c.Body(pow.Solution{})
		if len(body) > cell.MaxMessage {
			t.Fatalf("an introduction of %d bytes", len(body))
		}
		in, err := s.point.Check(body, s.seeds)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if in.Authorised != (tt.authorised != desc.Cookie{}) {
			t.Errorf("%s: authorised: %v", tt.name, in.Authorised)
		}
		a, err := in.Answer()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if a.Meet != r.Meet || a.Suite != r.Suite {
			t.Errorf("%s: to meet at %+v, suite %d", tt.name, a.Meet, a.Suite)
		}
		if len(a.Body)+cell.MessageHeader > cell.ForwardPayload(cell.LargeBody) {
			t.Errorf("a rendezvous of %d bytes needs two cells", len(a.Body))
		}
		m, err := cell.ParseRendezvous(a.Body)
		if err != nil || m.Cookie != r.Meet.Cookie {
			t.Fatalf("%s: %v", tt.name, err)
		}
		keys, err := c.Finish(m.Reply)
		if err != nil || keys != a.Keys || keys.Forward == keys.Backward {
			t.Fatalf("%s: %v", tt.name, err)
		}
		talk(t, NewClientSession(r.Suite, keys), NewServiceSession(a.Suite, a.Keys))
	}
}

// talk sends cells both ways and sees that a changed one is noticed.
func talk(t *testing.T, client, service *Session) {
	t.Helper()
	for i, size := range []int{LargeBody, SmallBody, LargeBody} {
		for _, ends := range [][2]*Session{{client, service}, {service, client}} {
			b, got := new(layer.Buffer), new(layer.Buffer)
			copy(b[:], "hello")
			tag := ends[0].Seal(b[:size], i == 1)
			messages, same, err := ends[1].Open(got, b[:size], i == 1)
			if err != nil || tag != same || len(messages) != size-cell.TagSize || !bytes.HasPrefix(messages, []byte("hello\x00")) {
				t.Fatalf("cell %d: %q, %v", i, messages, err)
			}
		}
	}
	b, got := new(layer.Buffer), new(layer.Buffer)
	client.Seal(b[:SmallBody], false)
	b[3] ^= 1
	if _, _, err := service.Open(got, b[:SmallBody], false); !errors.Is(err, layer.ErrIntegrity) {
		t.Errorf("a changed cell: %v", err)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	s := newScene(t, true)
	change := func(f func(*Request)) []byte {
		r := s.request()
		r.Authorised = cookie
		f(&r)
		return begin(t, r).Body(pow.Solution{})
	}
	for name, body := range map[string][]byte{
		"who has no cookie":     change(func(r *Request) { r.Authorised = desc.Cookie{} }),
		"who was shut out":      change(func(r *Request) { r.Authorised = desc.Cookie{9} }),
		"of an old period":      change(func(r *Request) { r.Period = period - 2 }),
		"for another service":   change(func(r *Request) { r.Service = identity.NodeID{1} }),
		"who does not know any": cell.AppendIntroduce(nil, cell.Introduce{Key: s.point.Auth().NodeID(), Request: make([]byte, 1300)}),
	} {
		if in, err := s.point.Check(body, s.seeds); !errors.Is(err, ErrStranger) || in != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := change(func(r *Request) { r.Point.Auth = identity.NodeID{1} })
	if _, err := s.point.Check(other, s.seeds); !errors.Is(err, ErrFormat) {
		t.Errorf("for another introduction point: %v", err)
	}
	good := change(func(*Request) {})
	for cut := range good {
		s.point.seen = ntor.NewReplay(100)
		in, err := s.point.Check(good[:cut], s.seeds)
		if err != nil {
			continue
		}
		if _, err := in.Answer(); !errors.Is(err, ErrForged) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// What the introduction point changes, it spoils: in what it sees at once, in the rest
// when the service answers.
func TestEveryByteCounts(t *testing.T) {
	s := newScene(t, false)
	body := begin(t, s.request()).Body(pow.Solution{})
	for i := 0; i < len(body); i++ {
		if i > 150 && i < len(body)-120 && i%31 != 0 {
			continue
		}
		bad := bytes.Clone(body)
		bad[i] ^= 1
		s.point.seen = ntor.NewReplay(100)
		in, err := s.point.Check(bad, s.seeds)
		if err != nil {
			continue
		}
		if _, err := in.Answer(); !errors.Is(err, ErrForged) {
			t.Fatalf("byte %d of %d changed: %v", i, len(body), err)
		}
	}
}

func TestReplay(t *testing.T) {
	s := newScene(t, false)
	c := begin(t, s.request())
	body := c.Body(pow.Solution{})
	if _, err := s.point.Check(body, s.seeds); err != nil {
		t.Fatal(err)
	}
	if _, err := s.point.Check(body, s.seeds); !errors.Is(err, ErrReplayed) {
		t.Errorf("the same again: %v", err)
	}
	// Another rendezvous under the same key, with the same proof of work.
	again := *c
	again.r.Authorised = cookie
	if _, err := s.point.Check(again.Body(pow.Solution{}), s.seeds); !errors.Is(err, ErrReplayed) {
		t.Errorf("with another mark: %v", err)
	}
	for n := range overlap - 1 {
		s.point.seen.Add([32]byte{byte(n), byte(n >> 8), 1})
	}
	if _, err := s.point.Check(body, s.seeds); !errors.Is(err, ErrReplayed) {
		t.Errorf("after others: %v", err)
	}
}

func TestWorkCannotBeUsedTwice(t *testing.T) {
	s := newScene(t, false)
	p := s.seeds.Params(256)
	c, other := begin(t, s.request()), begin(t, s.request())
	nonce, ok := pow.NewSolver(c.Challenge(p.Seed, p.Effort), 0).Try(1 << 20)
	if !ok {
		t.Fatal("no solution")
	}
	sol := pow.Solution{Effort: p.Effort, Seed: p.Seed.ID(), Nonce: nonce}
	if _, err := s.point.Check(other.Body(sol), s.seeds); !errors.Is(err, pow.ErrWork) {
		t.Errorf("for another introduction: %v", err)
	}
	in, err := s.point.Check(c.Body(sol), s.seeds)
	if err != nil || in.Effort != 256 {
		t.Fatalf("%v", err)
	}
	if _, err := s.point.Check(c.Body(sol), s.seeds); !errors.Is(err, ErrReplayed) {
		t.Errorf("the same again: %v", err)
	}
	body := c.Body(sol)
	body[50] ^= 1 // the effort
	if _, err := s.point.Check(body, s.seeds); !errors.Is(err, ErrStranger) {
		t.Errorf("effort changed on the way: %v", err)
	}
}

func TestReplyIsTheService(t *testing.T) {
	s := newScene(t, false)
	c := begin(t, s.request())
	in, err := s.point.Check(c.Body(pow.Solution{}), s.seeds)
	if err != nil {
		t.Fatal(err)
	}
	a, err := in.Answer()
	if err != nil {
		t.Fatal(err)
	}
	reply := a.Body[cell.CookieSize:]
	for i := 0; i < len(reply); i += 13 {
		bad := bytes.Clone(reply)
		bad[i] ^= 1
		if _, err := c.Finish(bad); !errors.Is(err, ErrRendezvous) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := begin(t, s.request()).Finish(reply); !errors.Is(err, ErrRendezvous) {
		t.Errorf("the reply to another: %v", err)
	}
}

func TestEstablish(t *testing.T) {
	auth := fromSeed(t, 8)
	binding := [32]byte{1, 2}
	body := Establish(auth, binding, 25, 200)
	m, err := VerifyEstablish(body, binding)
	if err != nil || identity.NodeID(m.Key) != auth.NodeID() || m.Rate != 25 || m.Burst != 200 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := VerifyEstablish(body, [32]byte{1, 3}); !errors.Is(err, ErrForged) {
		t.Errorf("in another circuit: %v", err)
	}
	for i := range body {
		bad := bytes.Clone(body)
		bad[i] ^= 1
		if _, err := VerifyEstablish(bad, binding); err == nil {
			t.Errorf("byte %d changed", i)
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := newScene(t, false)
	for name, f := range map[string]func(*Request){
		"suite":            func(r *Request) { r.Suite = 9 },
		"suite of the hop": func(r *Request) { r.Meet.Suite = 0 },
		"cookie":           func(r *Request) { r.Meet.Cookie = cell.Cookie{} },
		"key of the point": func(r *Request) { r.Point.Enc = ntor.PublicKey{} },
	} {
		r := s.request()
		f(&r)
		if c, err := NewClient(r); err == nil || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type vector struct {
	Service  string `json:"service_seed"`
	Auth     string `json:"auth_seed"`
	Enc      string `json:"enc"`
	Period   uint64 `json:"period"`
	Cookie   string `json:"cookie"`
	Context  string `json:"context"`
	MarkKey  string `json:"mark_key"`
	Mark     string `json:"mark"`
	Params   string `json:"params"`
	Body     string `json:"introduce"`
	Binding  string `json:"binding"`
	Establ   string `json:"establish_intro"`
	Accepted bool   `json:"authorised"`
}

// The request is random; it is opened, and what does not depend on it compared.
func makeVector(t *testing.T, body []byte) vector {
	s := newScene(t, false)
	h := hex.EncodeToString
	r := s.request()
	r.Authorised = cookie
	if body == nil {
		body = begin(t, r).Body(pow.Solution{})
	}
	ctx := context(key.CredentialFor(s.service, period), s.point.auth.NodeID())
	mk := markKey(ctx, cookie)
	m, err := cell.ParseIntroduce(body)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.point.Check(body, s.seeds)
	if err != nil {
		t.Fatal(err)
	}
	a, err := in.Answer()
	if err != nil || a.Meet != r.Meet {
		t.Fatalf("%v", err)
	}
	binding := [32]byte{1, 2, 3}
	return vector{h(bytes.Repeat([]byte{7}, 32)), h(bytes.Repeat([]byte{8}, 32)), h(bytes.Repeat([]byte{9}, 32)), period, h(cookie[:]),
		h(ctx[:]), h(mk[:]), h(m.Mark[:]), h(params{r.Meet, r.Suite}.append(nil)), h(body), h(binding[:]),
		h(Establish(s.point.auth, binding, 25, 200)), in.Authorised}
}

func TestVectors(t *testing.T) {
	const name = "testdata/introductions.json"
	if *update {
		text, err := json.MarshalIndent(makeVector(t, nil), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want vector
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	body, err := hex.DecodeString(want.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := makeVector(t, body); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func FuzzCheck(f *testing.F) {
	s := newScene(f, false)
	f.Add(begin(f, s.request()).Body(pow.Solution{}))
	f.Add(cell.AppendIntroduce(nil, cell.Introduce{Key: s.point.Auth().NodeID(), Request: make([]byte, 1300)}))
	f.Fuzz(func(t *testing.T, body []byte) {
		s.point.seen = ntor.NewReplay(100)
		if in, err := s.point.Check(body, s.seeds); err == nil {
			in.Answer()
		}
		if m, err := cell.ParseIntroduce(body); err == nil { // with a mark that holds, what follows is reached
			x, err := ntor.EphemeralOf(m.Request)
			if err != nil {
				return
			}
			m.Key = s.point.Auth().NodeID()
			m.Mark = mark(s.point.doors[0].mark, marked(x, pow.Solution{Effort: m.Effort, Seed: m.Seed, Nonce: m.Nonce}))
			s.point.seen = ntor.NewReplay(100)
			if in, err := s.point.Check(cell.AppendIntroduce(nil, m), s.seeds); err == nil {
				in.Answer()
			}
		}
	})
}

func FuzzParams(f *testing.F) {
	f.Add(params{Rendezvous{Suite: 1, Cookie: cell.Cookie{1}}, 2}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseParams(b)
		if err == nil && !bytes.Equal(p.append(nil)[1:], b[1:paramsSize]) {
			t.Fatalf("%x written as %x", b, p.append(nil))
		}
	})
}

// BenchmarkCheck is what one introduction of a flood costs: marks that do not hold.
func BenchmarkCheck(b *testing.B) {
	s := newScene(b, false)
	body := cell.AppendIntroduce(nil, cell.Introduce{Key: s.point.Auth().NodeID(), Request: make([]byte, 1300)})
	for b.Loop() {
		if _, err := s.point.Check(body, s.seeds); !errors.Is(err, ErrStranger) {
			b.Fatal(err)
		}
	}
}
