package metrics

import (
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	var p Text
	p.One("up_seconds", Gauge, "Time since the start.", 1.5)
	p.Family("bytes_total", Counter, "Bytes, by \\ and \"\nline.")
	p.Sample(1<<53, "way", "in")
	p.Sample(math.Inf(1), "way", "o\"u\\t\n", "x", "\xff")
	p.Sample(math.NaN())
	want := "# HELP up_seconds Time since the start.\n# TYPE up_seconds gauge\nup_seconds 1.5\n" +
		"# HELP bytes_total Bytes, by \\\\ and \"\\nline.\n# TYPE bytes_total counter\n" +
		"bytes_total{way=\"in\"} 9.007199254740992e+15\n" +
		"bytes_total{way=\"o\\\"u\\\\t\\n\",x=\"\uFFFD\"} +Inf\nbytes_total NaN\n"
	if got := string(p.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	var p Text
	p.One("globalnet_up_seconds", Gauge, "Time since the start, \"so\".", 1e-9)
	p.Family("globalnet_bytes_total", Counter, "Bytes.")
	p.Sample(3, "way", "a\\b\"c\nd")
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(string(p.Bytes()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// FuzzSample: whatever a label holds, the sample is one line from which a reader gets
// the label back.
func FuzzSample(f *testing.F) {
	f.Add("plain", 1.0)
	f.Add("\"}\n# TYPE x counter\n", 0.0)
	f.Add("\\", math.MaxFloat64)
	f.Fuzz(func(t *testing.T, label string, v float64) {
		var p Text
		p.Family("n", Gauge, label)
		p.Sample(v, "l", label)
		lines := strings.Split(strings.TrimSuffix(string(p.Bytes()), "\n"), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines of %q", len(lines), p.Bytes())
		}
		sample, ok := strings.CutPrefix(lines[2], `n{l="`)
		end := strings.LastIndex(sample, `"} `)
		if !ok || end < 0 {
			t.Fatalf("no sample: %q", lines[2])
		}
		if got := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\"`, `"`).Replace(sample[:end]); got != strings.ToValidUTF8(label, "\uFFFD") {
			t.Errorf("label %q is read as %q", label, got)
		}
		got, err := strconv.ParseFloat(sample[end+3:], 64)
		if err != nil || got != v && fmt.Sprint(got) != fmt.Sprint(v) {
			t.Errorf("value %v is read as %v, %v", v, got, err)
		}
	})
}
