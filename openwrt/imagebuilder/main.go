// Command imagebuilder drives an ImageBuilder of OpenWrt that the user has: it puts
// our package into it, gives the image its first configuration, has it build, and
// looks whether the result fits the board with room to live in. The Makefile runs it;
// it is never shipped. It owns what it adds to the ImageBuilder's folder packages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"globalnet/board"
	"globalnet/openwrt/archive"
	"globalnet/openwrt/flash"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "imagebuilder:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	dir, profile, packages, out, more, passphrase string
	first                                         flash.Options
}

// builder is an ImageBuilder.
type builder struct {
	dir, arch, target string
	apk               bool
}

// Room, in KiB: about what a system takes in its squashfs, with LuCI and without, and
// what the overlay needs for configuration, state and small packages.
const (
	stockK = 6 << 10
	bareK  = 4 << 10
	roomK  = 1 << 10
)

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := flag.NewFlagSet("imagebuilder", flag.ContinueOnError)
	fs.StringVar(&o.dir, "dir", "", "`FOLDER` of the ImageBuilder, unpacked")
	fs.StringVar(&o.profile, "profile", "", "`PROFILE` of the board; `make info` in the folder lists them")
	fs.StringVar(&o.packages, "packages", "dist/packages", "`FOLDER` that make packages filled")
	fs.StringVar(&o.out, "out", "dist/images", "`FOLDER` for the images")
	fs.StringVar(&o.more, "more", "kmod-wireguard", "`PACKAGES` besides ours")
	fs.StringVar(&o.first.MeshRadio, "mesh-radio", "", "`RADIO` that joins the mesh at the first start: auto, radio0 …")
	fs.IntVar(&o.first.Channel, "channel", 0, "its `CHANNEL`")
	fs.StringVar(&o.first.LAN, "lan", "", "`MODE` for clients of the LAN: names, all or off")
	fs.StringVar(&o.first.Network, "network", "", "`NAME` of the neighbourhood")
	fs.StringVar(&o.passphrase, "passphrase-file", "", "`FILE` whose first line is its passphrase; it will be in the image")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.dir == "" || o.profile == "" || fs.NArg() > 0 {
		return errors.New("say which: make imagebuilder DIR=folder PROFILE=profile")
	}
	b, err := open(o.dir)
	if err != nil {
		return err
	}
	if err := b.knows(ctx, o.profile); err != nil {
		return err
	}
	name, a, err := b.choose(o.packages)
	if err != nil {
		return err
	}
	device, known := board.Lookup(strings.Replace(o.profile, "_", ",", 1))
	if err := o.fits(device, known, a, stdout); err != nil {
		return err
	}
	if err := b.add(name); err != nil {
		return err
	}
	files, err := o.files()
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	if o.out, err = filepath.Abs(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	before, err := images(o.out, o.profile)
	if err != nil {
		return err
	}
	for _, old := range before { // one of an earlier run is not this one
		if err := os.Remove(old); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "make", "-C", b.dir, "image", "PROFILE="+o.profile,
		"PACKAGES="+strings.TrimSpace("globalnet "+o.more), "FILES="+files, "BIN_DIR="+o.out)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the ImageBuilder failed: %w; its last lines say why", err)
	}
	return report(o.out, o.profile, device, known, stdout)
}

// open reads what an ImageBuilder is for.
func open(dir string) (*builder, error) {
	text, err := os.ReadFile(filepath.Join(dir, ".config"))
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "Makefile"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no ImageBuilder: %w", dir, err)
	}
	b := &builder{}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "CONFIG_TARGET_ARCH_PACKAGES":
			b.arch = strings.Trim(value, `"`)
		case "CONFIG_TARGET_BOARD":
			b.target = strings.Trim(value, `"`)
		case "CONFIG_USE_APK":
			b.apk = value == "y"
		}
	}
	if b.arch == "" {
		return nil, fmt.Errorf("%s is no ImageBuilder: its .config does not say CONFIG_TARGET_ARCH_PACKAGES", dir)
	}
	return b, nil
}

// knows asks the ImageBuilder for its profiles.
func (b *builder) knows(ctx context.Context, profile string) error {
	out, err := exec.CommandContext(ctx, "make", "-s", "-C", b.dir, "info").Output()
	if err != nil {
		return fmt.Errorf("asking the ImageBuilder for its profiles: %w", err)
	}
	var near []string
	for line := range strings.Lines(string(out)) {
		name, ok := strings.CutSuffix(strings.TrimRight(line, "\n"), ":")
		if !ok || strings.ContainsAny(name, " \t") {
			continue
		}
		if name == profile {
			return nil
		}
		if vendor, _, _ := strings.Cut(profile, "_"); strings.HasPrefix(name, vendor) && len(near) < 12 {
			near = append(near, name)
		}
	}
	if near == nil {
		return fmt.Errorf("the ImageBuilder of %s has no profile %s; `make info` in %s lists them", b.target, profile, b.dir)
	}
	return fmt.Errorf("the ImageBuilder of %s has no profile %s, but %s", b.target, profile, strings.Join(near, ", "))
}

// choose finds our newest package for it.
func (b *builder) choose(packages string) (best string, newest *archive.Archive, err error) {
	pattern := "globalnet_*.ipk"
	if b.apk {
		pattern = "globalnet-*.apk"
	}
	names, err := filepath.Glob(filepath.Join(packages, b.arch, pattern))
	if err != nil {
		return "", nil, err
	}
	for _, name := range names {
		a, err := read(name)
		if err != nil {
			return "", nil, err
		}
		if a.Name == "globalnet" && (newest == nil || archive.CompareVersions(a.Version, newest.Version) > 0) {
			best, newest = name, a
		}
	}
	if newest == nil {
		return "", nil, fmt.Errorf("there is no package for %s in %s: `make packages ARCH=%s` makes it", b.arch, packages, b.arch)
	}
	return best, newest, nil
}

func read(name string) (*archive.Archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := archive.Read(f, func(string) bool { return false })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, nil
}

// fits judges before anything is built.
func (o *options) fits(device board.Board, known bool, a *archive.Archive, stdout io.Writer) error {
	if !known || device.Flash == 0 {
		fmt.Fprintf(stdout, "%s: how much flash it has is not known here; the ImageBuilder looks\n", o.profile)
		return nil
	}
	// squashfs packs as well as a package does.
	ours, all, system := a.Size/1024, int64(device.Flash)<<10, int64(stockK)
	if slices.Contains(strings.Fields(o.more), "-luci") {
		system = bareK
	}
	fmt.Fprintf(stdout, "%s: %d MiB of flash; the system takes about %d, globalnet %s %.1f\n", device.Title, device.Flash, system>>10, a.Version, float64(ours)/1024)
	if need := ours + system + roomK; need > all {
		return fmt.Errorf("%s has %d KiB of flash, and about %d are needed; MORE=\"kmod-wireguard -luci -ppp\" takes less, and a board with 16 MiB does", device.Title, all, need)
	}
	return nil
}

// add puts a package into the ImageBuilder, in place of an older one of ours.
func (b *builder) add(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "packages")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{"globalnet_*.ipk", "globalnet-[0-9]*.apk"} {
		old, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, o := range old {
			if err := os.Remove(o); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644)
}

// files is a folder with what the image gets besides packages.
func (o *options) files() (dir string, err error) {
	if o.passphrase != "" {
		text, err := os.ReadFile(o.passphrase)
		if err != nil {
			return "", err
		}
		line, _, _ := strings.Cut(string(text), "\n")
		o.first.Passphrase = []byte(strings.TrimSuffix(line, "\r"))
	}
	script, err := o.first.FirstBoot()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "globalnet-image-"); err != nil {
		return "", err
	}
	put := func(name, text string, mode os.FileMode) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode))
	}
	// The folder becomes the root of the image, whose mode is not that of a temporary one.
	err = errors.Join(os.Chmod(dir, 0o755), put("etc/uci-defaults/95-globalnet-first", script, 0o755))
	if len(o.first.Passphrase) > 0 {
		err = errors.Join(err, put(flash.PassphraseFile, string(o.first.Passphrase)+"\n", 0o600), os.Chmod(filepath.Join(dir, "etc/globalnet"), 0o700))
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return dir, err
}

// images are the sysupgrade images of a profile.
func images(dir, profile string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, "*"+profile+"-*sysupgrade*"))
}

// report judges what was built.
func report(out, profile string, device board.Board, known bool, stdout io.Writer) error {
	names, err := images(out, profile)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the ImageBuilder made no sysupgrade image of %s: it leaves out what is too big for the board; MORE=\"kmod-wireguard -luci -ppp -ppp-mod-pppoe\" leaves packages out", profile)
	}
	for _, name := range names {
		image, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if m, err := flash.ImageMetadata(image); err != nil {
			fmt.Fprintf(stdout, "%s: %v\n", filepath.Base(name), err)
		} else if known && !slices.ContainsFunc(device.Names, func(n string) bool { return slices.Contains(m.Devices, n) }) {
			return fmt.Errorf("%s is for %s, not for %s", name, strings.Join(m.Devices, ", "), strings.Join(device.Names, ", "))
		}
		sizeK := int64(len(image)) / 1024
		fmt.Fprintf(stdout, "%s: %.1f MiB", name, float64(sizeK)/1024)
		if known && device.Flash > 0 && !device.NAND {
			left := int64(device.Flash)<<10 - sizeK
			fmt.Fprintf(stdout, ", %.1f MiB left for the boot loader and what you write", float64(left)/1024)
			if left < roomK {
				fmt.Fprintln(stdout)
				return fmt.Errorf("%s leaves %d KiB for configuration, and %d are needed; leave packages out with MORE", name, left, roomK)
			}
		}
		fmt.Fprintf(stdout, "\n  go run ./cmd/flash --image %s root@192.168.1.1\n", name)
	}
	return nil
}
