#!/bin/sh
# Builds a root folder with what OpenWrt 25.12 really has around our package: procd with
# ujail, ubus, uci, netifd, rpcd, logd, firewall4 on ucode, apk, opkg, and the scripts of
# base-files; the kernel, the C library and busybox are Debian's.
#	openwrt/real/build.sh FOLDER		makes FOLDER/root
# SOURCES instead of https://github.com may name a folder of clones, OPENWRT one with the source of openwrt/openwrt.
# Debian: cmake make meson ninja-build pkg-config patch git gcc libjson-c-dev libssl-dev
# zlib1g-dev libmd-dev busybox-static nftables dnsmasq-base iw bridge-utils

set -eu
out=$(realpath -m "$1")
sources=${SOURCES:-https://github.com}
stage=$out/stage
root=$out/root
log=$out/log
mkdir -p "$out/src" "$stage" "$root"
export PKG_CONFIG_PATH="$stage/usr/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR=

# What musl has and older versions of glibc have not.
cat >"$stage/musl.h" <<'END'
#define _GNU_SOURCE
#include <string.h>
__attribute__((unused)) static size_t musl_strlcpy(char *to, const char *from, size_t size)
{
	size_t n = strlen(from), part = n < size ? n : size - 1;
	if (size) { memcpy(to, from, part); to[part] = 0; }
	return n;
}
#define strlcpy musl_strlcpy
END

# get REPOSITORY COMMIT: its source, in src/
get() {
	name=${1##*/}
	[ -d "$out/src/$name" ] && return
	echo "get $1"
	git init -q --bare "$out/src/$name.git"
	git --git-dir "$out/src/$name.git" fetch -q "$sources/$1" "+refs/*:refs/*"
	mkdir "$out/src/$name"
	git --git-dir "$out/src/$name.git" archive "$2" | tar x -C "$out/src/$name"
}

# build REPOSITORY COMMIT [OPTION...]: with cmake, into the stage
build() {
	get "$1" "$2"
	shift 2
	[ -e "$out/src/$name/built" ] && return
	echo "build $name"
	find "$out/src/$name" -name CMakeLists.txt -exec sed -i 's/-Werror[=a-z-]*//g' {} +
	sed -i '/add_subdirectory(tests)/Id' "$out/src/$name/CMakeLists.txt"
	flags="-include $stage/musl.h -Wno-error -I$stage/usr/include -I$stage/usr/include/libnl-tiny"
	cmake -S "$out/src/$name" -B "$out/src/$name" -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR=lib \
		-DCMAKE_PREFIX_PATH="$stage/usr" -DCMAKE_C_FLAGS="$flags" -DCMAKE_EXE_LINKER_FLAGS="-L$stage/usr/lib -Wl,-rpath-link,$stage/usr/lib" \
		-DCMAKE_SHARED_LINKER_FLAGS="-L$stage/usr/lib" -DCMAKE_MODULE_LINKER_FLAGS="-L$stage/usr/lib" \
		-DCMAKE_SKIP_RPATH=ON -DRUNSTATEDIR=/var/run -DCMAKE_POLICY_VERSION_MINIMUM=3.10 -DBUILD_LUA=OFF -DBUILD_EXAMPLES=OFF "$@" >>"$log" 2>&1
	make -C "$out/src/$name" -j"$(nproc)" install DESTDIR="$stage" >>"$log" 2>&1
	touch "$out/src/$name/built"
}

# The commits are those of OpenWrt 25.12.4 or next to them, opkg is of 24.10.
build openwrt/libubox 1aa36ee774c8db4d7a396903e0d2e1fb79ee8bf1
build openwrt/libnl-tiny feca1d341d4baa9579ec62762672aa0f20edf564
build openwrt/ubus 3cc98db1a422dcf560f2d6347fd410f17565a89d -DUNIT_TESTING=OFF
build openwrt/uci 66127cd76c5d0bd46d5a90302cc6110f53a4e2f8
build jow-/ucode 85922056ef7abeace3cca3ab28bc1ac2d88e31b1
build openwrt/udebug 875e1a7af6ca9d86524d18169c3a79f4a1920053
build openwrt/ubox 6f78fa496bf36c55864a41e353df7d13f04b1077
build openwrt/jsonpath f4fe702d0e8d9f8704b42f5d5c10950470ada231
build openwrt/procd 58eb263d5abe03f8c1280bdfa65a3b052614215d -DJAIL_SUPPORT=1 -DSECCOMP_SUPPORT=0 -DEARLY_PATH=/usr/sbin:/usr/bin:/sbin:/bin
build openwrt/netifd cbb83a1857407a28a63dc09412a1f209195914ef -DLIBNL_LIBS=-lnl-tiny
build openwrt/rpcd ffb9961c1f8bc50830fdd4e144570f11062c2601 -DIWINFO_SUPPORT=OFF
get openwrt/firewall4 b6e5157527d361f99ad52eaa6da273cb0f2dfd59
build openwrt/opkg-lede 38eccbb1fd694d4798ac1baf88f9ba83d1eac616
get alpinelinux/apk-tools b5a31c0d865342ad80be10d68f1bb3d3ad9b0866

files=${OPENWRT:-$out/src/openwrt}
if [ ! -d "$files" ]; then
	echo "get openwrt"
	git clone -q --depth 1 --branch v25.12.4 "$sources/openwrt/openwrt" "$files"
fi

if [ ! -e "$out/src/apk-tools/built" ]; then
	echo "build apk-tools"
	for patch in "$files"/package/system/apk/patches/*; do
		patch -s -p1 -d "$out/src/apk-tools" <"$patch"
	done
	meson setup "$out/src/apk-tools/b" "$out/src/apk-tools" --prefix=/usr --libdir=lib -Ddocs=disabled -Dhelp=disabled \
		-Dlua=disabled -Dpython=disabled -Dtests=disabled -Dzstd=disabled >>"$log" 2>&1
	DESTDIR=$stage meson install -C "$out/src/apk-tools/b" >>"$log" 2>&1
	touch "$out/src/apk-tools/built"
fi

# The root, as the Makefiles of the packages lay it out.
echo "root"
rm -rf "$root"
mkdir -p "$root"
cd "$root"
mkdir -p bin sbin usr/bin usr/sbin usr/lib lib lib64 lib/upgrade/keep.d etc/rc.d etc/init.d etc/config etc/apk/keys etc/opkg etc/modules.d \
	proc sys dev tmp root mnt overlay rom usr/share/libubox lib/netifd/proto usr/lib/opkg lib/apk/db etc/crontabs etc/dropbear
ln -s /tmp var
cp -a "$files"/package/base-files/files/. .
for from in network/config/netifd network/config/wifi-scripts system/uci; do
	cp -a "$files/package/$from/files/." .
done
[ ! -d "$files/package/network/config/wifi-scripts/files-ucode" ] || cp -a "$files/package/network/config/wifi-scripts/files-ucode/." .
cp -a "$out/src/firewall4/root/." .
cp "$out/src/netifd/scripts/utils.sh" "$out/src/netifd/scripts/netifd-proto.sh" lib/netifd/
cp "$files"/package/system/procd/files/hotplug*.json "$files"/package/system/ubox/files/modules.conf etc/
cp "$files/package/system/procd/files/procd.sh" lib/functions/
cp "$files/package/system/procd/files/reload_config" "$files/package/system/procd/files/service" sbin/
cp "$files/package/system/ubox/files/log.init" etc/init.d/log
cp "$files/package/system/rpcd/files/rpcd.init" etc/init.d/rpcd
cp "$files/package/system/rpcd/files/rpcd.config" etc/config/rpcd
cp "$files"/package/network/services/dnsmasq/files/dnsmasq.init etc/init.d/dnsmasq 2>/dev/null || :
mkdir -p usr/share/rpcd/acl.d usr/libexec/rpcd usr/share/acl.d
cp "$out/src/rpcd/unauthenticated.json" usr/share/rpcd/acl.d/
cp "$files/package/system/ubox/files/logd.json" usr/share/acl.d/
cp "$files/package/system/opkg/files/opkg.conf" etc/opkg.conf
sed -i 's/^option check_signature.*//' etc/opkg.conf
chmod 0755 etc/init.d/* sbin/* lib/netifd/proto/* lib/netifd/wireless/* lib/netifd/dhcp.script

bin=$stage/usr
cp "$bin"/sbin/init "$bin"/sbin/procd "$bin"/sbin/askfirst "$bin"/sbin/udevtrigger "$bin"/sbin/upgraded "$bin"/sbin/ujail \
	"$bin"/sbin/kmodloader "$bin"/sbin/validate_data "$bin"/sbin/logd "$bin"/sbin/rpcd "$bin"/sbin/ubusd sbin/
cp "$(find "$bin" -name netifd -type f)" "$(find "$bin" -name uci -type f)" sbin/
cp "$bin/bin/ubus" bin/
cp "$(find "$bin" -name opkg-cl -type f)" bin/opkg
cp "$bin"/bin/jshn "$bin"/bin/ucode "$bin/bin/apk" usr/bin/ 2>/dev/null || cp "$bin/sbin/apk" usr/bin/
ln -s ucode usr/bin/utpl
cp "$(find "$bin" "$out/src/jsonpath" -type f -perm -100 \( -name jsonfilter -o -name jsonpath \) | head -1)" usr/bin/jsonfilter
cp "$bin/sbin/logread" sbin/logread
cp "$bin/share/libubox/jshn.sh" usr/share/libubox/
cp -a "$bin"/lib/*.so* "$bin/lib/ucode" usr/lib/
mv usr/lib/libsetlbf.so usr/lib/libvalidate.so lib/ 2>/dev/null || :
mkdir -p usr/lib/rpcd
cp "$(find "$bin" -name file.so | head -1)" "$(find "$bin" -name rpcsys.so | head -1)" usr/lib/rpcd/ 2>/dev/null || :
cp "$(find "$bin/lib/rpcd" -name ucode.so | head -1)" usr/lib/rpcd/ 2>/dev/null || :

# Debian's part: busybox first, so that nothing of the above is replaced.
cp /bin/busybox bin/busybox
for applet in $(bin/busybox --list-full); do
	name=${applet##*/}
	[ "$name" = busybox ] || [ -e "$applet" ] || [ -e "bin/$name" ] || [ -e "sbin/$name" ] || [ -e "usr/bin/$name" ] ||
		[ -e "usr/sbin/$name" ] || { mkdir -p "${applet%/*}"; ln -s /bin/busybox "$applet"; }
done
for program in nft iw dnsmasq ip flock; do
	path=$(command -v "$program" || ls /usr/sbin/"$program" /sbin/"$program" 2>/dev/null | head -1)
	[ -z "$path" ] || { rm -f "bin/$program" "sbin/$program" "usr/bin/$program" "usr/sbin/$program"; cp -L "$path" usr/sbin/; }
done
for file in $(find bin sbin usr -type f -perm -100) usr/lib/*.so* usr/lib/ucode/*.so usr/lib/rpcd/*.so; do
	LD_LIBRARY_PATH=$stage/usr/lib ldd "$file" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^\t\(\/lib64[^ ]*\).*/\1/p'
done | sort -u | while read -r library; do
	case $library in
	"$stage"*) ;;
	/lib64/*) cp -L "$library" lib64/ ;;
	*) cp -L "$library" usr/lib/ ;;
	esac
done
cp -L /lib/x86_64-linux-gnu/libnss_files.so.2 usr/lib/ 2>/dev/null || :

sed -i 's,%PATH%,/usr/sbin:/usr/bin:/sbin:/bin,g' etc/preinit etc/profile sbin/hotplug-call 2>/dev/null || :
cat >etc/openwrt_release <<END
DISTRIB_ID='OpenWrt'
DISTRIB_RELEASE='25.12.4'
DISTRIB_REVISION='r0'
DISTRIB_TARGET='x86/64'
DISTRIB_ARCH='x86_64'
DISTRIB_DESCRIPTION='OpenWrt 25.12.4, in part'
END
for user in ubus:81 logd:514 dnsmasq:453 network:101 ntp:123; do
	echo "${user%:*}:x:${user#*:}:${user#*:}:${user%:*}:/var/run/${user%:*}:/bin/false" >>etc/passwd
	echo "${user%:*}:x:${user#*:}:" >>etc/group
done
echo 'hosts: files dns' >etc/nsswitch.conf
printf '::sysinit:/etc/init.d/rcS S boot\n::shutdown:/etc/init.d/rcS K shutdown\n' >etc/inittab
echo '{"model":{"id":"generic","name":"namespaces"},"network":{"lan":{"ports":["eth0"]}}}' >etc/board.json
cat >etc/config/network <<END
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'

config device
	option name 'br-lan'
	option type 'bridge'
	option bridge_empty '1'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	list ipaddr '192.168.1.1/24'
END
printf "config system\\n\\toption hostname 'OpenWrt'\\n" >etc/config/system
printf "config dnsmasq\\n\\toption domain 'lan'\\n" >etc/config/dhcp
for service in boot log network firewall rpcd; do
	ln -sf "../init.d/$service" "etc/rc.d/S$(sed -n 's/^START=//p' "etc/init.d/$service" | head -1)$service"
done
echo x86_64 >etc/apk/arch
: >etc/apk/world
: >lib/apk/db/installed
echo "$root"
