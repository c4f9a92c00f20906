package babel

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"globalnet/mesh/babel/wire"
)

// RouterID names a speaker.
type RouterID = wire.RouterID

// Config is what a Speaker needs to begin.
type Config struct {
	RouterID  RouterID
	Rand      *rand.Rand
	Accept    func(ifname string, p netip.Prefix, id RouterID) bool
	MaxRoutes int
}

type Interface struct {
	Name                          string
	Address                       netip.Addr
	MTU                           int
	HelloInterval, UpdateInterval time.Duration
	Cost                          uint16
	RTT                           bool
}

type Speaker struct{}

func New(cfg Config) *Speaker { return &Speaker{} }

var errNotYet = errors.New("not implemented")

func (s *Speaker) AddInterface(now time.Time, i Interface) error          { return errNotYet }
func (s *Speaker) RemoveInterface(now time.Time, name string)             {}
func (s *Speaker) SetCost(now time.Time, name string, cost uint16)        {}
func (s *Speaker) Originate(now time.Time, p netip.Prefix, metric uint16) {}
func (s *Speaker) Withdraw(now time.Time, p netip.Prefix)                 {}
func (s *Speaker) HandlePacket(now time.Time, ifname string, from netip.Addr, packet []byte) error {
	return errNotYet
}
func (s *Speaker) HandleTimeout(now time.Time)           {}
func (s *Speaker) NextTimeout() time.Time                { return time.Time{} }
func (s *Speaker) NextEvent() (Event, bool)              { return nil, false }
func (s *Speaker) Probe(now time.Time, ifname string)    {}
func (s *Speaker) LinkDown(now time.Time, ifname string) {}
func (s *Speaker) Neighbours() []NeighbourInfo           { return nil }
func (s *Speaker) Routes() []RouteInfo                   { return nil }
func (s *Speaker) Counters() map[string]uint64           { return nil }
