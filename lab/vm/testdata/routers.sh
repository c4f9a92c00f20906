#!/bin/sh
# Two routers, /r1 and /r2, with a radio each; TestOpenWrtRadios says what for.
# shellcheck disable=SC2016 # what is quoted runs in a router
export PATH=/usr/bin:/bin:/usr/sbin:/sbin

# on ROUTER COMMAND: in the router's namespaces
on() {
	router=$1
	shift
	nsenter -t "$(cat "/tmp/pid$router")" -m -n -p -i -u -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c "$*"
}

both() {
	on 1 "$*" &
	other=$!
	on 2 "$*"
	wait "$other"
}

fail() {
	echo "FAILED: $*"
	for r in 1 2; do on $r 'globalnet status; iw dev; ip addr; ip -6 route; ip -6 route show table local; nft list ruleset; ubus call network.wireless status; /sbin/logread | tail -n 60'; done
	exit 1
}

# await ROUTER COMMAND: until it succeeds
await() {
	for _ in $(seq 120); do
		on "$1" "$2" >/dev/null 2>&1 && return
		sleep 1
	done
	fail "router $1: $2"
}

# linked STEP TYPE CHANNEL: each reaches the other by a radio of that type, and by the same process as ever
linked() {
	for r in 1 2; do
		await $r "iw dev gnmesh0 info | grep -q 'type $2' && iw dev gnmesh0 info | grep -q 'channel $3 '"
		await $r "ping -6 -c 1 -W 1 $(cat /tmp/address$((3 - r)))"
		await $r "globalnet status --json | grep -q '\"ifname\": *\"gn-'"
		[ "$(on $r 'pidof globalnet')" = "$(cat /tmp/agent$r)" ] || fail "the agent of router $r was restarted: $1"
	done
	echo "== $1"
}

for r in 1 2; do
	unshare --mount --net --pid --ipc --uts --fork sh /boot.sh /r$r >/tmp/pid$r &
done
sleep 3
for r in 1 2; do
	iw phy "phy$((r - 1))" set netns "$(cat /tmp/pid$r)"
	await $r 'ubus list network.interface.lan'
done

# As a router comes: its access point is off. The radio's band is its owner's choice.
both 'ucode /usr/share/hostap/wifi-detect.uc; wifi config; uci -q batch <<END
set wireless.radio0.band=2g
set wireless.radio0.channel=6
set wireless.radio0.htmode=HT20
commit wireless
END
wifi up
for file in wireless network firewall; do uci show $file; done >/root/before'

# As OpenWrt's sysctl.d has it: in a jail, /proc/sys is read-only.
both 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
both 'opkg --add-arch all:1 --add-arch x86_64:10 install /root/globalnet.ipk'
for r in 1 2; do
	await $r 'globalnet status --json'
	on $r 'globalnet key address' >/tmp/address$r
	on $r 'pidof globalnet' >/tmp/agent$r
	on $r 'uci show wireless | grep -q globalnet' && fail 'the package took a radio'
done
echo '== installed'

both 'globalnet radio setup radio0 --mode mesh --channel 6'
linked '802.11s' 'mesh point' 6
both 'wifi down'
sleep 5
both 'wifi up'
linked 'wifi down, up' 'mesh point' 6
both '/etc/init.d/network restart'
linked 'network restart' 'mesh point' 6
on 1 '/sbin/logread -e "mesh address; it is back"' >/dev/null || echo 'the mesh address was left alone'
both "uci set wireless.radio0.channel=11; uci commit wireless; wifi reload; sed -i \"s/channel='6'/channel='11'/\" /root/before"
linked 'another channel, wifi reload' 'mesh point' 11
both 'globalnet radio setup radio0 --mode adhoc --channel 6'
linked 'ad-hoc' IBSS 6
on 1 'globalnet radio setup radio0 --mode mesh --channel 1 --try 20s'
await 1 'iw dev gnmesh0 info | grep -q "channel 1 "'
linked 'a try, undone' IBSS 6

for wireguard in kernel user; do
	both "uci set globalnet.service.jail=1; uci set globalnet.main.wireguard=$wireguard; uci commit globalnet; /etc/init.d/globalnet restart"
	sleep 3
	for r in 1 2; do
		await $r 'pidof ujail && globalnet status --json'
		on $r 'pidof globalnet' >/tmp/agent$r
	done
	linked "in ujail, WireGuard: $wireguard" IBSS 6
done

both 'opkg remove globalnet'
for r in 1 2; do
	await $r '! pidof globalnet && ! iw dev | grep -q Interface.gn'
	on $r 'for file in wireless network firewall; do uci show $file; done | diff /root/before -' || fail "router $r is not as before"
done
echo '== removed'
