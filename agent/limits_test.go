package agent

import (
	"log/slog"
	"testing"

	"globalnet/agent/config"
)

// What an exit opens at a time: what its owner says, else what its memory bears.
func TestExitConnections(t *testing.T) {
	for _, tt := range []struct {
		small     bool
		set, want int
	}{{false, config.ExitConnections, 2048}, {true, config.ExitConnections, smallExit}, {true, 4000, 4000}, {false, 10, 10}} {
		c := config.Default()
		c.Exit.Connections = tt.set
		o := &overlay{overlayOptions: overlayOptions{small: tt.small, log: slog.New(slog.DiscardHandler)}}
		if got := o.settings(c).ExitLimits.Connections; got != tt.want {
			t.Errorf("small %v, %d: %d, want %d", tt.small, tt.set, got, tt.want)
		}
	}
}
