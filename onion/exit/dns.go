package exit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// resolvConf is where the system names its servers.
	resolvConf = "/etc/resolv.conf"
	// confAge is for how long the file is taken to be the same.
	confAge = 5 * time.Second

	askTimeout = 3 * time.Second // of one server, once
	rounds     = 2               // through all servers
	maxServers = 3
	maxAnswers = 64
	datagram   = 1232 // EDNS size that never needs fragments
)

// Stub is a DNS client (RFC 1035) that asks the system's servers, which cache: it does not, so
// that one client cannot learn from its own answers what others asked. It knows
// neither a hosts file nor search domains: names of the exit's home are nobody's
// business. Unlike the standard library it tells times to live.
type Stub struct {
	path  string
	fixed []netip.AddrPort

	mu      sync.Mutex
	servers []netip.AddrPort
	read    time.Time
}

// NewStub returns a Stub that asks these servers, or, without any, those that the
// file at path names; an empty path means /etc/resolv.conf.
func NewStub(path string, servers ...netip.AddrPort) *Stub {
	if path == "" {
		path = resolvConf
	}
	return &Stub{path: path, fixed: servers}
}

var (
	errNoServer = errors.New("no DNS server is known")
	errServer   = errors.New("no DNS server gave an answer")
)

// LookupAddrs implements Resolver with A and AAAA.
func (s *Stub) LookupAddrs(ctx context.Context, name string) (addrs []netip.Addr, ttl time.Duration, err error) {
	type result struct {
		answer answer
		err    error
	}
	v6 := make(chan result, 1)
	go func() {
		a, err := s.ask(ctx, name, dnsmessage.TypeAAAA)
		v6 <- result{a, err}
	}()
	a4, err4 := s.ask(ctx, name, dnsmessage.TypeA)
	r6 := <-v6
	a6, err6 := r6.answer, r6.err
	addrs = append(a6.addrs, a4.addrs...)
	switch {
	case len(addrs) == 0:
		if err4 != nil && err4 != errNotFound {
			return nil, 0, err4
		}
		if err6 != nil {
			return nil, 0, err6
		}
		return nil, 0, errNotFound
	case len(a4.addrs) == 0:
		return addrs, a6.ttl, nil
	case len(a6.addrs) == 0:
		return addrs, a4.ttl, nil
	}
	return addrs, min(a4.ttl, a6.ttl), nil
}

// LookupNames implements Resolver with PTR.
func (s *Stub) LookupNames(ctx context.Context, addr netip.Addr) ([]string, time.Duration, error) {
	a, err := s.ask(ctx, toArpa(addr), dnsmessage.TypePTR)
	return a.names, a.ttl, err
}

// LookupRecords is for types whose records hold no pointers to names.
func (s *Stub) LookupRecords(ctx context.Context, name string, kind uint16) ([][]byte, time.Duration, error) {
	a, err := s.ask(ctx, name, dnsmessage.Type(kind))
	return a.records, a.ttl, err
}

// answer is what an answer section says.
type answer struct {
	addrs   []netip.Addr
	names   []string
	records [][]byte
	ttl     time.Duration
}

func (a *answer) empty() bool { return len(a.addrs)+len(a.names)+len(a.records) == 0 }

// ask tries the servers in turn until one answers.
func (s *Stub) ask(ctx context.Context, name string, kind dnsmessage.Type) (answer, error) {
	servers, err := s.list()
	if err != nil {
		return answer{}, err
	}
	qname, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return answer{}, errNotFound
	}
	q := dnsmessage.Question{Name: qname, Type: kind, Class: dnsmessage.ClassINET}
	for range rounds {
		for _, server := range servers {
			a, err := exchange(ctx, server, q)
			if err == nil || errors.Is(err, errNotFound) {
				return a, err
			}
			if err := ended(ctx); err != nil {
				return answer{}, err
			}
		}
	}
	return answer{}, errServer
}

// ended is ctx.Err, but does not lag behind the deadline as that may: sockets keep it exactly.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// exchange asks one server, over TCP if the answer is too long for a datagram.
func exchange(ctx context.Context, server netip.AddrPort, q dnsmessage.Question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a, truncated, err := exchangeOver(ctx, "udp", server, q)
	if truncated {
		a, _, err = exchangeOver(ctx, "tcp", server, q)
	}
	return a, err
}

func exchangeOver(ctx context.Context, network string, server netip.AddrPort, q dnsmessage.Question) (a answer, truncated bool, err error) {
	var random [2]byte
	rand.Read(random[:])
	id := binary.BigEndian.Uint16(random[:])
	query, err := newQuery(id, q)
	if err != nil {
		return a, false, fmt.Errorf("writing a DNS query: %w", err)
	}
	c, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return a, false, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := c.Write(query); err != nil {
		return a, false, err
	}
	for {
		b, err := readMessage(c, network)
		if err != nil {
			return a, false, err
		}
		a, truncated, err = parseAnswer(b, id, q)
		if err != errNotOurs { // what is not the answer may be a forger's: keep waiting
			return a, truncated && network == "udp", err
		}
	}
}

func readMessage(c net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		b := make([]byte, 2*datagram)
		n, err := c.Read(b)
		return b[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func newQuery(id uint16, q dnsmessage.Question) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	var edns dnsmessage.ResourceHeader
	err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAdditionals(), edns.SetEDNS0(datagram, dnsmessage.RCodeSuccess, false),
		b.OPTResource(edns, dnsmessage.OPTResource{}))
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// errNotOurs means a message that does not answer the question asked.
var errNotOurs = errors.New("not the answer")

// parseAnswer reads the answer to q. The server has followed aliases.
func parseAnswer(b []byte, id uint16, q dnsmessage.Question) (a answer, truncated bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != id || !h.Response {
		return a, false, errNotOurs
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.Type || asked.Class != q.Class || !strings.EqualFold(asked.Name.String(), q.Name.String()) {
		return a, false, errNotOurs
	}
	switch {
	case h.Truncated:
		return a, true, errServer
	case h.RCode == dnsmessage.RCodeNameError:
		return a, false, errNotFound
	case h.RCode != dnsmessage.RCodeSuccess:
		return a, false, errServer
	}
	if err := p.SkipAllQuestions(); err != nil {
		return a, false, errServer
	}
	for range maxAnswers {
		r, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return answer{}, false, errServer
		}
		if err := a.add(&p, r, q.Type); err != nil {
			return answer{}, false, errServer
		}
	}
	if a.empty() {
		return answer{}, false, errNotFound
	}
	return a, false, nil
}

// add reads one record.
func (a *answer) add(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, want dnsmessage.Type) error {
	if h.Class != dnsmessage.ClassINET || h.Type != want {
		return p.SkipAnswer()
	}
	ttl := time.Duration(h.TTL) * time.Second
	if a.empty() || ttl < a.ttl {
		a.ttl = ttl
	}
	switch want {
	case dnsmessage.TypeA:
		r, err := p.AResource()
		a.addrs = append(a.addrs, netip.AddrFrom4(r.A))
		return err
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		a.addrs = append(a.addrs, netip.AddrFrom16(r.AAAA))
		return err
	}
	if want != dnsmessage.TypePTR {
		r, err := p.UnknownResource()
		a.records = append(a.records, r.Data)
		return err
	}
	r, err := p.PTRResource()
	a.names = append(a.names, r.PTR.String())
	return err
}

// list returns the servers to ask.
func (s *Stub) list() ([]netip.AddrPort, error) {
	if len(s.fixed) > 0 {
		return s.fixed, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read.IsZero() || time.Since(s.read) > confAge {
		b, err := os.ReadFile(s.path)
		if err == nil {
			s.servers = parseResolvConf(b)
		}
		s.read = time.Now()
	}
	if len(s.servers) == 0 {
		return nil, errNoServer
	}
	return s.servers, nil
}

// parseResolvConf reads the nameserver lines of resolv.conf(5).
func parseResolvConf(b []byte) (servers []netip.AddrPort) {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan() && len(servers) < maxServers; {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
	}
	return servers
}
