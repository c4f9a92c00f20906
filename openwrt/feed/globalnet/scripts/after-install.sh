# opkg runs this before the service is enabled and started, apk afterwards, and
# as a part of a longer script: it must not exit.
if [ -z "$IPKG_INSTROOT" ] && [ "$PKG_UPGRADE" = 1 ] && /etc/init.d/globalnet running; then
	# procd compares definitions, not programs: without this the old one runs on.
	/etc/init.d/globalnet restart
fi
if [ -z "$IPKG_INSTROOT" ] && [ -x /etc/init.d/rpcd ]; then
	# It looks for plugins when it starts, which a reload is; sessions stay.
	/etc/init.d/rpcd reload
fi
true
