#!/bin/sh
# Undoes what was done to a router unless somebody confirms it. `arm` keeps every
# file that may change and leaves a hook for the next boot; `watch` waits; whoever
# comes first, the workstation, the watch or the boot, runs the same `restore`.
# Needs nothing but busybox. Nothing here asks, and nothing waits for ever.

D=/etc/globalnet.flash
HOOK=/etc/rc.d/S11globalnet-flash # before the network, after the overlay
SERVICE=/etc/init.d/globalnet
PROGRAM=/usr/sbin/globalnet
STAGE=/tmp/globalnet-flash
CONFIRMED=/tmp/globalnet-flash.confirmed # by whom, for one who lost the answer
CLAIM=/tmp/globalnet-flash.deciding
CONFIGS="network wireless firewall dhcp system"

say() {
	echo "$*"
	logger -t globalnet-flash "$*" 2>/dev/null
}

# bounded SECONDS COMMAND…: busybox may have no timeout.
bounded() {
	local limit=$1 pid n=0
	shift
	"$@" >/dev/null 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		if [ "$n" -gt "$limit" ]; then
			kill -9 "$pid" 2>/dev/null
			return 1
		fi
		sleep 1
	done
	wait "$pid"
}

there() { [ -e "$1" ] || [ -L "$1" ]; }

# keep PATH: remembers it as it is, or that it is not there. The program is large:
# a second name costs nothing, where a package manager writes new files beside old.
keep() {
	local p=$1 dir
	if there "$p"; then
		echo "$p" >>"$D/had"
		mkdir -p "$D/old${p%/*}" || return 1
		if [ "$p" = "$PROGRAM" ] && [ "$KEEP" = link ]; then
			ln "$p" "$D/old$p" 2>/dev/null && return 0
		fi
		cp -a "$p" "$D/old$p"
		return
	fi
	echo "$p" >>"$D/new"
	dir=${p%/*}
	while [ -n "$dir" ] && ! [ -d "$dir" ]; do
		grep -qxF "$dir" "$D/dirs" 2>/dev/null || echo "$dir" >>"$D/dirs"
		dir=${dir%/*}
	done
}

disarm() {
	rm -f "$D/armed"
	sync
	rm -f "$HOOK"
	rm -rf "$D" "$STAGE" "$CLAIM"
}

# detach COMMAND…: survives the connection.
detach() {
	if start-stop-daemon -S -b -x "$D/guard" -- "$@" </dev/null >/dev/null 2>&1; then
		return 0
	fi
	if command -v setsid >/dev/null; then
		setsid "$D/guard" "$@" </dev/null >/dev/null 2>&1 &
	else
		(
			trap '' HUP
			"$D/guard" "$@" </dev/null >/dev/null 2>&1 &
		)
	fi
}

# arm SECONDS: the list of paths is beside this script.
arm() {
	local p
	if [ -e "$D/armed" ]; then
		say "another flash is under way on this router"
		return 1
	fi
	rm -rf "$D" "$CLAIM"
	mkdir -p /etc/rc.d
	# The hook comes first, so that a power cut leaves nothing behind.
	mkdir -m 0700 "$D" && mkdir "$D/old" && : >"$D/had" && : >"$D/new" && : >"$D/dirs" &&
		cp "$STAGE/guard" "$D/guard" && chmod 0700 "$D/guard" && ln -sf "$D/guard" "$HOOK" && echo "$1" >"$D/limit" || {
		disarm
		say "no room to keep the files"
		return 1
	}
	# Who upgrades from the router itself is called as the agent is, and lives on.
	[ -z "$BY" ] || echo "$BY" >"$D/by"
	while read -r p; do
		[ -n "$p" ] || continue
		keep "$p" || {
			disarm
			say "no room to keep $p"
			return 1
		}
	done <"$STAGE/paths"
	# Longest first, so that folders empty before those that hold them.
	sort -r "$D/dirs" >"$D/dirs.sorted" || return 1
	[ -x "$SERVICE" ] && bounded 10 "$SERVICE" running && : >"$D/was-running"
	sync && : >"$D/armed" && sync || {
		disarm
		say "no room to keep the files"
		return 1
	}
	detach watch
}

limit() { echo "$1" >"$D/limit.new" && mv "$D/limit.new" "$D/limit"; }

watch() {
	local n=0 limit=0 said
	while :; do
		said=$(cat "$D/limit" 2>/dev/null)
		limit=${said:-$limit} # empty for the moment in which it is written
		[ "$n" -lt "$limit" ] || break
		sleep 1
		n=$((n + 1))
		[ -e "$D/armed" ] || return 0
		if [ -e "$D/alive" ]; then
			rm -f "$D/alive"
			n=0
		fi
	done
	[ -e "$D/armed" ] || return 0
	say "nobody confirmed in time: putting the router back"
	restore
}

# put PATH: back as it was; what did not change is not written. The old one is
# moved, which takes no room. What is gone from $D/old is back already.
put() {
	local p=$1 old=$D/old$1
	there "$old" || return 0
	if [ -f "$p" ] && ! [ -L "$p" ] && [ -f "$old" ] && cmp -s "$p" "$old" &&
		[ "$(ls -l "$p" | cut -c1-10)" = "$(ls -l "$old" | cut -c1-10)" ]; then
		rm -f "$old"
		return 0
	fi
	[ -d "$p" ] && ! [ -L "$p" ] && rm -rf "$p"
	mkdir -p "${p%/*}"
	mv -f "$old" "$p"
}

files_back() {
	local p
	while read -r p; do put "$p"; done <"$D/had"
	while read -r p; do rm -rf "$p"; done <"$D/new"
	while read -r p; do rmdir "$p" 2>/dev/null; done <"$D/dirs.sorted"
	sync
}

# changed prints which configurations are not what they were.
changed() {
	local c
	for c in $CONFIGS; do
		there "/etc/config/$c" || there "$D/old/etc/config/$c" || continue
		cmp -s "/etc/config/$c" "$D/old/etc/config/$c" || printf '%s ' "$c"
	done
}

# reload NAMES: the services whose configuration changed.
reload() {
	case " $* " in *" network "* | *" wireless "*)
		bounded 30 /etc/init.d/network reload
		[ -x /sbin/wifi ] && bounded 30 /sbin/wifi reload
		;;
	esac
	case " $* " in *" firewall "* | *" network "*) bounded 30 /etc/init.d/firewall reload ;; esac
	case " $* " in *" dhcp "*) bounded 30 /etc/init.d/dnsmasq reload ;; esac
	case " $* " in *" system "*) bounded 10 /etc/init.d/led restart ;; esac
}

# agents prints the processes of the agent.
agents() {
	local p
	for p in $(pidof globalnet); do
		[ "$p" = "$(cat "$D/by" 2>/dev/null)" ] || echo "$p"
	done
}

# end stops the agent, also one whose scripts hang.
end() {
	local n=0 s
	for s in "$SERVICE" "$SERVICE"-*; do
		[ -x "$s" ] && bounded 15 "$s" stop
	done
	while [ -n "$(agents)" ] && [ "$n" -lt 12 ]; do
		sleep 1
		n=$((n + 1))
	done
	# shellcheck disable=SC2046
	[ -z "$(agents)" ] || kill -9 $(agents)
	[ -x "$PROGRAM" ] && bounded 10 "$PROGRAM" cleanup
	# Rules of LANs outlive the agent on purpose, where they were there before.
	grep -q "mode '*all" "$D/old/etc/config/globalnet" 2>/dev/null || ! [ -x "$PROGRAM" ] || bounded 10 "$PROGRAM" lan off
}

# claim makes this process the one that decides. It is in memory, where there is room,
# and who was killed meanwhile decides nothing.
claim() {
	local holder
	if ! mkdir "$CLAIM" 2>/dev/null; then
		holder=$(cat "$CLAIM/by" 2>/dev/null)
		[ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null && rm -rf "$CLAIM" && mkdir "$CLAIM" || return 1
	fi
	echo $$ >"$CLAIM/by"
}

restore() {
	local c n=0 was='' what
	until claim; do # somebody else restores, or confirms
		[ -e "$D/armed" ] || return 0
		n=$((n + 1))
		[ "$n" -lt 120 ] || return 1
		sleep 1
	done
	[ -e "$D/armed" ] || { # who had the word before has done it
		rm -rf "$CLAIM"
		return 0
	}
	n=0
	# Two that start and stop services at once would leave them as it happens.
	while [ -e "$D/applying" ] && [ "$n" -lt 40 ]; do
		sleep 1
		n=$((n + 1))
	done
	[ -e "$D/was-running" ] && was=1
	end
	what=$(changed)
	for c in $CONFIGS globalnet; do rm -f "/tmp/.uci/$c"; done
	files_back
	# shellcheck disable=SC2086
	[ -z "$what" ] || reload $what
	rm -rf /var/run/globalnet
	if [ -n "$was" ]; then
		for c in "$SERVICE" "$SERVICE"-*; do
			[ -x "$c" ] && bounded 20 "$c" start
		done
	fi
	say "the router is as it was"
	disarm
}

# boot runs where the power failed before anybody confirmed.
boot() {
	[ -e "$D/armed" ] && {
		say "the power failed before anybody confirmed: putting the router back"
		files_back
		say "the router is as it was"
	}
	disarm
}

# apply makes the network follow the configuration; the connection may not survive it.
apply() {
	local what
	[ -e "$CLAIM" ] && return
	what=$(changed)
	if command -v fw4 >/dev/null && ! bounded 30 fw4 check; then
		echo "the firewall refuses its configuration: fw4 check" >"$D/applied.tmp"
	else
		# shellcheck disable=SC2086
		[ -z "$what" ] || reload $what
		# After a removal there is no service.
		if [ ! -x "$SERVICE" ] || bounded 30 "$SERVICE" restart; then
			echo ok >"$D/applied.tmp"
		else
			echo "the service did not start: $SERVICE restart" >"$D/applied.tmp"
		fi
	fi
	mv "$D/applied.tmp" "$D/applied"
	rm -f "$D/applying"
}

case $1 in
arm) arm "$2" ;;
watch) watch ;;
apply) apply ;;
start-apply) rm -f "$D/applied" && limit "$2" && : >"$D/alive" && : >"$D/applying" && detach apply ;;
limit) [ -e "$D/armed" ] && limit "$2" && : >"$D/alive" ;;
undo) detach restore ;;
restore) [ ! -e "$D/armed" ] || restore ;;
confirm) [ -e "$D/armed" ] && claim && [ -e "$D/armed" ] && echo "$2" >"$CONFIRMED" && disarm ;;
boot) boot ;;
*) exit 2 ;;
esac
