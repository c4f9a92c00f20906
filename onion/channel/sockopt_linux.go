package channel

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// notSent keeps the kernel's queue short: what waits there can no longer be
	// put behind a cell of another circuit.
	notSent = 64 << 10
	// silence is how long bytes may stay unacknowledged until the channel is given up.
	silence = 8 * time.Second
)

// tune sets the options of a TCP connection. What the kernel refuses costs speed only.
func tune(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	tcp.SetNoDelay(true)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond))
	})
}
