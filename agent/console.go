package agent

import (
	"context"
	"net"
	"strconv"

	"globalnet/agent/console"
)

// serveConsole answers netcat, if the configuration names a port. A port that is taken is
// no reason to have no network.
func (a *Agent) serveConsole(ctx context.Context) error {
	port := a.o.Config.ConsolePort
	if port == 0 {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		a.o.Log.Warn("there is no console: take another console_port", "err", err)
		return nil
	}
	return console.Serve(ctx, l, a, a.o.Log)
}
