# The first process of a node, in mount, UTS and cgroup namespaces of its own: gives the node a root in which the standard
# paths are its own, with /sys of its network, its part of the cgroup tree and its bpffs; then it waits.
#
# Arguments: the node's folder, its name. The folder's file `mounts` has lines `cgroup DIRECTORY MOUNTPOINT` and
# `show FOLDER MOUNTPOINT` (read-only).
set -eu
folder=$1 name=$2
root=$folder/root

mkdir -p "$root"
mount --bind "$root" "$root"
cd "$root"
mkdir -p dev proc sys run tmp root mnt etc opt var/lib var/log var/tmp
chmod 1777 tmp var/tmp
ln -sfn /run var/run
for each in bin sbin lib lib32 lib64 libx32 usr; do
  if [ -L "/$each" ]; then
    ln -sfn "$(readlink "/$each")" "$each"
  elif [ -d "/$each" ]; then
    mkdir -p "$each"
    mount --rbind "/$each" "$each"
  fi
done

mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p "$folder/etc" "$folder/etc-work"
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" overlay etc

# kubelet would set these for the whole machine: it finds them set, and the machine stays as it is.
while read -r key value; do
  mkdir -p "run/sysctl"
  echo "$value" >"run/sysctl/${key##*/}"
  [ ! -e "proc/sys/$key" ] || mount --bind "run/sysctl/${key##*/}" "proc/sys/$key"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# What the machine has here is not the node's, which keeps its own when it is switched off.
if [ ! -e "$folder/installed" ]; then
  rm -rf etc/cni etc/resolv.conf etc/hostname
  mkdir -p etc/cni/net.d
  # Nobody answers: an image that was not loaded fails at once.
  echo "nameserver 127.0.0.1" >etc/resolv.conf
  echo "$name" >etc/hostname
  touch "$folder/installed"
fi

if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t tmpfs -o mode=755 cgroups sys/fs/cgroup
  for link in /sys/fs/cgroup/*; do
    [ ! -L "$link" ] || cp -P "$link" sys/fs/cgroup/
  done
fi
while read -r what from at; do
  mkdir -p ".$at"
  mount --bind "$from" ".$at"
  case $what in
  cgroup) echo 0 >"$from/init/cgroup.procs" ;;
  show) mount -o remount,bind,ro ".$at" ;;
  esac
done <"$folder/mounts"

pivot_root . mnt
cd /
umount -l /mnt
mount --make-rshared /
hostname "$name"
mkdir -p /run/gatehouse-cluster
touch /run/gatehouse-cluster/ready
exec sleep infinity
