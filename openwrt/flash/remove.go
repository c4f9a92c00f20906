package flash

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

func (s *session) planRemoval() error {
	if s.facts.Installed == "" && len(s.facts.files) == 0 && s.facts.ProgramK == 0 {
		return refuse("globalnet is not installed", "There is nothing to remove.")
	}
	s.planned("remove globalnet %s, its key and its configuration; put radios and DNS back as they were before the first flash", s.facts.Installed)
	s.report.What = "removed"
	return nil
}

// removeScript undoes a flash, the last change first. What is not there any more
// is no error.
const removeScript = `
globalnet lan off >/dev/null 2>&1
[ ! -f ` + undoFile + ` ] || sed '1!G;h;$!d' ` + undoFile + ` | uci -q batch
for s in network.` + meshName + ` wireless.` + meshName + `; do uci -q delete "$s"; done
uci -q batch >/dev/null 2>&1 </tmp/globalnet-flash/gone
for c in network wireless dhcp; do uci -q commit "$c"; done
`

// remove takes the agent off, with the same guard as an installation.
func (s *session) remove(ctx context.Context) error {
	if _, err := s.conn.run(ctx, "cat >"+stageDir+"/gone", strings.NewReader(strings.Join(s.dnsLines(), "\n")+"\n")); err != nil {
		return err
	}
	if _, err := s.conn.run(ctx, "sh", strings.NewReader(removeScript+"exit 0\n")); err != nil {
		return fmt.Errorf("putting the configuration back: %w", err)
	}
	command := "opkg remove globalnet"
	if s.facts.Manager == "apk" {
		command = "apk del --no-network globalnet"
	}
	if _, err := s.conn.run(ctx, command+" </dev/null", nil); err != nil {
		return fmt.Errorf("removing the package: %w", err)
	}
	_, err := s.conn.run(ctx, "rm -rf /etc/globalnet /etc/config/globalnet /etc/config/globalnet-opkg /etc/config/globalnet.apk-new /etc/apk/keys/globalnet.pem && "+
		fmt.Sprintf("%s start-apply %d", guard, seconds(s.o.times.apply)), nil)
	return err
}

// dnsLines are needed only where the router has them.
func (s *session) dnsLines() []string {
	for _, d := range s.facts.dns {
		if d == dnsServer {
			return dnsGone
		}
	}
	return nil
}

// verifyRemoved looks over a new connection that nothing is left.
func (s *session) verifyRemoved(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.times.apply*3/4)
	defer cancel()
	why := errors.New("the router did not come back")
	for {
		err := s.fresh(ctx)
		if err == nil {
			_, err = s.conn.run(ctx, "[ -e "+guardDir+"/applied ] && [ ! -e /usr/sbin/globalnet ] && ! pidof globalnet", nil)
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
