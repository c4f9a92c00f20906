package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory is what /proc says of a process, in MiB.
type memory struct {
	rss, peak float64
}

// memoryOf reads VmRSS and VmHWM (proc(5)).
func memoryOf(pid int) (memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	var m memory
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		if len(words) == 0 {
			continue
		}
		kib, _ := strconv.ParseFloat(words[0], 64)
		switch name {
		case "VmRSS":
			m.rss = kib / 1024
		case "VmHWM":
			m.peak = kib / 1024
		}
	}
	return m, nil
}

// tick is the unit of CPU times in /proc; it is 100 a second on every Linux that we run on.
const tick = 10 * time.Millisecond

// cpuOf is the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return parseCPU(string(b))
}

// parseCPU reads fields 14 and 15, user and system time. The name of the program,
// field 2, may hold anything, but ends with the last parenthesis.
func parseCPU(stat string) (time.Duration, error) {
	_, after, _ := strings.Cut(stat[max(0, strings.LastIndexByte(stat, ')')):], " ")
	words := strings.Fields(after)
	if len(words) < 13 {
		return 0, fmt.Errorf("process statistics cut short: %q", stat)
	}
	user, err1 := strconv.ParseInt(words[11], 10, 64)
	system, err2 := strconv.ParseInt(words[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("no CPU times in %q", stat)
	}
	return time.Duration(user+system) * tick, nil
}

// cpu is the CPU time that all processes of one program have used.
func (t *trial) cpu(program int) (time.Duration, error) {
	var sum time.Duration
	for _, n := range t.lab.Routers() {
		c, err := cpuOf(t.meshes[program].Pid(n.Name))
		if err != nil {
			return 0, err
		}
		sum += c
	}
	return sum, nil
}

// memories is the memory of all processes of one program.
func (t *trial) memories(program int) ([]memory, error) {
	var all []memory
	for _, n := range t.lab.Routers() {
		m, err := memoryOf(t.meshes[program].Pid(n.Name))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
