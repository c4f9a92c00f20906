// Command mipscount counts the instructions that a MIPS processor without floating
// point takes to seal a cell of 1344 bytes: the program in seal runs under
// qemu-mips-static, one instruction a block, and only the cipher's own code counts.
// The count is that of eleven seals less that of one, so it does not depend on the
// machine or its load.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	qemu    = "qemu-mips-static"
	size    = 1344
	between = 10 // seals
	target  = 55 // instructions a byte
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mipscount:", err)
		os.Exit(1)
	}
}

func run() error {
	if _, err := exec.LookPath(qemu); err != nil {
		return errors.New(qemu + " is not installed; on Debian: apt-get install qemu-user-static")
	}
	dir, err := os.MkdirTemp("", "mipscount-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "seal")
	build := exec.Command("go", "build", "-o", program, "globalnet/lab/mipscount/seal")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=mips", "GOMIPS=softfloat", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w: %s", err, out)
	}
	for _, x := range []struct {
		name, argument string
		packages       []string
	}{
		{"golang.org/x/crypto", "theirs", []string{"golang.org/x/crypto/"}},
		{"internal/chacha", "ours", []string{"globalnet/internal/chacha."}},
	} {
		ranges, err := code(program, x.packages)
		if err != nil {
			return err
		}
		var counts [2]int
		for i, n := range []int{1, 1 + between} {
			if counts[i], err = count(program, ranges, x.argument, n); err != nil {
				return err
			}
		}
		seal := float64(counts[1]-counts[0]) / between
		fmt.Printf("%-20s %8.0f instructions a seal of %d bytes, %.1f a byte", x.name, seal, size, seal/size)
		if x.argument == "ours" {
			fmt.Printf(" (target ≤ %d: %s)", target, map[bool]string{true: "met", false: "MISSED"}[seal/size <= target])
		}
		fmt.Println()
	}
	return nil
}

// code returns where the functions of packages are, as qemu's -dfilter wants it.
func code(program string, packages []string) (string, error) {
	out, err := exec.Command("go", "tool", "nm", "-n", program).Output()
	if err != nil {
		return "", fmt.Errorf("reading symbols: %w", err)
	}
	var ranges []string
	begin := int64(-1)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		addr, err := strconv.ParseInt(words[0], 16, 64)
		if err != nil {
			continue
		}
		if begin >= 0 && addr > begin {
			ranges = append(ranges, fmt.Sprintf("0x%x..0x%x", begin, addr-1))
			begin = -1
		}
		for _, p := range packages {
			if strings.HasPrefix(words[2], p) && strings.EqualFold(words[1], "t") {
				begin = addr
			}
		}
	}
	if len(ranges) == 0 {
		return "", fmt.Errorf("no code of %v", packages)
	}
	return strings.Join(ranges, ","), nil
}

// count returns how many instructions of the ranges ran.
func count(program, ranges, argument string, n int) (int, error) {
	cmd := exec.Command(qemu, "-singlestep", "-d", "exec,nochain", "-dfilter", ranges, program, argument, strconv.Itoa(n))
	log, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("running %s: %w", qemu, err)
	}
	traces := 0
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte("Trace")) {
			traces++
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("%s: %w", qemu, err)
	}
	return traces, nil
}
