package flash

import (
	"context"
	"errors"
	"fmt"

	"globalnet/openwrt/guard"
)

func (s *session) planRemoval() error {
	if s.facts.Installed == "" && len(s.facts.files) == 0 && s.facts.ProgramK == 0 {
		return refuse("globalnet is not installed", "There is nothing to remove.")
	}
	s.planned("remove globalnet %s, its key and its configuration; put radios and DNS back as they were before the first flash", s.facts.Installed)
	s.report.What = "removed"
	return nil
}

// remove takes the agent off, with the same guard as an installation. The package
// itself puts back what `globalnet setup` changed.
func (s *session) remove(ctx context.Context) error {
	if _, err := s.conn.run(ctx, "globalnet lan off >/dev/null 2>&1; exit 0", nil); err != nil {
		return err
	}
	command := "opkg remove globalnet"
	if s.facts.Manager == "apk" {
		command = "apk del --no-network globalnet"
	}
	if _, err := s.conn.run(ctx, command+" </dev/null", nil); err != nil {
		return fmt.Errorf("removing the package: %w", err)
	}
	_, err := s.conn.run(ctx, "rm -rf /etc/globalnet /etc/config/globalnet /etc/config/globalnet-opkg /etc/config/globalnet.apk-new /etc/apk/keys/globalnet.pem && "+
		fmt.Sprintf("%s start-apply %d", guard.Program, seconds(s.o.times.apply)), nil)
	return err
}

// leftover finds sections of ours in configurations of others.
const leftover = "grep -E \"^config .*'?globalnet(_[A-Za-z0-9_]*)?'?$|gnet.alt\" /etc/config/network /etc/config/wireless /etc/config/firewall /etc/config/dhcp /etc/config/system 2>/dev/null"

// verifyRemoved looks over a new connection that nothing is left.
func (s *session) verifyRemoved(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.times.apply*3/4)
	defer cancel()
	why := errors.New("the router did not come back")
	for {
		err := s.fresh(ctx)
		if err == nil {
			_, err = s.conn.run(ctx, "[ -e "+guard.Applied+" ] && [ ! -e /usr/sbin/globalnet ] && ! pidof globalnet && ! "+leftover, nil)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			why = err
		}
		if sleep(ctx, s.o.times.poll) != nil {
			return fmt.Errorf("looking whether it is gone: %w", why)
		}
	}
}
