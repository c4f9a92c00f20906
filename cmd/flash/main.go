// Command flash puts the agent onto routers with OpenWrt from a workstation with
// Linux, macOS or Windows: one command, from a cable to a mesh node. Package
// openwrt/flash does the work; this asks the person, shows progress and adds up.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"globalnet/openwrt/flash"
)

const usage = `flash puts GlobalNet onto routers with OpenWrt, and keeps them safe meanwhile.

  flash [OPTIONS] root@ROUTER [root@ROUTER…]

It looks at the router, refuses what cannot go well, backs up its configuration to
this computer, sends and installs the package, configures it, and sees over a new
connection that it works. Until then the router puts itself back as it was: if
anything fails, if this computer goes away, or if the power does.

Examples:
  flash root@192.168.1.1                         install or upgrade
  flash --dry-run root@192.168.1.1               only look, and print the plan
  flash --mesh-radio auto --lan names root@192.168.1.1
  flash --network our-street --passphrase-file words.txt --mesh-radio radio1 root@10.0.0.1
  flash --service web=80,/srv/www root@192.168.1.1
  flash root@10.0.0.1 root@10.0.0.2 root@10.0.0.3
  flash --remove root@192.168.1.1                take it off, with all it changed
  flash --image openwrt-…-sysupgrade.bin root@192.168.1.1

Options:
`

const exits = `
Exit status: 0 done · 1 failed, the router is as it was · 2 wrong usage · 3 refused,
nothing was changed · 4 no connection, or not the router that was pinned · 5 failed, and
the router could not be reached to put it back: it does so by itself.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, newTerminal()))
}

// settings are the flags that are no options of package flash.
type settings struct {
	flash.Options
	targets                          []flash.Target
	identity, passphrase, password   string
	key, hostKey                     string
	askPassphrase, acceptNew, asJSON bool
	newHostKey                       bool
	jobs                             int
}

const wrongUsage = 2

func run(ctx context.Context, args []string, stdout io.Writer, t *terminal) int {
	s, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = s.secrets(t)
	}
	if err != nil {
		fmt.Fprintf(t.stderr, "flash: %v\n", err)
		return wrongUsage
	}
	home, err := os.UserConfigDir()
	if err != nil {
		home = "."
	}
	home = filepath.Join(home, "globalnet")
	if s.Backups == "" {
		s.Backups = filepath.Join(home, "backups")
	}
	s.Login = s.login(t, home)
	t.quiet = s.asJSON && !t.isTerminal
	t.several = len(s.targets) > 1
	s.Progress = t.progress
	reports := s.all(ctx)
	t.end()
	if s.asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(reports); err != nil {
			fmt.Fprintf(t.stderr, "flash: %v\n", err)
		}
	} else {
		summary(stdout, reports)
	}
	worst := flash.Done
	for _, r := range reports {
		worst = max(worst, r.Result)
	}
	return int(worst)
}

// all flashes the routers, some at a time.
func (s *settings) all(ctx context.Context) []*flash.Report {
	reports := make([]*flash.Report, len(s.targets))
	slots := make(chan struct{}, s.jobs)
	var wg sync.WaitGroup
	for i, target := range s.targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			reports[i], _ = flash.Run(ctx, target, s.Options) // the report says it too
		})
	}
	wg.Wait()
	return reports
}

func parse(args []string, stdout io.Writer) (*settings, error) {
	s := new(settings)
	fs := flag.NewFlagSet("flash", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.Packages, "packages", filepath.Join("dist", "packages"), "`FOLDER` that make packages filled")
	fs.StringVar(&s.File, "file", "", "this package, an .ipk or .apk `FILE`")
	fs.StringVar(&s.key, "key", "", "`FILE` of a public key of usign or minisign: the package must be signed by it")
	fs.StringVar(&s.MeshRadio, "mesh-radio", "", "`RADIO` that joins the mesh: auto, or radio0, radio1 …")
	fs.IntVar(&s.Channel, "channel", 0, "its `CHANNEL`; all neighbours need the same")
	fs.StringVar(&s.LAN, "lan", "", "`MODE` for clients of the LAN: names, all or off")
	fs.StringVar(&s.Network, "network", "", "`NAME` of the neighbourhood")
	fs.StringVar(&s.passphrase, "passphrase-file", "", "`FILE` whose first line is the neighbourhood's passphrase")
	fs.BoolVar(&s.askPassphrase, "passphrase", false, "ask for the passphrase")
	fs.Func("service", "`NAME=PORT,TARGET` of something to publish; may be repeated", func(v string) error {
		s.Services = append(s.Services, v)
		return nil
	})
	fs.BoolVar(&s.DryRun, "dry-run", false, "look and print the plan, change nothing")
	fs.BoolVar(&s.Downgrade, "downgrade", false, "allow an older version than the router has")
	fs.BoolVar(&s.Remove, "remove", false, "take everything off again")
	fs.StringVar(&s.Image, "image", "", "write this sysupgrade `FILE` of OpenWrt, after the router has tested it")
	fs.StringVar(&s.Backups, "backups", "", "`FOLDER` for the routers' configurations (default: globalnet/backups among your settings)")
	fs.StringVar(&s.identity, "identity", "", "private SSH key `FILE` (default: those in ~/.ssh, and the agent)")
	fs.StringVar(&s.password, "password-file", "", "`FILE` whose first line is the router's password")
	fs.StringVar(&s.hostKey, "host-key", "", "accept a new router with this `SHA256:…` fingerprint")
	fs.BoolVar(&s.acceptNew, "accept-new", false, "accept and pin a router that was never seen, without asking")
	fs.BoolVar(&s.newHostKey, "new-host-key", false, "the router has a new host key: ask, and pin it in place of the old")
	fs.BoolVar(&s.asJSON, "json", false, "print reports as JSON")
	fs.IntVar(&s.jobs, "jobs", 4, "routers at the same time")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			io.WriteString(stdout, usage)
			fs.SetOutput(stdout)
			fs.PrintDefaults()
			io.WriteString(stdout, exits)
		}
		return nil, err
	}
	if fs.NArg() == 0 {
		return nil, errors.New("no router; `flash root@192.168.1.1`, and --help for more")
	}
	if s.jobs < 1 {
		return nil, errors.New("--jobs: at least 1")
	}
	seen := make(map[string]bool)
	for _, arg := range fs.Args() {
		if strings.HasPrefix(arg, "-") {
			return nil, fmt.Errorf("%s: options come before the routers", arg)
		}
		target, err := flash.ParseTarget(arg)
		if err != nil {
			return nil, err
		}
		if seen[target.Address()] {
			return nil, fmt.Errorf("%s is named twice", arg)
		}
		seen[target.Address()] = true
		s.targets = append(s.targets, target)
	}
	return s, nil
}

// secrets reads the files, and asks; nothing of it is in anybody's arguments.
func (s *settings) secrets(t *terminal) error {
	var err error
	if s.key != "" {
		if s.PublicKey, err = os.ReadFile(s.key); err != nil {
			return err
		}
	}
	if s.passphrase != "" && s.askPassphrase {
		return errors.New("--passphrase and --passphrase-file exclude each other")
	}
	if s.passphrase != "" {
		line, err := firstLine(s.passphrase)
		if err != nil {
			return err
		}
		if line == "" {
			return fmt.Errorf("%s: no passphrase in the first line", s.passphrase)
		}
		s.Passphrase = []byte(line)
	}
	if s.askPassphrase {
		line, err := t.secret("Passphrase of the neighbourhood: ")
		if err != nil {
			return err
		}
		s.Passphrase = []byte(line)
	}
	if s.password != "" {
		if t.password, err = firstLine(s.password); err != nil {
			return err
		}
	}
	return nil
}

func firstLine(file string) (string, error) {
	text, err := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), err
}

func summary(w io.Writer, reports []*flash.Report) {
	for _, r := range reports {
		switch {
		case r.Result == flash.Done && r.What == "planned":
			fmt.Fprintf(w, "%s: %s\n", r.Router, r.Facts)
			for _, p := range r.Plan {
				fmt.Fprintf(w, "  would %s\n", p)
			}
		case r.Result == flash.Done:
			fmt.Fprintf(w, "%s: %s %s in %.0f s\n", r.Router, r.What, r.Version, r.Seconds)
			if r.Node != "" {
				fmt.Fprintf(w, "  node %s\n", r.Node)
			}
		default:
			fmt.Fprintf(w, "%s: %s\n  %s\n  %s\n", r.Router, r.Error, r.State, r.Advice)
		}
		if r.Backup != "" {
			fmt.Fprintf(w, "  its configuration from before is in %s\n", r.Backup)
		}
		for _, remark := range r.Remarks {
			fmt.Fprintf(w, "  note: %s\n", remark)
		}
	}
	if len(reports) < 2 {
		return
	}
	count := make(map[flash.Kind]int)
	for _, r := range reports {
		count[r.Result]++
	}
	fmt.Fprintf(w, "%d of %d routers done", count[flash.Done], len(reports))
	for k := flash.Undone; k <= flash.Pending; k++ {
		if count[k] > 0 {
			fmt.Fprintf(w, ", %d %s", count[k], k)
		}
	}
	fmt.Fprintln(w)
}
