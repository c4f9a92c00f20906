package exit

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
)

// Resolver looks names up. Its addresses need not be good ones: the policy judges them.
type Resolver interface {
	LookupAddrs(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)
	LookupNames(ctx context.Context, addr netip.Addr) ([]string, time.Duration, error)
}

// recordResolver is a Resolver that can look other records up.
type recordResolver interface {
	LookupRecords(ctx context.Context, name string, kind uint16) ([][]byte, time.Duration, error)
}

// recordTypes can be asked for: TXT, SVCB and HTTPS (RFC 9460).
var recordTypes = []uint16{16, 64, 65}

// Answers tell one of these times to live, rounded down: the rest of a time that a
// cache counts down would tell when somebody else asked.
var lifetimes = []time.Duration{1800 * time.Second, 300 * time.Second, 60 * time.Second}

const maxNames = 8 // that an address is said to have

// Resolve implements relay.Resolver. It tells nothing that Connect would not dial.
func (e *Exit) Resolve(ctx context.Context, name string) (cell.Resolved, error) {
	s := e.current.Load()
	var answer cell.Resolved
	err := e.admitLookup(ctx, s)
	if addr, reverse := FromArpa(name); err == nil && reverse {
		answer, err = e.resolveAddr(ctx, s.policy, addr)
	} else if name, kind, bad := cell.ParseRecord(name); err == nil && (bad != nil || kind != 0) {
		answer, err = e.resolveRecord(ctx, name, kind)
	} else if err == nil {
		answer, err = e.resolveName(ctx, s.policy, name)
	}
	if err != nil {
		return cell.Resolved{}, e.told(err)
	}
	e.stats.resolved.Add(1)
	return answer, nil
}

func (e *Exit) admitLookup(ctx context.Context, s *settings) error {
	switch {
	case !e.quota.Left():
		return errQuota
	case len(s.secret) > 0 && !relay.Trusted(ctx):
		return errSecret
	case !s.policy.Leads():
		return errNoExit
	}
	return nil
}

func (e *Exit) resolveName(ctx context.Context, p *policy.Policy, name string) (answer cell.Resolved, err error) {
	if err := policy.CheckName(name); err != nil {
		return answer, err
	}
	found, ttl, err := e.lookup(ctx, name)
	if err != nil {
		return answer, err
	}
	answer.TTL = lifetime(ttl)
	answer.Addrs, err = filter(found, p.Open)
	return answer, err
}

func (e *Exit) resolveAddr(ctx context.Context, p *policy.Policy, addr netip.Addr) (answer cell.Resolved, err error) {
	if err := p.Open(addr); err != nil {
		return answer, err
	}
	select {
	case e.lookups <- struct{}{}:
		defer func() { <-e.lookups }()
	default:
		return answer, errLimit
	}
	names, ttl, err := e.cfg.Resolver.LookupNames(ctx, addr)
	if err != nil {
		return answer, &resolveError{err}
	}
	for _, n := range names {
		n = strings.TrimSuffix(n, ".")
		if policy.CheckName(n) == nil && len(answer.Names) < maxNames {
			answer.Names = append(answer.Names, n)
		}
	}
	if len(answer.Names) == 0 {
		return answer, &resolveError{errNotFound}
	}
	answer.TTL = lifetime(ttl)
	return answer, nil
}

func (e *Exit) resolveRecord(ctx context.Context, name string, kind uint16) (answer cell.Resolved, err error) {
	r, ok := e.cfg.Resolver.(recordResolver)
	if !ok || !slices.Contains(recordTypes, kind) || strings.HasSuffix(strings.ToLower(name), ".arpa") {
		return answer, &resolveError{errNotFound}
	}
	if err := policy.CheckName(name); err != nil {
		return answer, err
	}
	select {
	case e.lookups <- struct{}{}:
		defer func() { <-e.lookups }()
	default:
		return answer, errLimit
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	records, ttl, err := r.LookupRecords(ctx, name, kind)
	if err != nil {
		return answer, &resolveError{err}
	}
	return cell.Resolved{TTL: lifetime(ttl), Records: records}, nil
}

func lifetime(ttl time.Duration) time.Duration {
	for _, l := range lifetimes {
		if ttl >= l {
			return l
		}
	}
	return lifetimes[len(lifetimes)-1]
}

const (
	arpa4 = ".in-addr.arpa"
	arpa6 = ".ip6.arpa"
)

// FromArpa reads the address of a name below in-addr.arpa or ip6.arpa (RFC 1035
// section 3.5, RFC 3596 section 2.5). The address is invalid if the name is not complete.
func FromArpa(name string) (addr netip.Addr, reverse bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := strings.CutSuffix(name, arpa4); ok {
		parts := strings.Split(rest, ".")
		var b [4]byte
		if len(parts) != len(b) {
			return addr, true
		}
		for i, p := range parts {
			n, err := strconv.ParseUint(p, 10, 8)
			if err != nil || strconv.Itoa(int(n)) != p {
				return addr, true
			}
			b[3-i] = byte(n)
		}
		return netip.AddrFrom4(b), true
	}
	if rest, ok := strings.CutSuffix(name, arpa6); ok {
		parts := strings.Split(rest, ".")
		var b [16]byte
		if len(parts) != 2*len(b) {
			return addr, true
		}
		for i, p := range parts {
			n, err := strconv.ParseUint(p, 16, 4)
			if err != nil || len(p) != 1 {
				return addr, true
			}
			b[15-i/2] |= byte(n) << (4 * (i % 2))
		}
		return netip.AddrFrom16(b), true
	}
	return addr, false
}

// toArpa is the other way round.
func toArpa(addr netip.Addr) string {
	addr = addr.Unmap()
	b := addr.AsSlice()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		if s.Len() > 0 {
			s.WriteByte('.')
		}
		if addr.Is4() {
			s.WriteString(strconv.Itoa(int(b[i])))
			continue
		}
		s.WriteString(strconv.FormatUint(uint64(b[i]&15), 16))
		s.WriteByte('.')
		s.WriteString(strconv.FormatUint(uint64(b[i]>>4), 16))
	}
	if addr.Is4() {
		return s.String() + arpa4
	}
	return s.String() + arpa6
}
