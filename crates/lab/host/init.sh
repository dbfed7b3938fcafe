#!/bin/sh
# PID 1 of a lab host, started inside new mount, PID, UTS and IPC namespaces and the host's own network namespace.
#   $1 name of the host   $2 its folder (the host's own disk)
# When this process ends, the kernel ends every other process of the host: that is the power cut.
set -e
host=$1 disk=$2

# /proc is still the machine's here, so this is our process id as the machine numbers it.
read -r pid _ </proc/self/stat
echo "$pid" >"$disk/init.pid.new" && mv "$disk/init.pid.new" "$disk/init.pid"

hostname "$host"
mount -t proc proc /proc
# A sysfs of this network namespace (libvirt reads /sys/class/net), and no control groups: the lab freezes hosts from
# outside, and libvirt does without.
umount -R -l /sys
mount -t sysfs sysfs /sys

# A private /dev without /dev/kvm: on some machines it exists and guests hang on it. Private /dev/shm for corosync.
mkdir -p "$disk/dev"
mount -t tmpfs -o mode=755 dev "$disk/dev"
for device in null zero full random urandom tty fuse; do
  [ -c /dev/$device ] && cp -a /dev/$device "$disk/dev/"
done
mkdir "$disk/dev/pts" "$disk/dev/shm" "$disk/dev/net" "$disk/dev/mqueue" "$disk/dev/hugepages"
cp -a /dev/net/tun "$disk/dev/net/"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$disk/dev/pts"
mount -t tmpfs -o mode=1777 shm "$disk/dev/shm"
ln -s pts/ptmx "$disk/dev/ptmx"
ln -s /proc/self/fd "$disk/dev/fd"
ln -s /proc/self/fd/0 "$disk/dev/stdin"
ln -s /proc/self/fd/1 "$disk/dev/stdout"
ln -s /proc/self/fd/2 "$disk/dev/stderr"
mount --move "$disk/dev" /dev
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/libvirt

# The host's own disk: its folders and files over the machine's.
(cd "$disk/root" && find . -mindepth 1 -name .bind -printf '%h\n') | while read -r folder; do
  mkdir -p "/$folder"
  mount --bind "$disk/root/$folder" "/$folder"
done
for file in machine-id hostname hosts; do
  [ -e /etc/$file ] && mount --bind "$disk/root/etc/$file" /etc/$file
done
set +e

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
unset LIBVIRT_DEFAULT_URI
libvirtd --daemon --listen
# What else the host starts at boot (the peer's Pacemaker, for one).
[ -x "$disk/rc.local" ] && "$disk/rc.local" &

trap 'exit 0' TERM
while :; do sleep infinity & wait $!; done
