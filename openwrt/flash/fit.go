package flash

import (
	"fmt"
	"slices"
	"strings"

	"globalnet/board"
	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
)

// fits says why the package cannot go onto the router, and what could be done;
// empty where it can.
func fits(r *Router, a *archive.Archive) (why, advice string) {
	if why, advice = usable(r); why != "" {
		return why, advice
	}
	if !slices.Contains(r.Arches, a.Arch) && a.Arch != "all" && a.Arch != "noarch" {
		return fmt.Sprintf("the package is for %s, the router for %s", a.Arch, strings.Join(r.Arches, ", ")), "`make packages ARCH=" + r.Arches[0] + "` makes the one for it."
	}
	if a.APK != (r.Manager == "apk") {
		return fmt.Sprintf("the router's package manager is %s, and the file is for the other", r.Manager), "Name the folder of all packages with --packages, or the other file."
	}
	if need := overlayNeed(r, a); r.OverlayK < need {
		return fmt.Sprintf("not enough flash: %s needed, %s free on the overlay", kib(need), kib(r.OverlayK)), overlayAdvice(r, a)
	}
	if need := a.Size/1024 + 1024; r.TempK < need {
		return fmt.Sprintf("not enough room in /tmp: %s needed, %s free", kib(need), kib(r.TempK)), "Restart the router and try again at once: /tmp is in its memory."
	}
	if need := memoryNeed(r, a); r.FreeK < need {
		return fmt.Sprintf("not enough memory: %s needed, %s free of %d MiB", kib(need), kib(r.FreeK), r.RAMK>>10),
			"Restart the router and try again; remove what you do not use (opkg/apk list installed). With 64 MiB in all it is scarce: 128 MiB do well."
	}
	return "", ""
}

// usable judges the router itself.
func usable(r *Router) (why, advice string) {
	const other = "GlobalNet needs OpenWrt 21.02 or later, or a system made from it. docs/operations.md names boards."
	switch {
	case r.Manager == "" && r.distribution == "":
		return "this is no OpenWrt: no /etc/openwrt_release, neither opkg nor apk", other
	case r.Manager == "":
		return "it has neither opkg nor apk", "Flash an image of OpenWrt that has a package manager, or build one with the package inside."
	case r.uid != "0":
		return "the user is not root", "Log in as root: flash root@ROUTER"
	case r.rootfs == "initramfs" || r.rootfs == "tmpfs" || r.rootfs == "ramfs" || r.Overlay == "ramfs":
		return "it runs from memory (" + r.rootfs + "): what is installed is gone at the next start", "Write an image to its flash first: flash --image FILE root@ROUTER"
	case len(r.Arches) == 0:
		return "it does not say for which architecture its packages are", "Look at /etc/apk/arch or `opkg print-architecture` on the router."
	}
	if !slices.ContainsFunc(r.Arches, func(name string) bool { _, ok := board.LookupArch(name); return ok }) {
		var known []string
		for _, a := range board.Arches() {
			known = append(known, a.Name)
		}
		return "no package is made for " + strings.Join(r.Arches, ", "), "There are packages for " + strings.Join(known, ", ") + "."
	}
	return "", ""
}

func overlayNeed(r *Router, a *archive.Archive) int64 { return guard.Need(r.Overlay, r.databaseK, a) }

// keepMode is how the guard keeps the old program.
func keepMode(r *Router, a *archive.Archive) string {
	if a == nil {
		return "copy"
	}
	return guard.Keep(r.OverlayK, overlayNeed(r, a), r.ProgramK)
}

func memoryNeed(r *Router, a *archive.Archive) int64 {
	need := a.Size / 1024
	if !r.Running { // the agent that runs has its memory
		limit := board.ProfileFor(uint64(max(r.RAMK, 0))).MemoryLimit
		if limit == 0 || limit > 64 {
			limit = 64
		}
		need += int64(limit+4) << 10
	}
	return need
}

func overlayAdvice(r *Router, a *archive.Archive) string {
	inside := fmt.Sprintf("Inside an image it takes about %s: build one with `make image PROFILE=… PACKAGES=globalnet` in OpenWrt's ImageBuilder and write it with flash --image.", kib(a.Size/1024))
	if r.Known && r.board.Flash > 0 && r.board.Flash <= 8 {
		return fmt.Sprintf("%s has %d MiB of flash, which a stock image fills. An image without LuCI and PPP may have the room. %s Boards with 16 MiB do: %s.", r.Title, r.board.Flash, inside, suggestions())
	}
	return inside + " Or remove packages that you do not use, or put the overlay on a USB stick (extroot)."
}

// suggestions are three boards that do well.
func suggestions() string {
	var names []string
	for _, b := range board.All() {
		if b.Flash >= 32 && b.RAM >= 128 && len(names) < 3 && len(b.Radios) > 0 && b.Radios[0].MeshMode() == "mesh" {
			names = append(names, b.Title)
		}
	}
	return strings.Join(names, ", ")
}

// remarks are what the owner should know, and what stops nothing.
func remarks(r *Router) []string {
	var all []string
	if !r.TUN && !r.WireGuard {
		all = append(all, "There is neither WireGuard in the kernel nor /dev/net/tun: install kmod-wireguard (fast) or kmod-tun from the router's own feed, or no link comes up.")
	} else if !r.WireGuard {
		all = append(all, "WireGuard is not in the kernel: links work through kmod-tun and are slower. kmod-wireguard is in the router's own feed.")
	}
	if !r.Known {
		all = append(all, fmt.Sprintf("The table of boards does not have %q: it is taken as what it says of itself.", r.Board))
	}
	if r.board.Notes != "" {
		all = append(all, r.Title+": "+r.board.Notes+".")
	}
	if r.RAMK > 0 && r.RAMK < 96<<10 {
		all = append(all, "With 64 MiB of memory it routes, but carries no circuits of others.")
	}
	return all
}
