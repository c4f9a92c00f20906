# opkg runs this before the service is stopped, apk afterwards, and as a part of a
# longer script: it must not exit. An upgrade leaves everything as it is.
if [ -z "$IPKG_INSTROOT" ] && [ "$PKG_UPGRADE" != 1 ]; then
	/etc/init.d/globalnet stop
	# The agent cleans up as it ends, which takes a moment; cleanup refuses until
	# then, and removes what a killed agent left, and what was set up by UCI.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		/usr/sbin/globalnet cleanup --uci >/dev/null 2>&1 && break
		sleep 1
	done
	if uci -q get firewall.globalnet >/dev/null; then
		uci -q delete firewall.globalnet
		uci commit firewall
		/etc/init.d/firewall reload
	fi
	# A program that could not run left this too: dnsmasq would ask nobody.
	names=
	i=0
	while uci -q get "dhcp.@dnsmasq[$i]" >/dev/null; do
		case " $(uci -q get "dhcp.@dnsmasq[$i].server") " in
		*" /gnet.alt/127.0.0.1#18320 "*)
			uci -q del_list "dhcp.@dnsmasq[$i].server=/gnet.alt/127.0.0.1#18320"
			uci -q del_list "dhcp.@dnsmasq[$i].rebind_domain=gnet.alt"
			names=1
			;;
		esac
		i=$((i + 1))
	done
	if [ -n "$names" ]; then
		uci commit dhcp
		/etc/init.d/dnsmasq reload
	fi
	rm -rf /var/run/globalnet
	if [ -x /etc/init.d/rpcd ]; then
		# The plugin goes now, so that rpcd does not find it again.
		rm -f /usr/libexec/rpcd/globalnet
		/etc/init.d/rpcd reload
	fi
	if [ -e /etc/globalnet/identity.key ]; then
		echo "The node's key stays in /etc/globalnet for a later installation; remove the folder to forget it."
	fi
fi
true
