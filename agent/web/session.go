package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of sessions and of logins that fail.
const (
	maxSessions = 16
	sessionIdle = 30 * time.Minute
	sessionAge  = 12 * time.Hour
	cookieName  = "globalnet"
	loginWindow = time.Minute
	loginsEach  = 5  // wrong passwords of one client in loginWindow
	loginsAll   = 20 // of all
	maxSuspects = 256
	maxWaitHash = 4 // who wait for the one hash that is computed
	tokenBytes  = 32
)

// sessions are the owner's browsers. Only hashes of cookies are kept.
type sessions struct {
	mu sync.Mutex
	of map[[32]byte]*session
}

type session struct {
	begun, used time.Time
	password    string // the hash that held at the login
}

func newSessions() sessions { return sessions{of: make(map[[32]byte]*session)} }

// begin makes a session and returns its cookie.
func (s *sessions) begin(now time.Time, password string) *http.Cookie {
	var token [tokenBytes]byte
	rand.Read(token[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(token[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	for len(s.of) >= maxSessions {
		s.dropOldest()
	}
	s.of[sha256.Sum256([]byte(text))] = &session{begun: now, used: now, password: password}
	return cookie(text, int(sessionAge.Seconds()))
}

func cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

func (s *sessions) expire(now time.Time) {
	for key, x := range s.of {
		if now.Sub(x.used) >= sessionIdle || now.Sub(x.begun) >= sessionAge {
			delete(s.of, key)
		}
	}
}

func (s *sessions) dropOldest() {
	var oldest [32]byte
	for key, x := range s.of {
		if o := s.of[oldest]; o == nil || x.used.Before(o.used) {
			oldest = key
		}
	}
	delete(s.of, oldest)
}

// valid reports whether the request is of a session, which goes on then. A session ends
// with the password it began with.
func (s *sessions) valid(now time.Time, r *http.Request, password string) bool {
	c, err := r.Cookie(cookieName)
	if err != nil || password == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	key := sha256.Sum256([]byte(c.Value))
	x := s.of[key]
	if x == nil {
		return false
	}
	if x.password != password {
		delete(s.of, key)
		return false
	}
	x.used = now
	return true
}

// end ends the session of a request.
func (s *sessions) end(r *http.Request) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, sha256.Sum256([]byte(c.Value)))
}

// logins bound how often passwords are tried.
type logins struct {
	mu      sync.Mutex
	clients map[netip.Prefix]*tries
	all     tries
	turn    chan struct{} // held while a hash is computed
	waiting int
}

// tries are those of one window.
type tries struct {
	begun time.Time
	count int
}

func newLogins() logins {
	return logins{clients: make(map[netip.Prefix]*tries), turn: make(chan struct{}, 1)}
}

// begin takes a try off what a client has. It returns after how long to come again; 0: now.
func (l *logins) begin(now time.Time, client netip.Addr) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, t := range l.clients {
		if now.Sub(t.begun) >= loginWindow {
			delete(l.clients, p)
		}
	}
	if l.waiting >= maxWaitHash {
		return time.Second
	}
	p := clientOf(client)
	t := l.clients[p]
	if t == nil {
		if len(l.clients) >= maxSuspects {
			return loginWindow
		}
		t = &tries{begun: now}
	}
	if now.Sub(l.all.begun) >= loginWindow {
		l.all = tries{begun: now}
	}
	switch {
	case t.count >= loginsEach:
		return loginWindow - now.Sub(t.begun)
	case l.all.count >= loginsAll:
		return loginWindow - now.Sub(l.all.begun)
	}
	l.clients[p] = t
	t.count++
	l.all.count++
	l.waiting++
	return 0
}

// done ends what begin began. A right password makes up for wrong ones.
func (l *logins) done(client netip.Addr, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	if right {
		delete(l.clients, clientOf(client))
		l.all.count = max(l.all.count-1, 0)
	}
}

// clientOf is a client, by the network where it may choose addresses.
func clientOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
