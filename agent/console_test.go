package agent_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"globalnet/lab/labtest"
)

// An agent with a console answers on loopback, and only there.
func TestConsole(t *testing.T) {
	labtest.Require(t)
	path := writeConfig(t, "\toption console_port '4748'\n")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runAgent(ctx, path) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var conn net.Conn
	eventually(t, "the console", func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", "127.0.0.1:4748")
		return err == nil
	})
	defer conn.Close()
	if other, err := net.Dial("tcp", "127.0.0.2:4748"); err == nil {
		other.Close()
		t.Error("another address than 127.0.0.1 answers too")
	}
	io.WriteString(conn, "list peers\nquit\n")
	text, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.Contains(string(text), "0 peers") {
		t.Errorf("%q, %v", text, err)
	}
}
