package labtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// AgentVariable may name a built agent, so that it is not built for each package's tests.
const AgentVariable = "GLOBALNET_AGENT"

// agent is the real binary, built once a test process.
var agent binary

type binary struct {
	once sync.Once
	dir  string
	path string
	err  string
}

// Agent returns the command of the real agent for lab.Options, built from the
// tree under test.
func Agent(t testing.TB) []string {
	t.Helper()
	Require(t)
	agent.once.Do(agent.build)
	if agent.err != "" {
		t.Fatal("building the agent: " + agent.err)
	}
	return []string{agent.path, "run", "--config", "{config}"}
}

func (b *binary) build() {
	if b.path = os.Getenv(AgentVariable); b.path != "" {
		return
	}
	dir, err := os.MkdirTemp("", "gnagent-")
	if err != nil {
		b.err = err.Error()
		return
	}
	b.dir, b.path = dir, filepath.Join(dir, "globalnet")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "nethttpomithttp2", "-o", b.path, "globalnet/cmd/globalnet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = strings.TrimSpace(string(out)) + " " + err.Error()
	}
}

func (b *binary) remove() {
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}
