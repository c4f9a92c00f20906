// Command sizes prints the size of router binaries: bare, in a package, and as part of
// an image. It fails when one is over its budget. The Makefile runs it; it is never shipped.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"globalnet/openwrt/pack/deflate"
)

// The budgets of a router with 16 MB of flash. They are given for MIPS, of which most of
// these are; ARM code packs worse, and may have a thirtieth more.
const (
	budget     = 13_250_000 // bytes of the stripped binary; 12,500,000 are aimed at (decision 0002)
	packBudget = 4_200_000  // bytes of it in a package
)

func (s size) packBudget() int64 {
	if strings.Contains(s.name, "-arm") {
		return packBudget * 31 / 30
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
	fmt.Fprintf(w, "binary\tbytes\tof %d\tin a package\tof %d\txz\tsquashfs\t\n", budget, packBudget)
	packer := deflate.New()
	var over []error
	for _, name := range files {
		s, err := measure(name, packer)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t\n",
			s.name, s.bytes, percent(s.bytes, budget), s.packed, percent(s.packed, packBudget), s.xz, s.squashfs)
		over = append(over, s.check())
	}
	return errors.Join(append(over, w.Flush())...)
}

type size struct {
	name          string
	bytes, packed int64
	xz, squashfs  string // "-" where there is no xz
}

func measure(name string, packer *deflate.Packer) (size, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return size{}, err
	}
	s := size{name: filepath.Base(name), bytes: int64(len(text))}
	var xzErr, squashErr error
	var wg sync.WaitGroup
	wg.Go(func() { s.xz, xzErr = xz(text, "-6") })
	wg.Go(func() { s.squashfs, squashErr = xz(text, squashfsOptions(s.name)...) })
	stream := packer.Stream()
	stream.Write(text)
	s.packed = int64(len(stream.Gzip()))
	wg.Wait()
	return s, errors.Join(xzErr, squashErr)
}

// squashfsOptions make of xz what OpenWrt's images do with a file: blocks of 256 KiB
// that know nothing of each other, with these parameters, and the filter for 32-bit ARM.
func squashfsOptions(name string) []string {
	options := []string{"--threads=1", "--check=crc32", "--block-size=262144"}
	if strings.Contains(name, "-arm") && !strings.HasSuffix(name, "-arm64") {
		options = append(options, "--arm")
	}
	return append(options, "--lzma2=preset=9e,lc=0,lp=2,pb=2,dict=256KiB")
}

// xz says how many bytes xz makes of text.
func xz(text []byte, options ...string) (string, error) {
	path, err := exec.LookPath("xz")
	if err != nil {
		return "-", nil
	}
	var packed counter
	cmd := exec.Command(path, append(options, "--stdout")...)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(text), &packed
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running xz: %w", err)
	}
	return strconv.FormatInt(int64(packed), 10), nil
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
	if most := s.packBudget(); s.packed > most {
		errs = append(errs, fmt.Errorf("%s has %d bytes in a package, %d over its budget", s.name, s.packed, s.packed-most))
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
