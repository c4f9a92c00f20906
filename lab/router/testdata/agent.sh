#!/bin/sh
# The agent of tests: it answers as the real one while procd runs it.
running=/tmp/procd/globalnet.running
echo "globalnet $*" >>/tmp/calls
case "$1 $2" in
"status --json")
	[ -e "$running" ] || {
		echo "no agent is running" >&2
		exit 1
	}
	key=/etc/globalnet/identity.key
	[ -e "$key" ] || (umask 077 && cat /proc/sys/kernel/random/uuid >"$key")
	mesh=
	for radio in radio0 radio1; do
		name=$(uci -q get wireless.globalnet_$radio.ifname) && mesh="${mesh:+$mesh,}{\"name\":\"$name\",\"up\":true}"
	done
	age=$(($(date +%s) - $(date -r "$running" +%s) - 1)) # of whole seconds: never too much
	[ "$age" -ge 0 ] || age=0
	printf '{"node":"%s","network":"%s","uptime_ns":%s000000000,"interfaces":[%s],"neighbours":[]}\n' \
		"$(cat "$key")" "$(uci -q get globalnet.main.network)" "$age" "$mesh"
	;;
"cleanup "*) [ ! -e "$running" ] && { [ "$2" != --uci ] || gn-setup cleanup; } ;;
"setup "* | "radio setup") exec gn-setup "$@" ;;
*) ;;
esac
exit
