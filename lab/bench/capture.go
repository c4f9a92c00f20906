package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"globalnet/lab"
)

// capture counts the Babel packets that a node sends, on whatever interface: the
// same way for every program, without asking it.
type capture struct {
	file    *os.File
	done    chan struct{}
	packets atomic.Uint64
	bytes   atomic.Uint64 // with IPv6 and UDP headers
}

const babelPort = 6696

func newCapture(n *lab.Node) (*capture, error) {
	var fd int
	err := n.Namespace().Do(func() (err error) {
		// All protocols: the kernel shows outgoing packets to nobody else (packet(7)).
		all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", n.Name, err)
	}
	c := &capture{file: os.NewFile(uintptr(fd), "capture"), done: make(chan struct{})}
	go c.run()
	return c, nil
}

func (c *capture) run() {
	defer close(c.done)
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			// MSG_TRUNC makes n the packet's length, whatever fits into buf.
			n, from, failed = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			return failed != unix.EAGAIN
		})
		if err != nil {
			return
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); failed == nil && ok && ll.Pkttype == unix.PACKET_OUTGOING && isBabel(buf[:min(n, len(buf))]) {
			c.packets.Add(1)
			c.bytes.Add(uint64(n))
		}
	}
}

// isBabel looks for UDP to Babel's port right after an IPv6 header (RFC 8200 section 3).
func isBabel(packet []byte) bool {
	return len(packet) >= 48 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_UDP &&
		binary.BigEndian.Uint16(packet[42:]) == babelPort
}

func (c *capture) close() {
	c.file.Close()
	<-c.done
}
