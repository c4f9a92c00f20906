package beacon

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Names of the service; docs/protocols/beacon.md has the layout.
const (
	serviceType = "_globalnet._udp"
	serviceName = serviceType + ".local."
	hostSuffix  = ".local."

	protocolVersion = "1"
	proofLabel      = "globalnet beacon 1"
	proofSize       = 8

	recordTTL    = 120 // seconds; RFC 6762 section 10 for records that name a host
	cacheFlush   = 1 << 15
	maxMessage   = 1400 // ours have about 250 bytes
	maxRecords   = 16
	maxAddresses = 4
)

var (
	errGoodbye = errors.New("goodbye")
	errVersion = errors.New("unknown protocol version")
)

// An announcement is all that a beacon says of its node.
type announcement struct {
	tag   Tag
	port  uint16
	proof [proofSize]byte
	addrs []netip.Addr // of the host, without zones
}

// proofOf lets members of a network know each other by their tags, and nobody else.
func proofOf(networkKey []byte, tag Tag) (p [proofSize]byte) {
	mac := hmac.New(sha256.New, networkKey)
	mac.Write([]byte(proofLabel))
	mac.Write(tag[:])
	copy(p[:], mac.Sum(nil))
	return p
}

func (a *announcement) instanceName() string { return a.tag.String() + "." + serviceName }
func (a *announcement) hostName() string     { return a.tag.String() + hostSuffix }

func (a *announcement) text() []string {
	return []string{
		"v=" + protocolVersion,
		"t=" + a.tag.String(),
		"n=" + hex.EncodeToString(a.proof[:]),
	}
}

// appendQuery appends the question for all instances of the service.
func appendQuery(dst []byte) ([]byte, error) {
	b := dnsmessage.NewBuilder(dst, dnsmessage.Header{})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(dnsmessage.Question{
		Name:  dnsmessage.MustNewName(serviceName),
		Type:  dnsmessage.TypePTR,
		Class: dnsmessage.ClassINET,
	}); err != nil {
		return nil, err
	}
	return b.Finish()
}

// appendAnnouncement appends a as an unsolicited response (RFC 6762 section
// 8.3), with ttl 0 as a goodbye (section 10.1). The PTR record comes first: the
// filter of the receivers looks there.
func appendAnnouncement(dst []byte, a *announcement, ttl uint32) ([]byte, error) {
	instance, err := dnsmessage.NewName(a.instanceName())
	if err != nil {
		return nil, err
	}
	host, err := dnsmessage.NewName(a.hostName())
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(dst, dnsmessage.Header{Response: true, Authoritative: true})
	b.EnableCompression()
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	shared := dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET, TTL: ttl}
	unique := dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET | cacheFlush, TTL: ttl}

	shared.Name = dnsmessage.MustNewName(serviceName)
	if err := b.PTRResource(shared, dnsmessage.PTRResource{PTR: instance}); err != nil {
		return nil, err
	}
	unique.Name = instance
	if err := b.SRVResource(unique, dnsmessage.SRVResource{Port: a.port, Target: host}); err != nil {
		return nil, err
	}
	if err := b.TXTResource(unique, dnsmessage.TXTResource{TXT: a.text()}); err != nil {
		return nil, err
	}
	unique.Name = host
	for _, addr := range a.addrs {
		if addr.Is4() {
			err = b.AResource(unique, dnsmessage.AResource{A: addr.As4()})
		} else {
			err = b.AAAAResource(unique, dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// parseAnnouncement reads a response that holds one whole instance of the
// service: PTR, SRV, TXT and addresses, in the answer or additional section.
// Records that contradict each other are refused.
func parseAnnouncement(msg []byte) (*announcement, error) {
	if len(msg) > maxMessage {
		return nil, fmt.Errorf("message of %d bytes", len(msg))
	}
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return nil, err
	}
	if !h.Response || h.OpCode != 0 || h.RCode != dnsmessage.RCodeSuccess {
		return nil, errors.New("not a response")
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, err
	}
	var c collector
	if err := c.section(&p, p.AnswerHeader, p.SkipAnswer); err != nil {
		return nil, err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return nil, err
	}
	if err := c.section(&p, p.AdditionalHeader, p.SkipAdditional); err != nil {
		return nil, err
	}
	return c.announcement()
}

// A collector gathers the records of one message.
type collector struct {
	records  int
	goodbye  bool
	instance string // target of the PTR record
	srvOwner string
	srv      *dnsmessage.SRVResource
	txtOwner string
	txt      []string
	owners   [maxAddresses]string // of addrs
	addrs    []netip.Addr
}

func (c *collector) section(p *dnsmessage.Parser, next func() (dnsmessage.ResourceHeader, error), skip func() error) error {
	for {
		h, err := next()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if c.records++; c.records > maxRecords {
			return errors.New("too many records")
		}
		if h.Class&^cacheFlush != dnsmessage.ClassINET {
			if err := skip(); err != nil {
				return err
			}
			continue
		}
		if err := c.record(p, h, skip); err != nil {
			return err
		}
	}
}

func (c *collector) record(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, skip func() error) error {
	switch h.Type {
	case dnsmessage.TypePTR:
		r, err := p.PTRResource()
		if err != nil {
			return err
		}
		if c.instance != "" {
			return errors.New("second PTR record")
		}
		if !strings.EqualFold(h.Name.String(), serviceName) {
			return errors.New("PTR record of another service")
		}
		c.instance, c.goodbye = r.PTR.String(), h.TTL == 0
	case dnsmessage.TypeSRV:
		r, err := p.SRVResource()
		if err != nil {
			return err
		}
		if c.srv != nil {
			return errors.New("second SRV record")
		}
		c.srvOwner, c.srv = h.Name.String(), &r
	case dnsmessage.TypeTXT:
		r, err := p.TXTResource()
		if err != nil {
			return err
		}
		if c.txt != nil {
			return errors.New("second TXT record")
		}
		c.txtOwner, c.txt = h.Name.String(), r.TXT
	case dnsmessage.TypeA:
		r, err := p.AResource()
		if err != nil {
			return err
		}
		return c.address(h, netip.AddrFrom4(r.A))
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		if err != nil {
			return err
		}
		addr := netip.AddrFrom16(r.AAAA)
		if addr.Is4In6() {
			return errors.New("IPv4-mapped address")
		}
		return c.address(h, addr)
	default:
		return skip()
	}
	return nil
}

func (c *collector) address(h dnsmessage.ResourceHeader, addr netip.Addr) error {
	if len(c.addrs) == maxAddresses {
		return errors.New("too many addresses")
	}
	c.owners[len(c.addrs)] = h.Name.String()
	c.addrs = append(c.addrs, addr)
	return nil
}

// announcement checks that the records speak of one instance.
func (c *collector) announcement() (*announcement, error) {
	if c.instance == "" || c.srv == nil || c.txt == nil || len(c.addrs) == 0 {
		return nil, errors.New("record missing")
	}
	a, err := parseText(c.txt)
	if err != nil {
		return nil, err
	}
	a.port, a.addrs = c.srv.Port, c.addrs
	instance, host := a.instanceName(), a.hostName()
	for _, name := range []string{c.instance, c.srvOwner, c.txtOwner} {
		if !strings.EqualFold(name, instance) {
			return nil, errors.New("records of different instances")
		}
	}
	if !strings.EqualFold(c.srv.Target.String(), host) {
		return nil, errors.New("host that is not of the tag")
	}
	for _, owner := range c.owners[:len(c.addrs)] {
		if !strings.EqualFold(owner, host) {
			return nil, errors.New("address of another host")
		}
	}
	if c.goodbye {
		return nil, errGoodbye
	}
	if a.port == 0 {
		return nil, errors.New("port 0")
	}
	return a, nil
}

// parseText reads the strings of the TXT record (RFC 6763 section 6.4): keys in
// either case, the first of equal keys counts, unknown keys are for later versions.
func parseText(text []string) (*announcement, error) {
	var values [3]string // of v, t, n
	var have [3]bool
	for _, s := range text {
		key, value, _ := strings.Cut(s, "=")
		if len(key) != 1 {
			continue
		}
		i := strings.IndexByte("vtn", key[0]|0x20)
		if i >= 0 && !have[i] {
			values[i], have[i] = value, true
		}
	}
	if values[0] != protocolVersion {
		return nil, errVersion
	}
	a := new(announcement)
	if err := decodeHex(a.tag[:], values[1]); err != nil {
		return nil, fmt.Errorf("parsing tag: %w", err)
	}
	if err := decodeHex(a.proof[:], values[2]); err != nil {
		return nil, fmt.Errorf("parsing network proof: %w", err)
	}
	return a, nil
}

func decodeHex(dst []byte, s string) error {
	if len(s) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d characters, not %d", len(s), hex.EncodedLen(len(dst)))
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}
