package inside

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/kernel"
)

// TestSmall is what runs on machines of other architectures: three agents on ad-hoc
// radios in a row.
//
//	n0 ~ ~ n1 ~ ~ n2
func TestSmall(t *testing.T) { small(t, false) }

// TestSmallService is that, and the one end opens a hidden service of the other. There
// are too few relays for paths of full length.
func TestSmallService(t *testing.T) { small(t, true) }

func small(t *testing.T, service bool) {
	require(t)
	radios := open(t, 3)
	if err := Chain(radios); err != nil {
		t.Fatal(err)
	}
	site := website(t)
	agents := settle(t, kernel.RadioAdHoc, radios, func(i int) []string {
		if i == 2 && service {
			return site
		}
		return nil
	})
	begin := time.Now()
	start(t, agents...)
	against(t, startGoal, "small: start of three agents to first ping, one hop", reach(t, begin, agents[0], agents[1]).Seconds(), "s")
	against(t, startGoal, "small: start of three agents to first ping, two hops", reach(t, begin, agents[0], agents[2]).Seconds(), "s")
	if n := radios[0].Links(); n != 1 {
		t.Errorf("%d WireGuard interfaces at the end of the line, 1 expected", n)
	}
	if service {
		address := visit(t, agents[0], agents[2])
		measured(t, "small: start of three agents to the answer of a hidden service", time.Since(begin).Seconds(), "s")
		begin = time.Now()
		if _, err := get(t.Context(), radios[0], address); err != nil {
			t.Errorf("a second time: %v", err)
		}
		measured(t, "small: a second request to it", time.Since(begin).Seconds(), "s")
	}

	used := make([]time.Duration, len(agents))
	for i, a := range agents {
		used[i] = a.cpu(t)
	}
	begin = time.Now()
	time.Sleep(10 * time.Second)
	for i, a := range agents {
		measured(t, fmt.Sprintf("small: CPU of agent %d in the 10 s after", i), 100*(a.cpu(t)-used[i]).Seconds()/time.Since(begin).Seconds(), "%")
	}
	stop(t, agents)
}

// cpu is what the process has used of the processor (proc(5), fields 14 and 15).
func (a *Agent) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var ticks int
	for _, f := range strings.Fields(string(b))[13:15] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
