package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"syscall"

	"globalnet/openwrt/guard"
	"globalnet/openwrt/upgrade"
)

// upgradeFlags are the flags of `upgrade`.
type upgradeFlags struct {
	upgrade.Options
}

func (f *upgradeFlags) define(fs *flag.FlagSet, c command) {
	if !c.has("upgrade") {
		return
	}
	fs.StringVar(&f.Key, "key", "", "public key `FILE` of usign or minisign that must have signed (default: any in "+guard.Keys+")")
	fs.BoolVar(&f.AllowUnsigned, "allow-unsigned", false, "take it without a signature")
	fs.BoolVar(&f.AllowDowngrade, "allow-downgrade", false, "take an older version")
	fs.BoolVar(&f.DryRun, "dry-run", false, "check and print what would be done, and change nothing")
}

func upgradeCommand() command {
	return command{
		name: "upgrade", args: "FILE", least: 1, most: 1, flags: "json upgrade", run: runUpgrade,
		summary: "Put a newer version onto this router, and the old one back if it does not work.",
		detail:  "FILE is an .ipk, an .apk or a bare program; its signature is FILE.sig, FILE.minisig, or that of\na SHA256SUMS that lists it. Key and configuration stay. A version that is not healthy in two\nminutes gives way to the old one, also if this command or the power is cut meanwhile.",
		example: "globalnet upgrade /tmp/globalnet.ipk --dry-run\nglobalnet upgrade /tmp/globalnet.apk --key /tmp/release.pub",
	}
}

func runUpgrade(ctx context.Context, in *invocation) error {
	// The restart may end the session that this runs in.
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o := in.radio.upgrade.Options
	o.File = in.args[0]
	if !in.json {
		o.Progress = func(n, of int, step string) { fmt.Fprintf(in.stderr, "[%d/%d] %s\n", n, of, step) }
	}
	r, err := upgrade.Run(ctx, o)
	if in.json {
		return errors.Join(err, in.printJSON(r))
	}
	if err != nil {
		return err
	}
	switch r.Result {
	case "planned":
		for _, p := range r.Plan {
			fmt.Fprintf(in.stdout, "would %s\n", printable(p))
		}
	case "unchanged":
		fmt.Fprintf(in.stdout, "%s is installed already\n", printable(r.Version))
	default:
		fmt.Fprintf(in.stdout, "upgraded %s to %s in %.0f s\n", printable(r.Installed), printable(r.Version), r.Seconds)
	}
	return nil
}
