package vm

import (
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The sources of a machine that Debian has no kernel and no user land for.
const (
	kernelSource = "linux-source-6.1" // a package with an archive in it
	userSource   = "busybox"          // a source package
	crossCompile = "mips-linux-gnu-"
)

// kernelOptions are the options of the kernel that are not off.
//
//go:embed mips.config
var kernelOptions []byte

// sourceTools are programs that the building takes, and their packages.
var sourceTools = [][2]string{
	{crossCompile + "gcc", "gcc-mips-linux-gnu libc6-dev-mips-cross"},
	{"gcc", "gcc libc6-dev"}, {"make", "make"}, {"flex", "flex"}, {"bison", "bison"},
	{"bc", "bc"}, {"xz", "xz-utils"}, {"tar", "tar"}, {"depmod", "kmod"},
}

// builtDir is where a kernel built with the options of today is kept.
func builtDir(cache string, a arch) string {
	return filepath.Join(cache, fmt.Sprintf("linux-%s-%.4x", a.name, sha256.Sum256(kernelOptions)))
}

// BuildKernel builds the kernel and busybox for an architecture for which Debian has
// none, from the sources that Debian has, unless they are in the user's cache. What
// the compilers say goes to progress.
func BuildKernel(ctx context.Context, name string, progress io.Writer) (*Kernel, error) {
	a, err := archOf(name)
	if err != nil {
		return nil, err
	}
	if !a.built {
		return FetchKernel(ctx, name)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	root := builtDir(cache, a)
	if k, err := openKernel(root); err == nil {
		return k, nil
	}
	for _, tool := range sourceTools {
		if _, err := program(tool[0], tool[1]); err != nil {
			return nil, err
		}
	}
	tmp, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	// apt reads as a user of its own.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	s := sources{dir: tmp, arch: a, progress: progress}
	if err := s.kernel(ctx); err != nil {
		return nil, fmt.Errorf("building the kernel: %w", err)
	}
	if err := s.busybox(ctx); err != nil {
		return nil, fmt.Errorf("building busybox: %w", err)
	}
	if _, err := openKernel(s.root()); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(root); err != nil { // one that is not whole
		return nil, err
	}
	if err := os.Rename(s.root(), root); err != nil {
		return nil, err
	}
	return openKernel(root)
}

// sources builds in a folder of its own.
type sources struct {
	dir      string
	arch     arch
	progress io.Writer
}

func (s sources) root() string { return filepath.Join(s.dir, "root") }

// run runs a program in a folder.
func (s sources) run(ctx context.Context, dir string, stdin io.Reader, name string, args ...string) error {
	fmt.Fprintln(s.progress, "+", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, s.progress, s.progress
	// What is built does not tell where, when and by whom.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "KBUILD_BUILD_TIMESTAMP=@0", "KBUILD_BUILD_USER=globalnet", "KBUILD_BUILD_HOST=globalnet",
		"PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// make runs make for the machine's architecture.
func (s sources) make(ctx context.Context, dir string, args ...string) error {
	jobs := fmt.Sprintf("-j%d", runtime.NumCPU())
	return s.run(ctx, dir, nil, "make", append([]string{jobs, "ARCH=mips", "CROSS_COMPILE=" + crossCompile}, args...)...)
}

func (s sources) kernel(ctx context.Context) error {
	d := debian{arch: archs[0]}
	fmt.Fprintln(s.progress, "fetching "+kernelSource)
	if _, err := d.run(ctx, s.dir, "apt-get", "download", kernelSource); err != nil {
		return err
	}
	deb, err := one(s.dir, kernelSource+"_*.deb")
	if err != nil {
		return err
	}
	src := filepath.Join(s.dir, "linux")
	if err := os.MkdirAll(src, 0o755); err != nil {
		return err
	}
	if err := s.run(ctx, s.dir, nil, "dpkg-deb", "--extract", deb, s.dir); err != nil {
		return err
	}
	archive := filepath.Join(s.dir, "usr/src", kernelSource+".tar.xz")
	options := filepath.Join(s.dir, "options")
	if err := errors.Join(
		s.run(ctx, s.dir, nil, "tar", "-xJf", archive, "-C", src, "--strip-components=1"),
		os.Remove(archive),
		os.WriteFile(options, kernelOptions, 0o644),
	); err != nil {
		return err
	}
	if err := s.make(ctx, src, "KCONFIG_ALLCONFIG="+options, "allnoconfig"); err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(src, ".config"))
	if err != nil {
		return err
	}
	if missing := missingOptions(kernelOptions, config); len(missing) > 0 {
		return fmt.Errorf("this kernel does not take %s", strings.Join(missing, ", "))
	}
	if err := errors.Join(
		os.MkdirAll(filepath.Join(s.root(), "boot"), 0o755),
		os.MkdirAll(filepath.Join(s.root(), "bin"), 0o755),
		s.make(ctx, src, "vmlinux", "modules"),
	); err != nil {
		return err
	}
	if err := s.make(ctx, src, "INSTALL_MOD_PATH="+s.root(), "modules_install"); err != nil {
		return err
	}
	// They point to the sources.
	for _, link := range []string{"build", "source"} {
		if found, err := one(s.root(), "lib/modules/*/"+link); err == nil {
			if err := os.Remove(found); err != nil {
				return err
			}
		}
	}
	return os.Rename(filepath.Join(src, "vmlinux"), filepath.Join(s.root(), "boot", "vmlinuz-"+s.arch.name))
}

func (s sources) busybox(ctx context.Context) error {
	d := debian{arch: archs[0]}
	lists, err := sourceLists(ctx)
	if err != nil {
		return err
	}
	if err := d.setUp(ctx, lists...); err != nil {
		return err
	}
	defer os.RemoveAll(d.state)
	if _, err := d.run(ctx, s.dir, "apt-get", "source", "--download-only", userSource); err != nil {
		return err
	}
	file, err := one(s.dir, userSource+"_*.orig.tar.bz2")
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	src := filepath.Join(s.dir, userSource)
	if err := os.Mkdir(src, 0o755); err != nil {
		return err
	}
	if err := s.run(ctx, s.dir, bzip2.NewReader(f), "tar", "-x", "-C", src, "--strip-components=1"); err != nil {
		return err
	}
	if err := s.make(ctx, src, "defconfig"); err != nil {
		return err
	}
	config := filepath.Join(src, ".config")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("# CONFIG_STATIC is not set"), []byte("CONFIG_STATIC=y"), 1)
	if err := os.WriteFile(config, text, 0o644); err != nil {
		return err
	}
	if err := s.make(ctx, src, "busybox"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(src, "busybox"), filepath.Join(s.root(), "bin/busybox"))
}

// missingOptions lists those that a kernel's configuration does not have as they were
// wanted: an option that it does not know, or needs another for, it drops in silence.
func missingOptions(want, config []byte) (missing []string) {
	has := make(map[string]bool)
	for line := range strings.Lines(string(config)) {
		has[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(string(want)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "CONFIG_") && !has[line] {
			missing = append(missing, line)
		}
	}
	return missing
}

// sourceLists are lines for apt that name the sources of the Debian releases whose
// packages this machine knows.
func sourceLists(ctx context.Context) ([]string, error) {
	out, err := (&debian{}).run(ctx, "", "apt-get", "indextargets",
		"--format", "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages", "Origin: Debian")
	if err != nil {
		return nil, err
	}
	lists := strings.Split(strings.TrimSpace(string(out)), "\n")
	if lists[0] == "" {
		return nil, fmt.Errorf("%w: apt knows no release of Debian (apt-get update)", ErrUnavailable)
	}
	return lists, nil
}

// one finds the only file of a pattern in a folder.
func one(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("there is not one %s in %s", pattern, dir)
	}
	return found[0], nil
}
