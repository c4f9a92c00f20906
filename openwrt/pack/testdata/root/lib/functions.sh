# A stand-in for OpenWrt's /lib/functions.sh: what its contracts promise to packages
# and services, no more. opkg keeps its files in /usr/lib/opkg/info, apk in
# /lib/apk/packages.

config_load() {
	CONFIG_FILE=$1
}

config_get() {
	local value
	value=$(uci -q get "$CONFIG_FILE.$2.$3")
	eval "$1=\${value:-\$4}"
}

config_get_bool() {
	local got
	config_get got "$2" "$3" "$4"
	case "$got" in
	1 | on | true | yes | enabled) got=1 ;;
	*) got=0 ;;
	esac
	eval "$1=\$got"
}

add_group_and_user() {
	echo "add_group_and_user" >>/tmp/log
}

package_list() {
	if [ -f "/lib/apk/packages/$1.list" ]; then
		cat "/lib/apk/packages/$1.list"
	else
		cat "/usr/lib/opkg/info/$1.list"
	fi
}

# opkg calls the scripts by a path that names the package; apk sets pkgname.
package_name() {
	[ -n "$pkgname" ] || pkgname=$(basename "${1%.*}")
}

default_postinst() {
	local i
	package_name "$@"
	for i in $(package_list "$pkgname" | grep '^/etc/uci-defaults/'); do
		(. "$i") && rm -f "$i"
	done
	uci commit
	if [ -f "/usr/lib/opkg/info/$pkgname.postinst-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.postinst-pkg")
	fi
	for i in $(package_list "$pkgname" | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$i" enable
		"$i" start
	done
}

default_prerm() {
	local i
	package_name "$@"
	if [ -f "/usr/lib/opkg/info/$pkgname.prerm-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.prerm-pkg")
	fi
	for i in $(package_list "$pkgname" | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$i" disable
		"$i" stop
	done
}
