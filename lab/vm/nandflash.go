package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed nandflash/nandflash.c
var nandflash []byte

// NANDFlash is the file of a module for amd64 that has Spec.Flash as a NAND chip:
// "nandflash.ko start=" and FlashAt. It is compiled for Debian's kernel, with the
// kernel's headers and this machine's C compiler, and kept beside the kernel.
func NANDFlash(ctx context.Context) (string, error) {
	k, err := FetchKernel(ctx, "amd64")
	if err != nil {
		return "", err
	}
	version := filepath.Base(k.Modules)
	file := filepath.Join(filepath.Dir(k.Image), fmt.Sprintf("nandflash-%x.ko", sha256.Sum256(nandflash)))
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), "tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	headers, common, err := fetchHeaders(ctx, dir, version)
	if err != nil {
		return "", fmt.Errorf("fetching the headers of kernel %s: %w (if the archive has them no more: apt-get update fetches a newer kernel)", version, err)
	}
	make, err := program("make", "make gcc")
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, "module")
	if err := errors.Join(
		os.Mkdir(source, 0o755),
		os.WriteFile(filepath.Join(source, "Makefile"), []byte("obj-m := nandflash.o\n"), 0o644),
		os.WriteFile(filepath.Join(source, "nandflash.c"), nandflash, 0o644),
	); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, make, "-C", common, "O="+headers, "M="+source, "modules")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling nandflash.c: %w: %s", err, out)
	}
	return file, os.Rename(filepath.Join(source, "nandflash.ko"), file)
}

// fetchHeaders unpacks what modules of a kernel are compiled with below dir: the
// folder of the architecture, and the one common to all.
func fetchHeaders(ctx context.Context, dir, version string) (headers, common string, err error) {
	d := debian{arch: archs[0]}
	pkg := "linux-headers-" + version
	out, err := d.run(ctx, "", "apt-cache", "depends", pkg)
	if err != nil {
		return "", "", err
	}
	packages := []string{pkg}
	for line := range strings.Lines(string(out)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
		if ok && (strings.HasPrefix(name, "linux-headers-") || strings.HasPrefix(name, "linux-kbuild-")) {
			packages = append(packages, name)
			if strings.HasSuffix(name, "-common") {
				common = name
			}
		}
	}
	if _, err := d.run(ctx, dir, "apt-get", append([]string{"download"}, packages...)...); err != nil {
		return "", "", err
	}
	dpkg, err := program("dpkg-deb", "dpkg")
	if err != nil {
		return "", "", err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return "", "", err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, dpkg, "--extract", deb, dir).CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("unpacking %s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	return filepath.Join(dir, "usr/src", pkg), filepath.Join(dir, "usr/src", common), nil
}
