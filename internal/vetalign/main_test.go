package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The test binary is the tool too: go vet starts it.
func TestMain(m *testing.M) {
	if os.Getenv("VETALIGN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFaults(t *testing.T) {
	const file = "testdata/fault/fault.go"
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, line := range strings.Split(string(source), "\n") {
		if strings.HasSuffix(line, "// fault") {
			want = append(want, fmt.Sprint(i+1))
		}
	}
	for _, arch := range []string{"mips", "mipsle", "arm", "386"} {
		if got := faults(t, arch); !slices.Equal(got, want) {
			t.Errorf("%s: faults in lines %v, want %v", arch, got, want)
		}
	}
	if got := faults(t, "amd64"); got != nil {
		t.Errorf("amd64: faults in lines %v, want none: it has 64 bits", got)
	}
}

// faults gives the lines of the planted faults that go vet complains of.
func faults(t *testing.T, arch string) (lines []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	vet := exec.Command("go", "vet", "-vettool="+self, "./testdata/fault")
	vet.Env = append(os.Environ(), "VETALIGN=1", "GOOS=linux", "GOARCH="+arch, "GOMIPS=softfloat", "CGO_ENABLED=0")
	out, err := vet.CombinedOutput()
	for _, m := range regexp.MustCompile(`fault\.go:(\d+):\d+: address that is no multiple of 8`).FindAllStringSubmatch(string(out), -1) {
		lines = append(lines, m[1])
	}
	if (err == nil) != (lines == nil) {
		t.Fatalf("%s: %v\n%s", arch, err, out)
	}
	return lines
}
