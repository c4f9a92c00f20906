package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
	"globalnet/mesh"
)

// clockHall has one router whose clock is set; all others booted in 1970, some days apart.
//
//	a (1970)   b (set)   c   d   e (1970)
//	+---------+---------+---+---+
const clockHall = `router a b c d e
segment hall a b c d e
`

// agentWithClock builds an agent whose clock is off, and says whether it is set. The rest
// of the machine keeps its clock: there is one for all namespaces.
func agentWithClock(t *testing.T, path string, ahead time.Duration, set bool) {
	t.Helper()
	clock := strconv.FormatInt(int64(ahead/time.Second), 10)
	if set {
		clock += " set"
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "nethttpomithttp2", "-ldflags", "-X 'globalnet/internal/clock.fake="+clock+"'",
		"-o", path, "globalnet/cmd/globalnet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
}

// Routers that booted in 1970 take the time from one that has it: their services are
// found from everywhere, and they find others.
func TestRoutersWithoutAClock(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "curl")
	agents := t.TempDir()
	old := -time.Since(time.Unix(0, 0))
	agentWithClock(t, filepath.Join(agents, "set"), 0, true)
	agentWithClock(t, filepath.Join(agents, "old"), old+time.Minute, false)
	agentWithClock(t, filepath.Join(agents, "older"), old+9*24*time.Hour, false)
	for name, agent := range map[string]string{"a": "old", "b": "set", "c": "older", "d": "old", "e": "older"} {
		must(t, os.Symlink(agent, filepath.Join(agents, name)))
	}
	top, err := topology.Parse(clockHall)
	must(t, err)
	l := lab.New(top, lab.Options{Agent: []string{filepath.Join(agents, "{node}"), "run", "--config", "{config}"}, Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Start(ctx))
	t.Cleanup(func() {
		if t.Failed() {
			printLogs(t, l)
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	must(t, l.WaitAgents(ctx))
	for _, name := range names(l) {
		want := 1
		if name == "b" {
			want = 0
		}
		eventually(t, name+" has the time", func() bool {
			var s struct{ Clock *mesh.Clock }
			out, err := owns(t, l, name, "status", "--json")
			if err != nil || json.Unmarshal([]byte(out), &s) != nil || s.Clock == nil {
				return false
			}
			return s.Clock.Hops == want && time.Since(s.Clock.Time).Abs() < time.Minute
		})
		knows(t, l, name, 4, 0)
	}
	addresses := make(map[string]string)
	for _, name := range []string{"a", "b"} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "index.html"), fmt.Append(nil, "on ", name), 0o600))
		owner(t, l, name, "service", "add", "page", "--dir", dir)
		addresses[name] = reachable(t, l, name, "page")
	}
	sees(t, l, "b", addresses["a"], "on a")
	sees(t, l, "e", addresses["a"], "on a")
	sees(t, l, "a", addresses["b"], "on b")
}
