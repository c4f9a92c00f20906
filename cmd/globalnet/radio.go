package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"globalnet/mesh/kernel"
	"globalnet/mesh/kernel/air"
	"globalnet/openwrt"
	"globalnet/openwrt/guard"
)

// radioFlags are the flags of the commands about radios, UCI and this router's program.
type radioFlags struct {
	dryRun    bool
	noReload  bool
	mode      string
	channel   int
	try       time.Duration
	wait      time.Duration
	uci       bool
	frequency int
	id        string
	upgrade   upgradeFlags
}

func (f *radioFlags) define(fs *flag.FlagSet, c command) {
	f.upgrade.define(fs, c)
	if c.has("plan") {
		fs.BoolVar(&f.dryRun, "dry-run", false, "print what would change, and change nothing")
		fs.BoolVar(&f.noReload, "no-reload", false, "only write the files; who calls has the services act on them")
		fs.DurationVar(&f.try, "try", 0, "undo it after `TIME` (such as 2m) unless `globalnet radio keep` is run by then")
		fs.DurationVar(&f.wait, "wait", 90*time.Second, "undo it if the radios are not on the air after `TIME`")
	}
	if c.has("mode") {
		fs.StringVar(&f.mode, "mode", "", "mesh (802.11s), adhoc (IBSS), or auto: what the driver does best")
	}
	if c.has("channel") {
		fs.IntVar(&f.channel, "channel", 0, "`CHANNEL`, the same on all routers in reach (default: the radio's, if it is fixed)")
	}
	if c.has("frequency") {
		fs.IntVar(&f.frequency, "frequency", 2412, "in `MHZ`, the same on all nodes in reach")
		fs.StringVar(&f.id, "id", air.MeshID, "`NAME` of the mesh or cell on the air")
	}
	if c.has("uci") {
		fs.BoolVar(&f.uci, "uci", false, "remove also what `globalnet setup` and the installation wrote into OpenWrt's configuration")
	}
}

const planDetail = "What would change is printed first. Only sections of our own are written, with names that begin\nwith globalnet; what must change in others is noted and put back by cleanup. If the radios\ndo not come up, or the router is switched off and on meanwhile, all goes back."

func radioCommands() []command {
	return []command{
		{
			name: "setup", flags: "json plan root", run: setUp,
			summary: "Have OpenWrt do what the configuration asks for: radios, firewall zone, names, light.",
			detail:  planDetail,
			example: "globalnet setup --dry-run\nglobalnet setup",
		},
		{
			name: "radio list", flags: "json root", run: radioList,
			summary: "List OpenWrt's radios, what is on them, and whether they would do for the mesh.",
			example: "globalnet radio list\nglobalnet radio list --json",
		},
		{
			name: "radio setup", args: "RADIO…", least: 1, most: 8, flags: "json plan mode channel root", run: setUp,
			summary: "Give radios to the mesh, beside their access points where the driver can.",
			detail:  planDetail,
			example: "globalnet radio setup radio0 --dry-run\nglobalnet radio setup radio1 --mode mesh --channel 36 --try 2m",
		},
		{
			name: "radio remove", args: "RADIO", least: 1, most: 1, flags: "json plan root", run: radioRemove,
			summary: "Take a radio back from the mesh.",
			example: "globalnet radio remove radio0",
		},
		{
			name: "radio keep", flags: "json root", run: radioKeep,
			summary: "Keep a change that was made with --try.",
			example: "globalnet radio keep",
		},
		{
			name: "radio revert", flags: "json root", run: radioRevert,
			summary: "Undo a change that was made with --try.",
			example: "globalnet radio revert",
		},
		{
			name: "radio join", args: "IFNAME", least: 1, most: 1, flags: "json mode frequency", run: radioJoin,
			summary: "Put a radio on the air on a system without UCI.",
			detail:  "Whatever else the interface was, it ends; NetworkManager and the like must leave it alone.\nIt lasts until the machine is switched off, or `globalnet radio leave`.",
			example: "globalnet radio join wlan0\nglobalnet radio join wlan0 --mode adhoc --frequency 2437",
		},
		{
			name: "radio leave", args: "IFNAME", least: 1, most: 1, flags: "json", run: radioLeave,
			summary: "Take a radio off the air that `radio join` put there.",
			example: "globalnet radio leave wlan0",
		},
		upgradeCommand(),
	}
}

// router is the router whose files are below --root.
func (in *invocation) router() *openwrt.System {
	if in.filesOnly() {
		return openwrt.OpenFiles(in.root)
	}
	return openwrt.Open()
}

// filesOnly says that nothing of what is written takes effect at once.
func (in *invocation) filesOnly() bool { return in.root != "/" || in.radio.noReload }

func setUp(ctx context.Context, in *invocation) error {
	var gives []openwrt.Give
	for _, name := range in.args {
		gives = append(gives, openwrt.Give{Radio: name, Mode: in.radio.mode, Channel: in.radio.channel})
	}
	s := in.router()
	p, err := s.Setup(gives...)
	if err != nil {
		return err
	}
	return in.carryOut(ctx, s, p)
}

func radioRemove(ctx context.Context, in *invocation) error {
	s := in.router()
	p, err := s.TakeBack(in.args[0])
	if err != nil {
		return err
	}
	return in.carryOut(ctx, s, p)
}

// planned is the answer of the commands that change the router.
type planned struct {
	*openwrt.Plan
	Applied bool `json:"applied"`
}

// carryOut shows a plan, and applies it unless it is to be shown only.
func (in *invocation) carryOut(ctx context.Context, s *openwrt.System, p *openwrt.Plan) error {
	if !in.json {
		in.printPlan(p)
	}
	apply := !in.radio.dryRun && len(p.Changes) > 0
	if apply {
		if err := in.try(ctx, s, p); err != nil {
			return err
		}
	}
	switch {
	case in.json:
		return in.printJSON(planned{p, apply})
	case apply:
		_, err := fmt.Fprintln(in.stdout, "done; `globalnet reload` has a running agent read its configuration")
		return err
	}
	return nil
}

func (in *invocation) printPlan(p *openwrt.Plan) {
	for _, c := range p.Changes {
		if c.Old != "" {
			fmt.Fprintf(in.stdout, "- %s\n", printable(hidden(c.Old)))
		} else {
			fmt.Fprintf(in.stdout, "+ %s\n", printable(c.New))
		}
	}
	if len(p.Changes) == 0 {
		fmt.Fprintln(in.stdout, "nothing is to be changed")
	}
	for _, o := range p.Air {
		fmt.Fprintf(in.stdout, "%s\n", printable(o.String()))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(in.stdout, "note: %s\n", printable(n))
	}
}

// hidden is a line of configuration without a secret.
func hidden(line string) string {
	if name, _, ok := strings.Cut(line, "="); ok && strings.HasSuffix(name, ".key") {
		return name + "=[secret]"
	}
	return line
}

// try applies a plan, waits for the radios, and for the owner if he wants that. The
// end of his SSH session, which the change itself may bring about, does not end it.
func (in *invocation) try(ctx context.Context, s *openwrt.System, p *openwrt.Plan) error {
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.Apply(ctx, p); err != nil {
		return err
	}
	if in.filesOnly() {
		return s.Keep()
	}
	waiting, cancel := context.WithTimeout(ctx, in.radio.wait)
	err := s.Await(waiting, p)
	cancel()
	if err != nil {
		return errors.Join(fmt.Errorf("%w; all goes back", err), s.Revert(context.WithoutCancel(ctx)))
	}
	if in.radio.try == 0 {
		return s.Keep()
	}
	fmt.Fprintf(in.stderr, "on trial for %v: `globalnet radio keep` keeps it\n", in.radio.try)
	waiting, cancel = context.WithTimeout(ctx, in.radio.try)
	defer cancel()
	kept, err := s.AwaitKeep(waiting)
	if err == nil && !kept {
		err = errors.New("nobody kept the change: all is as it was")
	}
	return err
}

type radioRow struct {
	openwrt.Radio
	Mode    string   `json:"mesh_mode"` // that the driver does best
	Verdict string   `json:"verdict"`
	Notes   []string `json:"notes,omitempty"`
}

func radioList(_ context.Context, in *invocation) error {
	s := in.router()
	radios, err := s.Radios()
	if err != nil {
		return err
	}
	var rows []radioRow
	for _, r := range radios {
		row := radioRow{Radio: r, Mode: r.Known.MeshMode(), Verdict: "would do"}
		if p, err := s.Setup(openwrt.Give{Radio: r.Name}); err != nil {
			row.Verdict = err.Error()
		} else {
			row.Notes = p.Notes
		}
		for _, u := range r.Uses {
			if u.Ours && !u.Disabled {
				row.Verdict = "in the mesh"
			}
		}
		rows = append(rows, row)
	}
	if in.json {
		return in.printJSON(rows)
	}
	t := table{{"RADIO", "BAND", "CHANNEL", "ON IT", "DRIVER", "FOR THE MESH"}}
	for _, r := range rows {
		var uses []string
		for _, u := range r.Uses {
			if !u.Disabled && !r.Disabled {
				uses = append(uses, u.String())
			}
		}
		if r.Disabled {
			uses = []string{"switched off"}
		}
		t = append(t, []string{r.Name, r.Band, r.Channel, strings.Join(uses, ", "), r.Known.Driver, r.Verdict})
	}
	return t.print(in.stdout)
}

func radioKeep(_ context.Context, in *invocation) error {
	s := in.router()
	if !s.OnTrial() {
		return errors.New("no change is on trial")
	}
	if err := s.Keep(); err != nil {
		return err
	}
	return in.report("kept")
}

func radioRevert(ctx context.Context, in *invocation) error {
	s := in.router()
	if !s.OnTrial() {
		return errors.New("no change is on trial")
	}
	if err := s.Revert(ctx); err != nil {
		return err
	}
	return in.report("all is as it was")
}

func radioJoin(ctx context.Context, in *invocation) error {
	r := kernel.Radio{Ifname: in.args[0], Mode: kernel.RadioMode(in.radio.mode), Frequency: in.radio.frequency, ID: in.radio.id}
	if r.Mode == "" || r.Mode == "auto" {
		r.Mode = kernel.RadioMesh
	}
	if err := kernel.JoinRadio(ctx, r); err != nil {
		return err
	}
	return in.report(fmt.Sprintf("%s is on the air: %s at %d MHz", r.Ifname, r.Mode, r.Frequency))
}

func radioLeave(ctx context.Context, in *invocation) error {
	if err := kernel.LeaveRadio(ctx, in.args[0]); err != nil {
		return err
	}
	return in.report(in.args[0] + " is off the air")
}

// report says that something was done, in one line or as JSON.
func (in *invocation) report(what string) error {
	if in.json {
		return in.printJSON(struct {
			Done string `json:"done"`
		}{what})
	}
	_, err := fmt.Fprintln(in.stdout, what)
	return err
}

// cleanupUCI removes what is ours from OpenWrt's configuration.
func (in *invocation) cleanupUCI(ctx context.Context) (*openwrt.Plan, error) {
	s := openwrt.Open()
	// What is on trial goes first; then all the rest.
	if err := s.Revert(ctx); err != nil {
		return nil, err
	}
	p, err := s.Cleanup()
	if errors.Is(err, openwrt.ErrNotOpenWrt) {
		return new(openwrt.Plan), nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.Apply(ctx, p); err != nil {
		return nil, err
	}
	return p, s.Keep()
}

// recoverSetup goes back from a change on which the router was switched off.
func recoverSetup(ctx context.Context, log *slog.Logger) {
	if err := guard.Tidy("/"); err != nil {
		log.Warn("removing what a power cut left of an upgrade", "err", err)
	}
	reverted, err := openwrt.Open().Recover(ctx)
	if err != nil {
		log.Error("going back from a change of OpenWrt's configuration", "err", err)
	}
	if reverted {
		log.Warn("a change of OpenWrt's configuration was not kept before the router was switched off: it is undone")
	}
}
