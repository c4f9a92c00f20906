// Package guard is what undoes a change of a router that nobody confirmed: a script
// of busybox's shell that keeps the old files, puts them back after a time or at the
// next boot, and is told otherwise by who saw that all is well. `flash` sends it from
// a workstation, `globalnet upgrade` writes it on the router. It owns no state; the
// script owns the folder Dir while it is armed.
package guard

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"globalnet/openwrt/archive"
)

// Script is the guard: `arm SECONDS` after it was written to Stage beside the list of
// paths, then `limit`, `start-apply`, `undo`, `confirm TOKEN`.
//
//go:embed guard.sh
var Script string

// Paths on the router.
const (
	Stage     = "/tmp/globalnet-flash" // what was sent
	Dir       = "/etc/globalnet.flash" // the old files
	Program   = Dir + "/guard"
	Armed     = Dir + "/armed"   // there while it may put back
	Applied   = Dir + "/applied" // what came of start-apply: ok, or why not
	Confirmed = "/tmp/globalnet-flash.confirmed"
	Hook      = "/etc/rc.d/S11globalnet-flash"
)

// Keys is the folder of public keys of usign or minisign, any of which may sign what
// `globalnet upgrade` takes; `flash --key` leaves its own there.
const Keys = "/etc/globalnet/keys"

// Tidy removes the folder of a guard that the power left before it was armed, and
// before it had its hook for the boot.
func Tidy(root string) error {
	for _, name := range []string{Armed, Hook} {
		if _, err := os.Lstat(filepath.Join(root, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return os.RemoveAll(filepath.Join(root, Dir))
}

// Configs are the configurations that may change, ours last.
var Configs = []string{"wireless", "network", "firewall", "dhcp", "system", "globalnet"}

// Paths are the files that may change when a package, nil for none, is installed, or
// taken off, by one of the managers "apk" and "opkg"; more are those of the package
// that is there.
func Paths(manager string, a *archive.Archive, more []string) []string {
	all := []string{"/etc/globalnet", "/etc/config/globalnet-opkg", "/etc/config/globalnet.apk-new"}
	for _, c := range Configs {
		all = append(all, "/etc/config/"+c)
	}
	if manager == "apk" {
		all = append(all, "/lib/apk/db", "/etc/apk/world", "/etc/apk/keys/globalnet.pem")
	} else {
		all = append(all, "/usr/lib/opkg/status")
		for _, suffix := range []string{"list", "control", "conffiles", "postinst", "prerm", "postinst-pkg", "prerm-pkg"} {
			all = append(all, "/usr/lib/opkg/info/globalnet."+suffix)
		}
	}
	if a != nil {
		all = append(all, a.Paths()...)
		all = append(all, links(a)...)
	}
	all = append(all, more...)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(p string) bool {
		return !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "/etc/globalnet/") || strings.HasPrefix(p, "/lib/apk/db/")
	})
}

// Wanted says whose contents Paths reads: services say there when they start.
func Wanted(path string) bool { return strings.HasPrefix(path, "/etc/init.d/") }

// links are those that enable the services of the package, and what managers leave
// beside service scripts that were edited.
func links(a *archive.Archive) []string {
	var all []string
	for i := range a.Files {
		f := &a.Files[i]
		name, ok := strings.CutPrefix(f.Path, "/etc/init.d/")
		if !ok {
			continue
		}
		start, stop := "50", ""
		for line := range strings.Lines(string(f.Content)) {
			line = strings.TrimSpace(line)
			if n, ok := strings.CutPrefix(line, "START="); ok {
				start = digits(n)
			} else if n, ok := strings.CutPrefix(line, "STOP="); ok {
				stop = digits(n)
			}
		}
		all = append(all, "/etc/rc.d/S"+start+name, "/etc/rc.d/K"+stop+name, f.Path+"-opkg", f.Path+".apk-new")
	}
	return all
}

func digits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i]
}

// spareK is left free on the overlay, for the configuration and what the package
// manager writes about itself.
const spareK = 512

// Compresses says whether the overlay stores less than it is given. opkg does not
// know of it and wants the whole size.
func Compresses(filesystem string) bool { return filesystem == "jffs2" || filesystem == "ubifs" }

// Need is how much room in KiB installing takes, the manager's lists of a size, which
// are kept and written anew, and a spare included.
func Need(filesystem string, databaseK int64, a *archive.Archive) int64 {
	need := a.Installed / 1024
	if Compresses(filesystem) {
		need = a.Size / 1024 * 13 / 10
	}
	return need + 2*databaseK + spareK
}

// Keep is how arm keeps the old program, its variable KEEP: as a copy where there is
// room for it beside the new one, else under a second name.
func Keep(freeK, needK, programK int64) string {
	if freeK >= needK+programK {
		return "copy"
	}
	return "link"
}
