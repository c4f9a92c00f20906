# Says what a router is, as lines KEY=VALUE. It changes nothing.
fact() { printf '%s=%s\n' "$1" "$2"; }
free() { df -kP "$1" 2>/dev/null | tail -n 1 | while read -r _ _ _ n _; do echo "$n"; done; }
memory() { while read -r key n _; do [ "$key" = "$1:" ] && echo "$n"; done </proc/meminfo; }

facts() {
	fact uid "$(id -u)"
	fact board "$(cat /tmp/sysinfo/board_name 2>/dev/null)"
	fact model "$(cat /tmp/sysinfo/model 2>/dev/null)"
	fact system "$(ubus call system board 2>/dev/null | tr -d '\n\t')"
	if [ -r /etc/openwrt_release ]; then
		. /etc/openwrt_release
		fact distribution "$DISTRIB_ID"
		fact release "$DISTRIB_RELEASE"
		fact target "$DISTRIB_TARGET"
		fact release_arch "$DISTRIB_ARCH"
	fi
	if command -v apk >/dev/null; then
		fact manager apk
		fact arch "$(tr '\n' ' ' </etc/apk/arch 2>/dev/null)"
		fact database "$(du -sk /lib/apk/db 2>/dev/null | cut -f 1)"
		fact installed "$(sed -n '/^P:globalnet$/,/^$/s/^V://p' /lib/apk/db/installed 2>/dev/null | head -n 1)"
	elif command -v opkg >/dev/null; then
		fact manager opkg
		opkg print-architecture | while read -r _ name _; do fact arch "$name"; done
		fact database "$(du -sk /usr/lib/opkg/status 2>/dev/null | cut -f 1)"
		fact installed "$(sed -n '/^Package: globalnet$/,/^$/s/^Version: //p' /usr/lib/opkg/status 2>/dev/null | head -n 1)"
	fi
	overlay=/
	grep -q ' /overlay ' /proc/mounts && overlay=/overlay
	fact overlayfs "$(while read -r _ at type _; do [ "$at" = "$overlay" ] && echo "$type"; done </proc/mounts | tail -n 1)"
	fact overlayfree "$(free "$overlay")"
	fact tmpfree "$(free /tmp)"
	fact memtotal "$(memory MemTotal)"
	fact memavailable "$(memory MemAvailable)"
	[ -c /dev/net/tun ] && fact tun 1
	[ -d /sys/module/wireguard ] && fact wireguard 1
	[ -e /usr/sbin/globalnet ] && fact program "$(wc -c </usr/sbin/globalnet)"
	[ -x /etc/init.d/globalnet ] && /etc/init.d/globalnet running >/dev/null 2>&1 && fact running 1
	for f in /usr/lib/opkg/info/globalnet.* /lib/apk/packages/globalnet.* /etc/rc.d/[SK]*globalnet /etc/rc.d/[SK]*globalnet-*; do
		if [ -e "$f" ] || [ -L "$f" ]; then fact file "$f"; fi
	done
	for f in /usr/lib/opkg/info/globalnet.list /lib/apk/packages/globalnet.list; do
		[ -e "$f" ] && while read -r name; do fact file "$name"; done <"$f"
	done
	fact lan "$(uci -q get network.lan.device || uci -q get network.lan.ifname)"
	[ -e /etc/globalnet/identity.key ] && fact identity "$(sha256sum </etc/globalnet/identity.key | cut -c1-64)"
	uci -q show wireless | while read -r line; do fact wireless "$line"; done
	[ -e /etc/globalnet.flash/armed ] && fact armed "$(cat /etc/globalnet.flash/limit)"
}
facts </dev/null
exit 0
