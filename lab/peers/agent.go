package peers

import (
	"context"
	"net/netip"

	"globalnet/lab"
)

// GlobalNet is the agent that the lab itself runs; the lab must have been made
// with the option Manual.
type GlobalNet struct{}

func (GlobalNet) Name() string { return "GlobalNet" }

func (GlobalNet) Check() error { return nil }

// Prepare has nothing to do: the lab has made the keys.
func (GlobalNet) Prepare(_ context.Context, l *lab.Lab) (Mesh, error) { return agents{l}, nil }

type agents struct{ lab *lab.Lab }

func (a agents) Start() error { return a.lab.StartAgents() }

func (a agents) Stop() {
	for _, n := range a.lab.Routers() {
		n.Terminate(patience) // an agent that does not run is as good as stopped
	}
}

func (a agents) Address(router string) netip.Addr {
	addr, _ := a.lab.Node(router).Address() // every router has one
	return addr
}

func (a agents) Pid(router string) int { return a.lab.Node(router).Pid() }
