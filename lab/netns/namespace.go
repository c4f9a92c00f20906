package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace with a mount and a UTS namespace beside it:
// /run and /sys are its own. It lives until Close and until the last process in it ends.
type Namespace struct {
	Name string
	net  *os.File
	mnt  *os.File
	uts  *os.File
}

// Config says what a new namespace looks like to the programs in it.
type Config struct {
	Name   string            // also its host name
	Keep   []string          // directories below /run that stay visible
	Files  map[string]string // contents put in place of existing files, such as /etc/resolv.conf
	TmpDir string            // where the contents of Files are kept
}

// New makes a namespace; the loopback interface is up. The caller must be inside a sandbox.
func New(cfg Config) (*Namespace, error) {
	if !Inside() {
		return nil, errors.New("making a namespace: not inside a sandbox")
	}
	n := &Namespace{Name: cfg.Name}
	err := throwaway(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return Explain(fmt.Errorf("making namespace %s: %w", cfg.Name, err))
		}
		if err := unix.Sethostname([]byte(cfg.Name)); err != nil {
			return fmt.Errorf("naming namespace %s: %w", cfg.Name, err)
		}
		if err := cfg.mount(); err != nil {
			return fmt.Errorf("mounts of namespace %s: %w", cfg.Name, err)
		}
		for _, h := range []struct {
			to   **os.File
			name string
		}{{&n.net, "net"}, {&n.mnt, "mnt"}, {&n.uts, "uts"}} {
			f, err := os.Open("/proc/thread-self/ns/" + h.name)
			if err != nil {
				return fmt.Errorf("keeping namespace %s: %w", cfg.Name, err)
			}
			*h.to = f
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("loopback of namespace %s: %w", cfg.Name, err)
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// mount runs on a thread that is already in the new mount namespace.
func (cfg Config) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making them private: %w", err)
	}
	// A new /sys shows this namespace's interfaces. Some containers refuse; then the old one stays.
	unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	kept := map[string]int{}
	for _, dir := range cfg.Keep {
		if !strings.HasPrefix(dir, "/run/") {
			continue
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("keeping %s: %w", dir, err)
		}
		defer unix.Close(fd)
		kept[dir] = fd
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m"); err != nil {
		return fmt.Errorf("private /run: %w", err)
	}
	for dir, fd := range kept {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("keeping %s: %w", dir, err)
		}
		if err := unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", fd), dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keeping %s: %w", dir, err)
		}
	}
	for path, content := range cfg.Files {
		f, err := os.CreateTemp(cfg.TmpDir, "file-*")
		if err != nil {
			return fmt.Errorf("content of %s: %w", path, err)
		}
		_, err = f.WriteString(content)
		err = errors.Join(err, f.Chmod(0o644), f.Close())
		if err != nil {
			return fmt.Errorf("content of %s: %w", path, err)
		}
		// The file may be a dangling symbolic link now that /run is new; then there is nothing to hide.
		if err := unix.Mount(f.Name(), path, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("replacing %s: %w", path, err)
		}
	}
	return nil
}

// Close lets go of the namespace.
func (n *Namespace) Close() error {
	var err error
	for _, f := range []*os.File{n.net, n.mnt, n.uts} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// Fd is a descriptor of the network namespace, for netlink messages that move interfaces.
func (n *Namespace) Fd() int { return int(n.net.Fd()) }

// Do calls f on a thread that is in the network namespace. Sockets that f opens
// stay in it. f must not start goroutines that rely on the namespace.
func (n *Namespace) Do(f func() error) error {
	return throwaway(func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// Netlink opens a route socket in the namespace. The caller closes the handle.
func (n *Namespace) Netlink() (h *netlink.Handle, err error) {
	err = n.Do(func() error {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return h, err
}

// Start starts cmd in the network, mount and UTS namespace. Without cmd.Dir it
// starts in the root directory.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	return throwaway(func() error {
		// A thread may enter a mount namespace only if it shares its root and
		// working directory with no other thread.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("entering namespace %s: %w", n.Name, err)
		}
		for _, s := range []struct {
			f    *os.File
			kind int
		}{{n.net, unix.CLONE_NEWNET}, {n.uts, unix.CLONE_NEWUTS}, {n.mnt, unix.CLONE_NEWNS}} {
			if err := unix.Setns(int(s.f.Fd()), s.kind); err != nil {
				return fmt.Errorf("entering namespace %s: %w", n.Name, err)
			}
		}
		return cmd.Start()
	})
}

// Sysctl writes a kernel setting of the namespace, such as net/ipv4/ip_forward.
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s in %s: %w", name, n.Name, err)
		}
		return nil
	})
}

// throwaway calls f on a thread that is ended afterwards, so nothing of what f
// changes about its thread can leak. If f ends its goroutine, as t.Fatal does, so does the
// caller's.
func throwaway(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	err, returned := <-done
	if !returned {
		runtime.Goexit()
	}
	return err
}
