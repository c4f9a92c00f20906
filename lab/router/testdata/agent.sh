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
	[ "$(uci -q get wireless.gnmesh0.disabled)" != 1 ] && uci -q get wireless.gnmesh0 >/dev/null && mesh='{"name":"gnmesh0","up":true}'
	age=$(($(date +%s) - $(date -r "$running" +%s)))
	printf '{"node":"%s","network":"%s","uptime_ns":%s000000000,"interfaces":[%s],"neighbours":[]}\n' \
		"$(cat "$key")" "$(uci -q get globalnet.main.network)" "$age" "$mesh"
	;;
"cleanup "*) [ ! -e "$running" ] ;;
*) ;;
esac
exit
