package lab

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killLeftOver kills every process that still has the network namespace of a
// node: daemons that left their parent, programs started by exec.
func (l *Lab) killLeftOver() {
	ours := map[uint64]bool{}
	for _, n := range l.nodes {
		var st unix.Stat_t
		if unix.Fstat(n.ns.Fd(), &st) == nil {
			ours[st.Ino] = true
		}
	}
	// Where /proc is not the sandbox's own, its numbers are not ours to kill. The
	// end of the sandbox then ends what is left.
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return
	}
	for end := time.Now().Add(stopTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if left := processesIn(ours); len(left) == 0 {
			return
		} else {
			for _, pid := range left {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// processesIn lists the processes, other than this one, in the namespaces of these inodes.
// A zombie has no namespace any more.
func processesIn(inodes map[uint64]bool) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+e.Name()+"/ns/net", &st) == nil && inodes[st.Ino] {
			pids = append(pids, pid)
		}
	}
	return pids
}
