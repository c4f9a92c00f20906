package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const tunPath = "/dev/net/tun"

// OpenTAP makes a TAP interface in the namespace. Frames that the namespace sends
// are read from the file, frames that are written appear as received. The
// interface goes when the file is closed.
func (n *Namespace) OpenTAP(ifname string) (*os.File, error) { return n.openTun(ifname, unix.IFF_TAP) }

// OpenTUN makes a TUN interface in the namespace: as OpenTAP, with packets instead of frames.
func (n *Namespace) OpenTUN(ifname string) (*os.File, error) { return n.openTun(ifname, unix.IFF_TUN) }

func (n *Namespace) openTun(ifname string, kind uint16) (*os.File, error) {
	var fd int
	err := n.Do(func() error {
		var err error
		fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("opening %s: %w", tunPath, err)
		}
		req, err := unix.NewIfreq(ifname)
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("naming interface %q: %w", ifname, err)
		}
		req.SetUint16(kind | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			unix.Close(fd)
			return fmt.Errorf("making %s through %s: %w", ifname, tunPath, err)
		}
		return nil
	})
	if err != nil {
		return nil, Explain(fmt.Errorf("radio of %s: %w", n.Name, err))
	}
	return os.NewFile(uintptr(fd), ifname), nil
}
