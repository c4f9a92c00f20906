package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"globalnet/lab/dhtsim"
)

func init() {
	Register(Bench{Name: "compare-dht", Summary: "the hash table beside anacrolix/dht, in the same scenario", Print: compareDHTTable, Parts: []Part{
		{"scenario", "100 nodes, 100 records; 30 % die, as many join", compareDHT},
	}})
}

// The columns of the table.
const (
	oursIterative  = "GlobalNet, iterative"
	oursMembership = "GlobalNet, known routes"
	anacrolix      = "anacrolix/dht"
)

// dhtPeer is the program that lab/peers/anacrolix builds.
const dhtPeer = "dht-anacrolix"

func compareDHT(ctx context.Context, e Env) ([]Result, error) {
	results := append(comparedDHT(oursIterative, dhtsim.Run(dhtsim.Options{})),
		comparedDHT(oursMembership, dhtsim.Run(dhtsim.Options{Membership: true}))...)
	program, err := findDHTPeer()
	if err != nil {
		e.Logf("  %v; going on without", err)
		return results, nil
	}
	cmd := exec.CommandContext(ctx, program, "-partition")
	cmd.Stderr = e.Progress
	out, err := cmd.Output()
	if err != nil {
		return results, fmt.Errorf("running %s: %w", dhtPeer, err)
	}
	var r dhtsim.Result
	if err := json.Unmarshal(out, &r); err != nil {
		return results, fmt.Errorf("reading what %s says: %w", dhtPeer, err)
	}
	return append(results, comparedDHT(anacrolix, r)...), nil
}

// findDHTPeer looks beside this program, where `make compare` puts it, and in the path.
func findDHTPeer() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), dhtPeer)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(dhtPeer)
	if err != nil {
		return "", errors.New("there is no " + dhtPeer + ": `make compare` builds it")
	}
	return path, nil
}

func comparedDHT(program string, r dhtsim.Result) (results []Result) {
	add := func(metric string, value float64, unit, better string) {
		results = append(results, Info(metric+separator+program, value, unit, better))
	}
	for _, name := range []string{
		dhtsim.Store, dhtsim.GetFresh, dhtsim.Update, dhtsim.GetUpdated, dhtsim.GetKilled, dhtsim.GetJoined, dhtsim.Republish, dhtsim.GetRepublished,
	} {
		p := r.Phase(name)
		if p.Ops == 0 {
			continue
		}
		add(name+", right", 100*float64(p.OK)/float64(p.Ops), "%", "more")
		if p.Stale > 0 {
			add(name+", stale", float64(p.Stale), "of 100", "less")
		}
		add(name+", median", milliseconds(p.P50), "ms", "less")
		add(name+", 95 of 100", milliseconds(p.P95), "ms", "less")
		add(name+", requests", p.Requests, "", "less")
		add(name+", datagrams", p.Datagrams, "", "less")
	}
	for _, name := range []string{dhtsim.CutGet, dhtsim.CutStore, dhtsim.Healed} {
		if p := r.Phase(name); p.Ops > 0 {
			add(name+", right", 100*float64(p.OK)/float64(p.Ops), "%", "more")
			add(name+", median", milliseconds(p.P50), "ms", "less")
		}
	}
	if len(r.Phases) > 0 && r.HealedAfter > 0 { // less than zero: not within a minute
		add("99 % fresh after healing", r.HealedAfter.Seconds(), "s", "less")
	}
	add("memory of an empty node", r.BytesPerNode/1e6, "MB", "less")
	return results
}

func compareDHTTable(r Report, w io.Writer) {
	markdown(r, w, []string{oursIterative, oursMembership, anacrolix})
	fmt.Fprint(w, `
All play the same scenario in one process over a network in memory, 5 ms ± 2 one
way. What differs:
- GlobalNet runs in virtual time, so its times do not depend on the machine;
  anacrolix/dht runs in real time, so a busy machine shows in its times.
- anacrolix/dht's limit of 25 packets a second for a whole process is taken off,
  and its requests do not count the puts themselves.
- After the cut, anacrolix/dht has a minute to come to 99 % fresh answers on the
  other side; what is shown are its last answers, and if it has no seconds, it did not.
- GlobalNet's store is read back by a second lookup before it counts.
`)
}
