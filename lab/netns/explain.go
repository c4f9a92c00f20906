package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Forbidden is an error of a kernel that does not let us have what a lab needs.
type Forbidden struct {
	Err    error  // what was refused
	Reason string // why, as far as the kernel's settings tell
	Remedy string // what allows it; may be several lines
}

func (f *Forbidden) Error() string {
	return fmt.Sprintf("%v\n  why: %s\n  to allow it: %s", f.Err, f.Reason, f.Remedy)
}

func (f *Forbidden) Unwrap() error { return f.Err }

// Explain adds to an error of namespaces or TUN devices which setting forbids it and how
// to change that. Other errors are returned as they are.
func Explain(err error) error {
	return explain(err, func(name string) string {
		b, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		return strings.TrimSpace(string(b))
	})
}

func explain(err error, sysctl func(name string) string) error {
	var known *Forbidden
	if err == nil || errors.As(err, &known) {
		return err
	}
	refused := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	f := &Forbidden{Err: err}
	switch {
	case strings.Contains(err.Error(), tunPath) && errors.Is(err, unix.ENOENT):
		f.Reason = "there is no " + tunPath + "; the kernel module tun is not loaded, or a container hides it"
		f.Remedy = "sudo modprobe tun   (a container: start it with --device " + tunPath + ")"
	case strings.Contains(err.Error(), tunPath) && (refused || errors.Is(err, unix.ENODEV)):
		f.Reason = "this user may not open " + tunPath + ", or the kernel has no TUN devices"
		f.Remedy = "sudo modprobe tun && sudo chmod 0666 " + tunPath + "   (a container: start it with --device " + tunPath + ")"
	case errors.Is(err, unix.ENOSPC) && sysctl("user.max_user_namespaces") == "0":
		f.Reason = "user.max_user_namespaces is 0: nobody may make user namespaces"
		f.Remedy = "sudo sysctl -w user.max_user_namespaces=10000"
	case errors.Is(err, unix.ENOSPC):
		f.Reason = "the limit of namespaces is reached (user.max_user_namespaces, user.max_net_namespaces)"
		f.Remedy = "end other labs and containers, or: sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000"
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		f.Reason = "this kernel was built without user, network, pid or mount namespaces"
		f.Remedy = "use a kernel with CONFIG_USER_NS, CONFIG_NET_NS, CONFIG_PID_NS"
	case refused && sysctl("kernel.unprivileged_userns_clone") == "0":
		f.Reason = "kernel.unprivileged_userns_clone is 0: only root may make user namespaces"
		f.Remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case refused && sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
		f.Reason = "kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor takes the rights away inside user namespaces"
		f.Remedy = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case refused:
		f.Reason = "a security policy forbids it; in a container this is mostly its seccomp filter"
		f.Remedy = "run it outside the container, or start the container with --privileged,\n    or with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
	default:
		return err
	}
	return f
}
