# opkg runs this before services are started, apk afterwards, and as a part of a longer
# script: it must not exit. LuCI keeps its menu, rpcd who may do what.
if [ -z "$IPKG_INSTROOT" ]; then
	rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache
	# A reload keeps the sessions: whoever installs this by LuCI stays logged in.
	if [ -x /etc/init.d/rpcd ]; then
		/etc/init.d/rpcd reload
	fi
fi
true
