package vm_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"globalnet/lab/bench"
)

// measurement is what package inside prints of a number, with its goal if it has one.
var measurement = regexp.MustCompile(`(?m)MEASURED (.+): (-?[0-9.]+) (\S+)(?: \(goal ([0-9.]+)\))?$`)

// results are the numbers in what a machine printed.
func results(log string) (all []bench.Result) {
	for _, m := range measurement.FindAllStringSubmatch(log, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			continue
		}
		if goal, err := strconv.ParseFloat(m[4], 64); err == nil {
			all = append(all, bench.Less(m[1], value, m[3], goal))
		} else {
			all = append(all, bench.Info(m[1], value, m[3], "less"))
		}
	}
	return all
}

func TestResults(t *testing.T) {
	log := "    mesh_test.go:12: MEASURED to first ping: one hop: 4.50 s (goal 4)\n    x.go:1: MEASURED peak: 12.00 MiB\nMEASURED nothing\n"
	got := results(log)
	same := func(a, b bench.Result) bool {
		return a.Metric == b.Metric && a.Value == b.Value && a.Unit == b.Unit && (a.Met == nil) == (b.Met == nil) && (a.Met == nil || *a.Met == *b.Met)
	}
	want := []bench.Result{bench.Less("to first ping: one hop", 4.5, "s", 4), bench.Info("peak", 12, "MiB", "less")}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%+v, %+v expected", got, want)
	}
}

// printReport prints one JSON object, as `lab bench` does, and writes it into the
// folder LAB_VM_JSON, if that is set.
func printReport(t *testing.T, name string, results ...bench.Result) {
	t.Helper()
	b, err := json.Marshal(bench.Report{Bench: name, Machine: bench.Machine(), Results: results})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
	if dir := os.Getenv("LAB_VM_JSON"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644); err != nil {
			t.Error(err)
		}
	}
}
