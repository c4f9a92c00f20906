package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"
)

// busyboxPackage has a busybox that needs no libraries.
const busyboxPackage = "busybox-static"

// cacheName is a folder in the user's cache. The number goes up when other files of
// the packages are kept.
const cacheName = "globalnet/vm/2"

// Kernel is an unpacked kernel package.
type Kernel struct {
	Image   string // the kernel itself
	Modules string // folder with modules.dep
	Busybox string // static
}

// cacheDir makes the folder for kernels in the user's cache.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	dir := filepath.Join(cache, cacheName)
	return dir, os.MkdirAll(dir, 0o755)
}

// FetchKernel returns the kernel for virtual machines of an architecture (of Go): from
// the user's cache, or from the Debian archive by apt-get, which needs no root for that.
// One that has to be built has to be there: see BuildKernel.
func FetchKernel(ctx context.Context, name string) (*Kernel, error) {
	a, err := archOf(name)
	if err != nil {
		return nil, err
	}
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if a.built {
		k, err := openKernel(builtDir(dir, a))
		if err != nil {
			return nil, fmt.Errorf("%w: no kernel for %s is built (make vm-kernel-%s)", ErrUnavailable, a.name, a.name)
		}
		return k, nil
	}
	cached, _ := filepath.Glob(filepath.Join(dir, "linux-image-*"+strings.TrimPrefix(a.kernel, "linux-image")))
	sort.Strings(cached)
	d := debian{arch: a}
	if a.name != runtime.GOARCH {
		// The lists of another architecture are not on this machine: 50 MB each time.
		if len(cached) > 0 {
			return openKernel(cached[len(cached)-1])
		}
		if err := d.setUp(ctx); err != nil {
			return nil, err
		}
		defer os.RemoveAll(d.state)
	}
	pkg, err := d.kernelPackage(ctx)
	if err != nil {
		// Without a package list, what was fetched last serves.
		if len(cached) == 0 {
			return nil, err
		}
		return openKernel(cached[len(cached)-1])
	}
	root := filepath.Join(dir, pkg)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := d.fetch(ctx, dir, pkg); err != nil {
			return nil, fmt.Errorf("fetching %s: %w", pkg, err)
		}
	}
	return openKernel(root)
}

// debian asks apt for packages of an architecture: with this machine's lists, or with
// those in a folder of its own, so that dpkg need not know the architecture.
type debian struct {
	arch  arch
	state string // empty: this machine's
	lists string // a file; empty: this machine's
}

// setUp makes the folder: with this machine's sources of packages, or with others.
func (d *debian) setUp(ctx context.Context, lists ...string) error {
	dir, err := os.MkdirTemp("", "globalnet-apt-")
	if err != nil {
		return err
	}
	d.state = dir
	err = os.Chmod(dir, 0o755) // apt reads as a user of its own
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "status"), nil, 0o644))
	if len(lists) > 0 {
		d.lists = filepath.Join(dir, "sources.list")
		err = errors.Join(err, os.WriteFile(d.lists, []byte(strings.Join(lists, "\n")+"\n"), 0o644))
	}
	if err == nil {
		// It fails if one of many sources does: what matters is whether the package is found.
		_, _ = d.run(ctx, "", "apt-get", "update")
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return err
}

// run runs a program of apt in a folder.
func (d *debian) run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	path, err := program(name, "apt")
	if err != nil {
		return nil, fmt.Errorf("%w: the kernel comes from Debian packages", err)
	}
	if d.state != "" {
		args = append([]string{
			"-o", "APT::Architecture=" + d.arch.debian, "-o", "APT::Architectures=" + d.arch.debian,
			"-o", "Dir::State=" + d.state, "-o", "Dir::State::status=" + d.state + "/status", "-o", "Dir::Cache=" + d.state,
		}, args...)
	}
	if d.lists != "" {
		args = append([]string{"-o", "Dir::Etc::sourcelist=" + d.lists, "-o", "Dir::Etc::sourceparts=/dev/null"}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w: %s", ErrUnavailable, name, err, complaints.Bytes())
	}
	return out, nil
}

var packageName = regexp.MustCompile(`^linux-image-[a-z0-9.+-]+$`)

func (d *debian) kernelPackage(ctx context.Context) (string, error) {
	out, err := d.run(ctx, "", "apt-cache", "depends", d.arch.kernel)
	if err != nil {
		return "", fmt.Errorf("asking for %s: %w (apt-get update)", d.arch.kernel, err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && packageName.MatchString(name) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: %s depends on no kernel", ErrUnavailable, d.arch.kernel)
}

// fetch downloads and unpacks into a temporary folder and moves it to its place
// when all is there.
func (d *debian) fetch(ctx context.Context, dir, name string) error {
	tmp, err := os.MkdirTemp(dir, "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := d.run(ctx, tmp, "apt-get", "download", name, busyboxPackage); err != nil {
		return err
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
var wanted = regexp.MustCompile(`^(boot/vmlinuz-.*|(usr/)?bin/busybox|(usr/)?lib/modules/[^/]+/(modules\.(order|builtin|builtin\.modinfo)|` +
	`kernel/(arch|crypto|lib|net|drivers/(net|virtio|mtd|block/(zram|virtio_blk)|char/hw_random)|fs/(ext4|jbd2|jffs2|ubifs|squashfs|overlayfs|mbcache)).*))$`)

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
