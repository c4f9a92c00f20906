// Command packages builds the packages for routers from the binaries that `make
// build-all` left: .ipk and .apk for every architecture, the indexes of a feed,
// signatures, checksums and a bill of materials. The Makefile runs it; it is never
// shipped. It owns nothing but what it writes below -o.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"globalnet/board"
	"globalnet/openwrt/pack/deflate"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// options are the flags, and what the environment says.
type options struct {
	out, binaries, feed, luci string
	arches                    []board.Arch
	version                   string
	time                      time.Time
	keys                      keys
	packer                    *deflate.Packer
}

func run(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("packages", flag.ContinueOnError)
	out := fs.String("o", "dist/packages", "`FOLDER` to write to")
	binaries := fs.String("binaries", "dist", "`FOLDER` of the files globalnet-ARCH")
	feed := fs.String("feed", "openwrt/feed/globalnet", "`FOLDER` of the files and scripts of the package")
	luci := fs.String("luci", "openwrt/luci", "`FOLDER` of LuCI's application")
	only := fs.String("arch", "", "package `ARCHITECTURES`, with commas between; empty for all")
	version := fs.String("version", "", "what git describes; empty to ask git")
	printVersion := fs.Bool("print-version", false, "print the version of the packages and end")
	keygen := fs.String("keygen", "", "make new keys in that `FOLDER` and end")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q: no arguments, only flags", fs.Arg(0))
	}
	if *keygen != "" {
		return newKeys(*keygen, stdout)
	}
	o := options{out: *out, binaries: *binaries, feed: *feed, luci: *luci, packer: deflate.New()}
	var err error
	if o.version, o.time, err = versionAndTime(*version, os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	if *printVersion {
		_, err := fmt.Fprintln(stdout, o.version)
		return err
	}
	if o.arches, err = chosen(*only); err != nil {
		return err
	}
	if o.keys, err = loadKeys(os.Getenv); err != nil {
		return err
	}
	return o.build(stdout)
}

func chosen(only string) ([]board.Arch, error) {
	if only == "" {
		return board.Arches(), nil
	}
	var arches []board.Arch
	for name := range strings.SplitSeq(only, ",") {
		a, ok := board.LookupArch(strings.TrimSpace(name))
		if !ok {
			var known []string
			for _, a := range board.Arches() {
				known = append(known, a.Name)
			}
			return nil, fmt.Errorf("no architecture %q; there are %s", name, strings.Join(known, ", "))
		}
		arches = append(arches, a)
	}
	return arches, nil
}

// versionAndTime asks git for what was not given. Everything inside the packages
// carries the time of the commit, so that the same commit gives the same bytes.
func versionAndTime(describe, epoch string) (string, time.Time, error) {
	var err error
	if describe == "" {
		if describe, err = git("describe", "--always", "--dirty"); err != nil {
			return "", time.Time{}, fmt.Errorf("finding the version (give -version without git): %w", err)
		}
	}
	if epoch == "" {
		if epoch, err = git("log", "-1", "--format=%ct"); err != nil {
			return "", time.Time{}, fmt.Errorf("finding the time (set SOURCE_DATE_EPOCH without git): %w", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	when := time.Unix(seconds, 0).UTC()
	version, err := packageVersion(describe, when)
	return version, when, err
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("git %s: %s", args[0], strings.TrimSpace(string(e.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
