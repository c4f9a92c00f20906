package lan

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/exit"
	"globalnet/onion/stream"
)

const (
	virtualTTL = 60 // seconds; the mapping lasts longer
	minTTL     = 60
	maxTTL     = 1800
	answerSize = 512 // what every client takes; only records of exits are longer
	ednsSize   = 1232
	tcpSize    = 4096
	maxAddrs   = 8

	typeSVCB, typeHTTPS = 64, 65 // RFC 9460
)

// Resolver looks names up through exits; *client.Client does.
type Resolver interface {
	Resolve(ctx context.Context, who client.Isolation, name string) (cell.Resolved, error)
}

// Names is what the names of the zone are to their listener.
type Names struct {
	Zone string // "gnet.alt"
	// Known reports whether there may be something below the zone under this name,
	// which is cut off the zone. It must not block.
	Known func(name string) bool
	Pool  *Pool
}

// zoneName cuts the zone off; inside is true for the zone itself too.
func (n *Names) zoneName(name string) (rest string, inside bool) {
	if name == n.Zone {
		return "", true
	}
	return strings.CutSuffix(name, "."+n.Zone)
}

// local are top-level names that are no matter of the internet's DNS (RFC 6761, 6762,
// 7686, 8375, 9476, ICANN's .internal) or usual in homes.
var local = []string{"local", "localhost", "lan", "home", "test", "invalid", "onion", "internal", "alt", "home.arpa", "localdomain", "workgroup"}

// canaries are the names by which programs ask whether they may use a resolver of their
// own: Firefox, Apple's private relay, and discovery of encrypted resolvers (RFC 9462).
var canaries = []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "resolver.arpa"}

// bootstraps are the names of usual resolvers over HTTPS.
var bootstraps = []string{
	"dns.google", "dns.google.com", "cloudflare-dns.com", "one.one.one.one", "dns.quad9.net", "doh.opendns.com", "dns.adguard.com",
	"dns.adguard-dns.com", "dns.nextdns.io", "doh.cleanbrowsing.org", "dns.mullvad.net", "doh.dns.sb", "doh.li", "dns0.eu", "doh.pub", "dns.alidns.com",
}

func below(name string, list []string) bool {
	for _, l := range list {
		if name == l || strings.HasSuffix(name, "."+l) {
			return true
		}
	}
	return false
}

// query is a question that was read.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	name     string // lower case, without the final dot
	edns     bool
	from     netip.Addr
	room     int // bytes that an answer may have
}

// asks is what an exit is asked for.
func (q query) asks() string {
	if t := q.question.Type; t == dnsmessage.TypeTXT || t == typeHTTPS {
		return cell.Record(q.name, uint16(t))
	}
	return q.name
}

// errQuiet marks what is not answered at all: no query.
var errQuiet = errors.New("no query")

// parse reads a query. Where the error is not errQuiet, rcode says what to answer.
func parse(b []byte, from netip.Addr) (q query, rcode dnsmessage.RCode, err error) {
	var p dnsmessage.Parser
	q.from = from
	if q.header, err = p.Start(b); err != nil || q.header.Response {
		return q, 0, errQuiet
	}
	if q.header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, nil
	}
	if q.question, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, nil
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return q, dnsmessage.RCodeFormatError, nil
	}
	q.name = strings.ToLower(strings.TrimSuffix(q.question.Name.String(), "."))
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, nil
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, nil
		}
		q.edns = q.edns || h.Type == dnsmessage.TypeOPT
	}
	if q.question.Class != dnsmessage.ClassINET {
		return q, dnsmessage.RCodeRefused, nil
	}
	return q, dnsmessage.RCodeSuccess, nil
}

// outcome is what there is to answer.
type outcome struct {
	rcode dnsmessage.RCode
	addrs []netip.Addr
	names []string
	ttl   uint32

	records [][]byte // RDATA of the question's type
}

func refused(rcode dnsmessage.RCode) outcome { return outcome{rcode: rcode} }

// DNSSettings can be changed while a DNS runs.
type DNSSettings struct {
	Exits    bool // answers names outside the zone, through exits
	BlockDoH bool // denies the names of usual resolvers over HTTPS
}

// local answers what needs no exit; done is false for the rest.
func (d *DNS) local(q query, s DNSSettings) (o outcome, done bool) {
	if rest, inside := d.cfg.Names.zoneName(q.name); inside {
		d.zone.Add(1)
		return d.inZone(q, rest), true
	}
	if addr, reverse := exit.FromArpa(q.name); reverse {
		switch {
		case !addr.IsValid():
			return refused(dnsmessage.RCodeNameError), true
		case IsVirtual(addr):
			return d.reverse(q, addr), true
		case !public(addr):
			return refused(dnsmessage.RCodeNameError), true
		}
	}
	switch {
	case !strings.Contains(q.name, "."), below(q.name, local), below(q.name, canaries), s.BlockDoH && below(q.name, bootstraps):
		return refused(dnsmessage.RCodeNameError), true
	case !s.Exits:
		return refused(dnsmessage.RCodeRefused), true
	}
	switch q.question.Type {
	case dnsmessage.TypeA, dnsmessage.TypePTR, dnsmessage.TypeTXT, typeHTTPS:
		return o, false
	case dnsmessage.TypeAAAA:
		return d.six(q)
	case typeSVCB, dnsmessage.TypeNS, dnsmessage.TypeSOA:
		return o, true
	}
	return refused(dnsmessage.RCodeNotImplemented), true
}

func (d *DNS) inZone(q query, rest string) outcome {
	if rest == "" {
		return outcome{}
	}
	if !d.cfg.Names.Known(rest) {
		d.unknown.Add(1)
		return refused(dnsmessage.RCodeNameError)
	}
	return d.assign(q)
}

// assign answers with a virtual address.
func (d *DNS) assign(q query) outcome {
	if q.question.Type != dnsmessage.TypeA && q.question.Type != dnsmessage.TypeAAAA {
		return outcome{}
	}
	owner := q.from
	if owner.IsLoopback() {
		owner = netip.Addr{} // a resolver that asks for everybody
	}
	v4, v6, ok := d.cfg.Names.Pool.Assign(q.name, owner)
	switch {
	case !ok:
		d.full.Add(1)
		return refused(dnsmessage.RCodeServerFailure)
	case q.question.Type == dnsmessage.TypeA:
		return outcome{addrs: []netip.Addr{v4}, ttl: virtualTTL}
	}
	return outcome{addrs: []netip.Addr{v6}, ttl: virtualTTL}
}

// six answers for IPv6 addresses outside the zone. Few exits have IPv6, and a client
// that has IPv4 prefers what it can reach: so there are none, but for a client that
// asks over IPv6 and may have nothing else. It gets a virtual address, and the exit
// finds out by which family the name is reached.
func (d *DNS) six(q query) (outcome, bool) {
	if q.from.Is4() || q.from.IsLoopback() {
		return outcome{}, true
	}
	return d.assign(q), true
}

func (d *DNS) reverse(q query, addr netip.Addr) outcome {
	name, ok := d.cfg.Names.Pool.Name(addr)
	switch {
	case !ok:
		return refused(dnsmessage.RCodeNameError)
	case q.question.Type != dnsmessage.TypePTR:
		return outcome{}
	}
	return outcome{names: []string{name}, ttl: virtualTTL}
}

// public reports whether an exit could know anything of addr.
func public(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !IsVirtual(addr)
}

// exits asks an exit.
func (d *DNS) exits(ctx context.Context, q query) outcome {
	who := client.Isolation{Listener: d.cfg.Name, Client: q.from}
	r, err := d.cache.resolve(ctx, who, q.asks(), d.cfg.Resolver)
	if end := (*stream.EndError)(nil); errors.As(err, &end) {
		r.Reason, err = end.Reason, nil
	}
	switch {
	case err != nil:
		d.failed.Add(1)
		return refused(dnsmessage.RCodeServerFailure)
	case r.Reason == cell.EndResolve:
		return d.present(q, r)
	case r.Reason != cell.EndDone:
		d.failed.Add(1)
		return refused(dnsmessage.RCodeServerFailure)
	}
	return d.present(q, r)
}

// present is what an exit answered, as q wants it.
func (d *DNS) present(q query, r cell.Resolved) outcome {
	o := outcome{ttl: uint32(max(r.TTL/time.Second, 1))}
	switch q.question.Type {
	case dnsmessage.TypeTXT: // that there is none does not say that there is no such name
		o.records = r.Records
		return o
	case typeHTTPS:
		for _, data := range r.Records {
			if data, ok := withoutHints(data); ok {
				o.records = append(o.records, data)
			}
		}
		return o
	}
	if r.Reason != cell.EndDone {
		return refused(dnsmessage.RCodeNameError)
	}
	if q.question.Type == dnsmessage.TypePTR {
		o.names = r.Names
		return o
	}
	for _, a := range r.Addrs {
		// An answer that leads into the LAN would let a web site reach it (rebinding).
		if a = a.Unmap(); a.Is4() && public(a) && len(o.addrs) < maxAddrs {
			o.addrs = append(o.addrs, a)
		}
	}
	return o
}

// withoutHints takes the addresses out of a record of HTTPS (RFC 9460 section 2.2): nobody
// judged them, and they may lead into the LAN. Ok is false for what cannot do without.
func withoutHints(data []byte) (clean []byte, ok bool) {
	const mandatory, hint4, hint6 = 0, 4, 6
	at := 2
	for at < len(data) && data[at] > 0 && data[at] < 64 { // the labels of the target
		at += 1 + int(data[at])
	}
	if at >= len(data) || data[at] != 0 {
		return nil, false
	}
	clean = slices.Clone(data[:at+1])
	for rest := data[at+1:]; len(rest) > 0; {
		if len(rest) < 4 || len(rest)-4 < int(binary.BigEndian.Uint16(rest[2:])) {
			return nil, false
		}
		key, end := binary.BigEndian.Uint16(rest), 4+int(binary.BigEndian.Uint16(rest[2:]))
		if key == mandatory {
			for keys := rest[4:end]; len(keys) >= 2; keys = keys[2:] {
				if k := binary.BigEndian.Uint16(keys); k == hint4 || k == hint6 {
					return nil, false
				}
			}
		}
		if key != hint4 && key != hint6 {
			clean = append(clean, rest[:end]...)
		}
		rest = rest[end:]
	}
	return clean, true
}

// appendAnswer appends the answer to q.
func appendAnswer(dst []byte, q query, o outcome) []byte {
	size := 12 + 5 + int(q.question.Name.Length) + 11 // header, question, EDNS
	for _, r := range o.records {
		size += 12 + len(r)
	}
	truncated := len(o.records) > 0 && size > q.room
	if truncated {
		o.records = nil
	}
	h := dnsmessage.Header{ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RecursionDesired: q.header.RecursionDesired,
		RecursionAvailable: true, RCode: o.rcode, Truncated: truncated}
	b := dnsmessage.NewBuilder(dst, h)
	b.EnableCompression()
	if q.question.Name.Length > 0 {
		b.StartQuestions()
		b.Question(q.question)
	}
	b.StartAnswers()
	rh := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: o.ttl}
	for _, a := range o.addrs {
		if a.Is4() {
			b.AResource(rh, dnsmessage.AResource{A: a.As4()})
		} else {
			b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	room := answerSize - 12 - 5 - int(q.question.Name.Length) - 11 // header, question, EDNS
	for _, n := range o.names {
		name, err := dnsmessage.NewName(n + ".")
		if room -= len(n) + 14; err != nil || room < 0 {
			break
		}
		b.PTRResource(rh, dnsmessage.PTRResource{PTR: name})
	}
	for _, r := range o.records {
		b.UnknownResource(rh, dnsmessage.UnknownResource{Type: q.question.Type, Data: r})
	}
	if q.edns {
		b.StartAdditionals()
		var opt dnsmessage.ResourceHeader
		opt.SetEDNS0(ednsSize, dnsmessage.RCodeSuccess, false)
		b.OPTResource(opt, dnsmessage.OPTResource{})
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}
