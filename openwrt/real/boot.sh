#!/bin/sh
# boot.sh ROOT: becomes process 1 of the namespaces it was started in (mount, PID, network,
# IPC, UTS) and runs procd in ROOT as the kernel's init would, from its mounts on.
#	unshare --mount --net --pid --ipc --uts --fork openwrt/real/boot.sh ROOT
set -e
root=$1
read -r pid _ </proc/self/stat # as those outside see it; nsenter takes it
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty net/tun; do
	[ -e "/dev/$name" ] || continue
	mkdir -p "dev/${name%/*}" && [ -d "dev/$name" ] && rmdir "dev/$name"
	: >"dev/$name"
	mount --bind "/dev/$name" "dev/$name"
done
# procd would mount a /dev of its own over it, which takes the right to make devices.
mkdir -p tmp/run tmp/lock tmp/log tmp/state tmp/.uci tmp/sysinfo tmp/resolv.conf.d dev/pts dev/shm
mount -t devpts devpts dev/pts 2>/dev/null || :
echo generic >tmp/sysinfo/board_name
echo "OpenWrt in namespaces" >tmp/sysinfo/model
echo 1 >proc/sys/net/ipv4/ip_forward 2>/dev/null || :
pivot_root . mnt
umount -l mnt 2>/dev/null || umount -l /mnt
echo "$pid"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PREINIT=1 container=namespaces chroot . /sbin/procd </dev/null
