package vm

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// metaPackage leads to the kernel package, whose own name has a number that moves.
const metaPackage = "linux-image-amd64"

// busyboxPackage has a busybox that needs no libraries.
const busyboxPackage = "busybox-static"

// Kernel is an unpacked kernel package.
type Kernel struct {
	Image   string // the kernel itself
	Modules string // folder with modules.dep
	Busybox string // static
}

// FetchKernel returns the kernel for virtual machines: from the user's cache, or
// from the Debian archive by apt-get, which needs no root for that.
func FetchKernel(ctx context.Context) (*Kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "globalnet", "vm")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name, err := kernelPackage(ctx)
	if err != nil {
		// Without a package list, what was fetched last serves.
		old, _ := filepath.Glob(filepath.Join(dir, "linux-image-*"))
		if len(old) == 0 {
			return nil, err
		}
		sort.Strings(old)
		name = filepath.Base(old[len(old)-1])
	}
	root := filepath.Join(dir, name)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := fetch(ctx, dir, name); err != nil {
			return nil, fmt.Errorf("fetching %s: %w", name, err)
		}
	}
	return openKernel(root)
}

var packageName = regexp.MustCompile(`^linux-image-[a-z0-9.+-]+$`)

func kernelPackage(ctx context.Context) (string, error) {
	apt, err := program("apt-cache", "apt")
	if err != nil {
		return "", fmt.Errorf("%w: the kernel comes from Debian packages", err)
	}
	out, err := exec.CommandContext(ctx, apt, "depends", metaPackage).Output()
	if err != nil {
		return "", fmt.Errorf("%w: asking for %s: %w (apt-get update)", ErrUnavailable, metaPackage, err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && packageName.MatchString(name) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: %s depends on no kernel", ErrUnavailable, metaPackage)
}

// fetch downloads and unpacks into a temporary folder and moves it to its place
// when all is there.
func fetch(ctx context.Context, dir, name string) error {
	tmp, err := os.MkdirTemp(dir, "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	download := exec.CommandContext(ctx, "apt-get", "download", name, busyboxPackage)
	download.Dir = tmp
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: apt-get download: %w: %s", ErrUnavailable, err, out)
	}
	root := filepath.Join(tmp, "root")
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := unpack(ctx, root, deb); err != nil {
			return fmt.Errorf("unpacking %s: %w", filepath.Base(deb), err)
		}
	}
	version := strings.TrimPrefix(name, "linux-image-")
	depmod, err := program("depmod", "kmod")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, depmod, "-b", root, version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod: %w: %s", err, out)
	}
	if _, err := openKernel(root); err != nil {
		return err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	err = os.Rename(root, filepath.Join(dir, name))
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// wanted tells which files of the packages are kept: a fifth of them.
var wanted = regexp.MustCompile(`^(boot/vmlinuz-.*|(usr/)?bin/busybox|(usr/)?lib/modules/[^/]+/(modules\.(order|builtin|builtin\.modinfo)|kernel/(arch|crypto|lib|net|drivers/(net|virtio|block/zram|char/hw_random))/.*))$`)

func unpack(ctx context.Context, root, deb string) error {
	dpkg, err := program("dpkg-deb", "dpkg")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, dpkg, "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = untar(root, out)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return cmd.Wait()
}

func untar(root string, r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag != tar.TypeReg || !wanted.MatchString(name) || !filepath.IsLocal(name) {
			continue
		}
		path := filepath.Join(root, strings.TrimPrefix(name, "usr/"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, tr)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

func openKernel(root string) (*Kernel, error) {
	k := &Kernel{}
	for pattern, field := range map[string]*string{
		"boot/vmlinuz-*":            &k.Image,
		"lib/modules/*/modules.dep": &k.Modules,
		"bin/busybox":               &k.Busybox,
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("%s has no %s, or several: remove the folder to fetch it again", root, pattern)
		}
		*field = found[0]
	}
	k.Modules = filepath.Dir(k.Modules)
	return k, nil
}
