package inside

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab"
	"globalnet/mesh/kernel"
)

// neighbourhood is agents on radios that have joined the ad-hoc cell.
func neighbourhood(t *testing.T, radios []*Radio, options ...string) []*Agent {
	t.Helper()
	return settle(t, kernel.RadioAdHoc, radios, func(int) []string { return options })
}

// settle is agents on radios of a mode, with options that depend on which it is.
func settle(t *testing.T, mode kernel.RadioMode, radios []*Radio, optionsOf func(i int) []string) []*Agent {
	t.Helper()
	return settleIn(t, mode, radios, t.TempDir(), optionsOf)
}

// settleIn is settle with folders of the agents below dir.
func settleIn(t *testing.T, mode kernel.RadioMode, radios []*Radio, dir string, optionsOf func(i int) []string) []*Agent {
	t.Helper()
	var agents []*Agent
	for i, r := range radios {
		if err := r.Join(mode); err != nil {
			t.Fatal(err)
		}
		options := optionsOf(i)
		if os.Getenv("INSIDE_VM") == "verbose" {
			options = append([]string{"option log_level debug"}, options...)
		}
		a, err := NewAgent(r, filepath.Join(dir, fmt.Sprintf("n%d", i)), options...)
		if err != nil {
			t.Fatal(err)
		}
		agents = append(agents, a)
		t.Cleanup(func() { a.endTest(t, i) })
	}
	for _, r := range radios {
		if !until(patience, func() bool { _, ok := r.LinkLocal(); return ok }) {
			t.Fatalf("%s has no address", r.Ifname)
		}
	}
	return agents
}

// endTest ends an agent with its test. Of a test that failed, its log tells what it was doing.
func (a *Agent) endTest(t *testing.T, i int) {
	if t.Failed() {
		_ = a.end(unix.SIGQUIT, time.Minute)
	}
	a.Kill()
	if t.Failed() || os.Getenv("INSIDE_VM") == "verbose" {
		t.Logf("log of agent %d:\n%s", i, a.Log())
	}
}

func start(t *testing.T, agents ...*Agent) {
	t.Helper()
	for _, a := range agents {
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// patience is for machines without the steady clock on a busy computer.
const patience = 5 * time.Minute

// reach waits until one agent's ping reaches another, and returns the time since begin.
func reach(t *testing.T, begin time.Time, from, to *Agent) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := lab.NewPinger(from.Radio.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Until(ctx, to.Address, 50*time.Millisecond); err != nil {
		t.Fatalf("%s to %s: %v", from.Radio.Name, to.Radio.Name, err)
	}
	return time.Since(begin)
}

// measured prints a number for the table of docs/lab-vm.md.
func measured(t *testing.T, what string, value float64, unit string) {
	t.Helper()
	t.Logf("MEASURED %s: %.2f %s", what, value, unit)
}

// against is measured for a number that should be at most goal.
func against(t *testing.T, goal float64, what string, value float64, unit string) {
	t.Helper()
	t.Logf("MEASURED %s: %.2f %s (goal %g)", what, value, unit, goal)
}

// startGoal is how many seconds an agent may take from its start to the first ping.
const startGoal = 4

// TestLine runs three agents on radios in a row, ad-hoc and 802.11s: the ends do not
// hear each other and must reach each other through the middle. In 802.11s that is
// for Babel to find: the radios' own routing is off.
//
//	n0 ~ ~ n1 ~ ~ n2
func TestLine(t *testing.T) {
	require(t)
	for _, mode := range []kernel.RadioMode{kernel.RadioAdHoc, kernel.RadioMesh} {
		t.Run(string(mode), func(t *testing.T) { line(t, mode) })
	}
}

func line(t *testing.T, mode kernel.RadioMode) {
	radios := open(t, 3)
	if err := Chain(radios); err != nil {
		t.Fatal(err)
	}
	agents := settle(t, mode, radios, func(int) []string { return nil })
	begin := time.Now()
	start(t, agents...)
	against(t, startGoal, "start of three agents to first ping, one hop, "+string(mode), reach(t, begin, agents[0], agents[1]).Seconds(), "s")
	against(t, startGoal, "start of three agents to first ping, two hops, "+string(mode), reach(t, begin, agents[0], agents[2]).Seconds(), "s")
	reach(t, begin, agents[2], agents[0])

	// The links are the kernel's, and the way of the ends leads over the middle.
	if n := radios[0].Links(); n != 1 {
		t.Errorf("%d WireGuard interfaces at the end of the line, 1 expected", n)
	}
	for _, a := range agents {
		s, err := a.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range s.Neighbours {
			if n.Class != "radio" || n.State != "up" {
				t.Errorf("%s: link %+v, an established one over a radio expected", a.Radio.Name, n)
			}
		}
	}
	stop(t, agents)
}

// TestJoin starts a second agent beside one that runs, kills it and starts it again.
func TestJoin(t *testing.T) {
	require(t)
	radios := open(t, 2)
	agents := neighbourhood(t, radios)
	start(t, agents[0])
	if !until(20*time.Second, func() bool { _, err := agents[0].Status(t.Context()); return err == nil }) {
		t.Fatal("the first agent does not answer")
	}
	begin := time.Now()
	start(t, agents[1])
	against(t, startGoal, "start of an agent to its first ping, one hop", reach(t, begin, agents[1], agents[0]).Seconds(), "s")
	for range 3 {
		// Without a word to the neighbour, whose end of the link stays.
		agents[1].Kill()
		if err := agents[1].Cleanup(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		start(t, agents[1])
		measured(t, "start again after kill -9 to first ping, one hop", reach(t, begin, agents[1], agents[0]).Seconds(), "s")
	}
	stop(t, agents)
}

// TestMemory measures the agent in the middle of a star of four neighbours, as it
// works on a router with little memory and on another. Only the first has a bound.
func TestMemory(t *testing.T) {
	require(t)
	for _, mode := range []string{"small", "large"} {
		t.Run(mode, func(t *testing.T) { star(t, mode) })
	}
}

func star(t *testing.T, mode string) {
	radios := open(t, 5)
	for i, r := range radios {
		mask := uint64(1) << i
		if i == 0 {
			mask = 0b11110
		}
		if err := r.SetGroups(mask); err != nil {
			t.Fatal(err)
		}
	}
	agents := neighbourhood(t, radios, "option memory "+mode)
	begin := time.Now()
	start(t, agents...)
	for _, a := range agents[1:] {
		reach(t, begin, agents[0], a)
	}
	measured(t, "start of five agents to four neighbours reached", time.Since(begin).Seconds(), "s")
	// Idle for a while, so that what the start needed can be given back.
	time.Sleep(60 * time.Second)
	rss, anonymous, peak, err := agents[0].Memory()
	if err != nil {
		t.Fatal(err)
	}
	s, err := agents[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Neighbours) != 4 {
		t.Errorf("%d neighbours, 4 expected", len(s.Neighbours))
	}
	against(t, 20, "RSS with 4 neighbours, memory "+mode, float64(rss)/(1<<20), "MiB")
	measured(t, "of it not of files, memory "+mode, float64(anonymous)/(1<<20), "MiB")
	measured(t, "peak RSS, memory "+mode, float64(peak)/(1<<20), "MiB")
	if mode == "small" && rss > 20<<20 {
		t.Errorf("RSS %d KiB, at most 20480 expected", rss>>10)
	}
	stop(t, agents)
}

// stop stops all agents and looks for what they left.
func stop(t *testing.T, agents []*Agent) {
	t.Helper()
	for _, a := range agents {
		if s, err := a.Status(t.Context()); err != nil || len(s.Interfaces) == 0 {
			t.Errorf("%s: %v, %+v", a.Radio.Name, err, s)
		}
		begin := time.Now()
		if err := a.Stop(patience); err != nil {
			t.Errorf("%s: %v", a.Radio.Name, err)
		}
		against(t, 5, "stop of an agent", time.Since(begin).Seconds(), "s")
		if left, err := a.Radio.Left(); err != nil || len(left) > 0 {
			t.Errorf("%s: left: %v, %v", a.Radio.Name, left, err)
		}
		if _, err := os.Stat(a.socket()); err == nil {
			t.Errorf("%s: the socket is left", a.Radio.Name)
		}
	}
}
