package peers

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// Each program carries pings over two hops, and is gone after Stop.
func TestPrograms(t *testing.T) {
	for _, p := range []Program{Babeld{}, Yggdrasil{}} {
		t.Run(p.Name(), func(t *testing.T) {
			labtest.Require(t)
			if p.Check() != nil {
				labtest.RequireProgram(t, p.Name())
			}
			top, err := topology.Parse("line 3 wire")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			l := lab.New(top, lab.Options{})
			if err := l.Start(ctx); err != nil {
				t.Fatal(err)
			}
			defer l.Stop()
			m, err := p.Prepare(ctx, l)
			if err != nil {
				t.Fatal(err)
			}
			if m.Pid("r1") != 0 {
				t.Error("it runs before it is started")
			}
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			pinger, err := lab.NewPinger(l.Node("r1").Namespace())
			if err != nil {
				t.Fatal(err)
			}
			defer pinger.Close()
			if _, err := pinger.Until(ctx, m.Address("r3"), 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if m.Pid("r1") == 0 || m.Pid("nobody") != 0 {
				t.Error("process ids are wrong")
			}
			m.Stop()
			if m.Pid("r1") != 0 {
				t.Error("it runs after Stop")
			}
			m.Stop()
		})
	}
}

func TestAgentsOfTheLab(t *testing.T) {
	labtest.Require(t)
	top, err := topology.Parse("router a b\nwire a b")
	if err != nil {
		t.Fatal(err)
	}
	l := lab.New(top, lab.Options{Agent: []string{"sleep", "1000"}, Manual: true})
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	m, err := GlobalNet{}.Prepare(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if m.Pid("a") == 0 || m.Pid("a") == m.Pid("b") {
		t.Errorf("process ids %d and %d", m.Pid("a"), m.Pid("b"))
	}
	if !m.Address("a").IsValid() || m.Address("a") == m.Address("b") {
		t.Errorf("addresses %v and %v", m.Address("a"), m.Address("b"))
	}
	m.Stop()
	if m.Pid("a") != 0 {
		t.Error("it runs after Stop")
	}
	m.Stop()
}

func TestYggdrasilConfig(t *testing.T) {
	out, err := yggdrasilConfig([]byte(`{"PrivateKey":"k","AdminListen":"unix:///x","MulticastInterfaces":[{"Regex":".*","Beacon":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		PrivateKey, AdminListen string
		MulticastInterfaces     []struct {
			Regex  string
			Beacon bool
		}
	}
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	if c.PrivateKey != "k" || c.AdminListen != "none" || len(c.MulticastInterfaces) != 1 ||
		c.MulticastInterfaces[0].Regex != "wire-.*" || !c.MulticastInterfaces[0].Beacon {
		t.Errorf("%s", out)
	}
	if _, err := yggdrasilConfig([]byte("no")); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestMissingProgram(t *testing.T) {
	err := check("no-such-program")
	var m *Missing
	if !errors.As(err, &m) || !strings.Contains(err.Error(), "apt-get install no-such-program") {
		t.Errorf("%v", err)
	}
}
