package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"globalnet/lab"
)

// explainAgents prints what each agent does and the end of the log of those that are not well.
func explainAgents(l *lab.Lab, w io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, n := range l.Routers() {
		state := n.AgentState()
		st, err := n.Status(ctx)
		if err == nil {
			up := 0
			for _, k := range st.Neighbours {
				if k.State == "up" {
					up++
				}
			}
			fmt.Fprintf(w, "  %s: agent %s, %d of %d neighbours up, %d routes\n", n.Name, state, up, len(st.Neighbours), selected(st))
			if up > 0 {
				continue
			}
		} else {
			fmt.Fprintf(w, "  %s: agent %s; %v\n", n.Name, state, err)
		}
		for _, line := range tail(n.LogPath(), 5) {
			fmt.Fprintf(w, "    | %s\n", line)
		}
	}
}

func selected(st lab.Status) int {
	n := 0
	for _, r := range st.Routes {
		if r.Selected {
			n++
		}
	}
	return n
}

// maxTail bounds how much of a log's end is looked at.
const maxTail = 4096

func tail(path string, lines int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > maxTail {
		f.Seek(-maxTail, io.SeekEnd)
	}
	b, _ := io.ReadAll(io.LimitReader(f, maxTail))
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(all) == 1 && all[0] == "" {
		return nil
	}
	return all[max(0, len(all)-lines):]
}
