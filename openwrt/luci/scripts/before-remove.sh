# As after-install.sh. The menu's entries are gone with the file of the menu: it goes now,
# so that LuCI does not read it again before the manager removes the rest.
if [ -z "$IPKG_INSTROOT" ] && [ "$PKG_UPGRADE" != 1 ]; then
	rm -f /usr/share/luci/menu.d/luci-app-globalnet.json /usr/share/rpcd/acl.d/luci-app-globalnet.json
	rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache
	if [ -x /etc/init.d/rpcd ]; then
		/etc/init.d/rpcd reload
	fi
fi
true
