// Command sizes prints the size of router binaries, bare and compressed, and
// fails when one is over its budget. The Makefile runs it; it is never shipped.
package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// The budgets of a router with 16 MB of flash. They are given for MIPS, of which most of
// these are; 32-bit ARM code is denser but packs worse, and may have a tenth more.
const (
	budget     = 13_900_000 // bytes of the stripped binary; 12,500,000 are aimed at (decision 0002)
	packBudget = 4_600_000  // bytes of it compressed by gzip, as in a package; 4,200,000 are aimed at
)

func (s size) packBudget() int64 {
	if strings.Contains(s.name, "-arm") {
		return packBudget * 11 / 10
	}
	return packBudget
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

func run(files []string, stdout io.Writer) error {
	if len(files) == 0 {
		return errors.New("no binary named; `make build-all` makes them")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "binary\tbytes\tof %d\tgzip\tof %d\txz\t\n", budget, packBudget)
	var over []error
	for _, name := range files {
		s, err := measure(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t\n", s.name, s.bytes, percent(s.bytes, budget), s.gzip, percent(s.gzip, packBudget), s.xz)
		over = append(over, s.check())
	}
	return errors.Join(append(over, w.Flush())...)
}

type size struct {
	name        string
	bytes, gzip int64
	xz          string // "-" where there is no xz
}

func measure(name string) (size, error) {
	f, err := os.Open(name)
	if err != nil {
		return size{}, err
	}
	defer f.Close()
	s := size{name: filepath.Base(name), xz: "-"}
	var packed counter
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return size{}, err
	}
	if s.bytes, err = io.Copy(z, f); err == nil {
		err = z.Close()
	}
	if err != nil {
		return size{}, fmt.Errorf("compressing %s: %w", name, err)
	}
	s.gzip = int64(packed)
	if xz, err := exec.LookPath("xz"); err == nil {
		var packed counter
		cmd := exec.Command(xz, "-6", "-c", name)
		cmd.Stdout = &packed
		if err := cmd.Run(); err != nil {
			return size{}, fmt.Errorf("running xz: %w", err)
		}
		s.xz = strconv.FormatInt(int64(packed), 10)
	}
	return s, nil
}

// onDisk are architectures whose routers have disks: they are shown, not judged.
var onDisk = []string{"-amd64", "-386"}

func (s size) check() error {
	if slices.ContainsFunc(onDisk, func(arch string) bool { return strings.HasSuffix(s.name, arch) }) {
		return nil
	}
	var errs []error
	if s.bytes > budget {
		errs = append(errs, fmt.Errorf("%s has %d bytes, %d over its budget", s.name, s.bytes, s.bytes-budget))
	}
	if most := s.packBudget(); s.gzip > most {
		errs = append(errs, fmt.Errorf("%s has %d bytes compressed, %d over its budget", s.name, s.gzip, s.gzip-most))
	}
	return errors.Join(errs...)
}

func percent(n, of int64) string {
	return strings.TrimSpace(fmt.Sprintf("%3.0f %%", 100*float64(n)/float64(of)))
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
