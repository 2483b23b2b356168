# What udev would do with a device that umockdev makes: `udev.sh FOLDER ACTION DEVPATH [SYSUSERS]`.
# Runs in a mount name space of its own (unshare), so the machine's /run, /dev and groups stay as
# they are: `udevadm test` writes udev's database and links in /dev/char, whatever it is called.
#
# FOLDER has rules.d/, device and etc/group; SYSUSERS is a sysusers.d file to add groups from.
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d /run/dev /run/none
for node in null zero full random urandom; do
  touch "/run/dev/$node"
  mount --bind "/dev/$node" "/run/dev/$node"
done
mount --rbind /run/dev /dev
if [ -n "${4-}" ]; then systemd-sysusers --root="$1" "$4" >/dev/null; fi
mount --bind "$1/etc/group" /etc/group
# An administrator's rules would go before ours, our own file that he installed among them.
if [ -d /etc/udev/rules.d ]; then mount --bind /run/none /etc/udev/rules.d; fi
mount --bind "$1/rules.d" /run/udev/rules.d
exec umockdev-run --device "$1/device" -- udevadm test --action="$2" "/sys$3"
