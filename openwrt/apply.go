package openwrt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"globalnet/openwrt/uci"
)

// reloads are what makes a package's configuration take effect, in this order. Our
// own is reloaded by who called.
var reloads = []struct {
	program  string
	args     []string
	packages []string
}{
	{"/etc/init.d/network", []string{"reload"}, []string{"network", "wireless"}},
	{"/etc/init.d/firewall", []string{"reload"}, []string{"firewall"}},
	{"/etc/init.d/dnsmasq", []string{"reload"}, []string{"dhcp"}},
	{"/etc/init.d/led", []string{"restart"}, []string{"system"}},
}

// Apply writes a plan and has the router act on it. It begins a trial: Keep ends
// that, Revert puts back what was, and the next boot does too. If anything fails it
// is put back at once.
func (s *System) Apply(ctx context.Context, p *Plan) error {
	changed := p.packages()
	if len(changed) == 0 {
		return nil
	}
	if err := s.beginTrial(p, changed); err != nil {
		return fmt.Errorf("noting what was: %w", err)
	}
	err := s.carryOut(ctx, p, changed)
	if err == nil {
		return nil
	}
	// Also if the caller gave up.
	back := s.Revert(context.WithoutCancel(ctx))
	if back != nil {
		return errors.Join(err, fmt.Errorf("putting back: %w", back))
	}
	return fmt.Errorf("%w; all is as it was", err)
}

func (s *System) carryOut(ctx context.Context, p *Plan, changed []string) error {
	for _, name := range packages {
		if slices.Contains(changed, name) {
			if _, err := p.files[name].Save(); err != nil {
				return err
			}
		}
	}
	// One mistake in any rule and the whole firewall would not load.
	if slices.Contains(changed, "firewall") && s.exists("sbin/fw4") {
		if _, err := s.Run.Run(ctx, "fw4", "check"); err != nil {
			return fmt.Errorf("the firewall would not load: %w", err)
		}
	}
	return s.reload(ctx, changed)
}

// reload has every service act on what changed, and goes on if one fails.
func (s *System) reload(ctx context.Context, changed []string) error {
	var errs []error
	for _, r := range reloads {
		if slices.ContainsFunc(r.packages, func(p string) bool { return slices.Contains(changed, p) }) && s.exists(r.program) {
			_, err := s.Run.Run(ctx, append([]string{r.program}, r.args...)...)
			errs = append(errs, err)
		}
	}
	if slices.Contains(changed, "wireless") {
		// No reason to put all back: it is the others who left it there.
		if err := s.sweep(ctx); err != nil {
			slog.Warn("something stays on the air; `wifi down; wifi up` helps", "err", err)
		}
	}
	return errors.Join(errs...)
}

// sweep takes interfaces of ours off the air that no section has any more: the wireless
// scripts of OpenWrt 25.12 leave those that were a radio's last.
func (s *System) sweep(ctx context.Context) error {
	left, err := s.left()
	if err != nil || len(left) == 0 {
		return err
	}
	for range sweepPolls {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
		if left, err = s.left(); err != nil || len(left) == 0 {
			return err
		}
	}
	var errs []error
	for _, ifname := range left {
		_, err := s.Run.Run(ctx, "iw", "dev", ifname, "del")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepPolls is how many polls netifd has for what it may do itself.
const sweepPolls = 4

// left lists interfaces with names of ours that are in no section.
func (s *System) left() (list []string, err error) {
	entries, err := os.ReadDir(s.path("sys/class/net"))
	if err != nil {
		return nil, nil // no such system: nothing can be told
	}
	wireless, err := uci.Open(s.path("etc/config/wireless"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		inUse := func(sec uci.Section) bool {
			ifname, _ := wireless.Get(sec.Ref, "ifname")
			return ifname == e.Name()
		}
		if strings.HasPrefix(e.Name(), ifnamePrefix) && !slices.ContainsFunc(wireless.Sections(), inUse) {
			list = append(list, e.Name())
		}
	}
	return list, nil
}

// ErrSilent is wrapped by errors about radios that did not come up.
var ErrSilent = errors.New("the radio did not come up")

// radioState is what netifd says of a radio.
type radioState struct {
	Up         bool `json:"up"`
	Pending    bool `json:"pending"`
	Failed     bool `json:"retry_setup_failed"`
	Interfaces []struct {
		Section string `json:"section"`
		Ifname  string `json:"ifname"`
	} `json:"interfaces"`
}

// Await waits until the interfaces of a plan are on the air. A radio may take long:
// on a channel shared with radar it listens for a minute first.
func (s *System) Await(ctx context.Context, p *Plan) error {
	for _, o := range p.Air {
		if err := s.await(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// poll is how often netifd is asked.
const poll = 500 * time.Millisecond

func (s *System) await(ctx context.Context, o OnAir) error {
	said := "netifd said nothing"
	for {
		state, err := s.radioState(ctx, o.Radio)
		switch {
		case err != nil:
			said = err.Error()
		case state.Failed:
			return fmt.Errorf("%s: %w: netifd gave up; `logread -e netifd` says why", o.Radio, ErrSilent)
		case state.Up && slices.ContainsFunc(state.Interfaces, o.is):
			if s.exists("sys/class/net/" + o.Ifname) {
				return nil
			}
			said = "there is no interface " + o.Ifname
		default:
			said = fmt.Sprintf("up %t, pending %t", state.Up, state.Pending)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", o.Radio, ErrSilent, said)
		case <-time.After(poll):
		}
	}
}

func (o OnAir) is(i struct {
	Section string `json:"section"`
	Ifname  string `json:"ifname"`
}) bool {
	return i.Section == o.Section
}

func (s *System) radioState(ctx context.Context, radio string) (radioState, error) {
	out, err := s.Run.Run(ctx, "ubus", "-S", "call", "network.wireless", "status")
	if err != nil {
		return radioState{}, err
	}
	var all map[string]radioState
	if err := json.Unmarshal(out, &all); err != nil {
		return radioState{}, fmt.Errorf("reading what netifd says: %w", err)
	}
	state, ok := all[radio]
	if !ok {
		return state, errors.New("netifd does not know the radio")
	}
	return state, nil
}
