#!/usr/bin/env bash
# The package's life on a Debian system: install, remove, install again, upgrade, purge; what each leaves and takes.
#
#   lifecycle.sh PACKAGE.deb TREE      TREE: the root folder of a Debian system (copied, never changed); needs root
#
# Prints one line per promise, last `N passed, N failed`; fails if any failed. Leaves nothing behind.
set -euo pipefail

if [ $# -ne 2 ] || [ "$(id -u)" != 0 ]; then
    echo "usage, as root: $0 PACKAGE.deb TREE" >&2
    exit 2
fi
deb=$(realpath "$1")
tree=$(realpath "$2")
if [ ! -f "$deb" ] || [ ! -x "$tree/usr/bin/apt-get" ]; then
    echo "$0: no such package, or not a Debian tree" >&2
    exit 2
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/pitool-package.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
box=$work/box
cp -a --reflink=auto "$tree" "$box"
cp "$deb" "$box/new.deb"

# The version before this one: the same files under a lower number.
version=$(dpkg-deb -f "$deb" Version)
dpkg-deb -R "$deb" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.9-1/' "$work/older/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/older" "$box/old.deb" >/dev/null

passed=0
failed=0
# it SAYS COMMAND…: one promise.
it() {
    local says=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $says"
    else
        failed=$((failed + 1))
        echo "FAIL  $says"
        sed 's/^/      /' "$work/out"
    fi
}

in_box() { chroot "$box" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
apt() { in_box apt-get -y -q --no-install-recommends "$@" 2>&1 | tee "$work/said"; }
absent() { [ ! -e "$box$1" ]; }
# shellcheck disable=SC2016  # dpkg-query's own field
installed() { [ "$(in_box dpkg-query -W -f '${Version}' pitool)" = "$1" ]; }
is_quiet() { ! grep -n '^pitool: ' "$work/said"; }
says() { grep -qF -- "$1" "$work/said"; }
mode() { [ "$(stat -c %a "$box$1")" = "$2" ]; }

# Every file with its content and mode, but for what apt and dpkg keep about themselves.
machine() {
    (cd "$box" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log \
        -o -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -name '*.deb' \) -prune \
        -o \( -type f -printf '%m %p ' -exec sha256sum -z {} \; -printf '\n' \) -o -printf '%m %y %p %l\n' | tr '\0' ' ' | sort)
}
# What differs from the machine before, apart from the package's own files.
foreign_changes() {
    machine >"$work/now"
    { in_box dpkg -L pitool 2>/dev/null || true; } | sed 's|^|.|' | sort -u >"$work/own"
    { diff "$work/before" "$work/now" || true; } | sed -n 's/^[<>] [0-7]* //p' | awk '{print ($1 ~ /^\./) ? $1 : $2}' | sort -u |
        { grep -vxF -f "$work/own" || true; } | { grep -vxE '\./(etc/pitool|etc/pitool/conf\.d|var/lib/pitool)' || true; }
}
unchanged() {
    local changes
    changes=$(foreign_changes)
    echo "$changes"
    [ -z "$changes" ]
}
same_as_before() {
    machine >"$work/now"
    diff "$work/before" "$work/now"
}
# What a person and a run leave in pitool's folders and elsewhere.
use_it() {
    echo 'a = 1' >"$box/etc/pitool/pitool.toml"
    mkdir -p "$box/var/lib/pitool/runs/1"
    echo '{}' >"$box/var/lib/pitool/runs/1/journal"
    printf '# Managed by pitool.\nPort 22\n' >"$box/etc/written-whole.conf"
    echo 'vm.swappiness = 10' >"$box/etc/90-pitool.conf"
}
kept() {
    [ "$(cat "$box/etc/pitool/pitool.toml")" = 'a = 1' ] && [ -f "$box/var/lib/pitool/runs/1/journal" ] &&
        [ -f "$box/etc/written-whole.conf" ] && [ -f "$box/etc/90-pitool.conf" ]
}

machine >"$work/before"

it "apt installs it" apt install /new.deb
it "it is the version asked for" installed "$version"
it "the program starts" in_box pitool --version
it "installing says nothing of its own" is_quiet
it "installing changes nothing but its own files" unchanged
it "there is no config file, and its folders are there" test ! -e "$box/etc/pitool/pitool.toml" -a -d "$box/etc/pitool/conf.d"
it "the journals' folder is for root only" mode /var/lib/pitool 700
it "it enables and starts nothing" test -z "$(find "$box/etc/systemd" "$box/usr/lib/systemd" -name '*pitool*')"
it "the program, its page and its example are there" test -x "$box/usr/bin/pitool" \
    -a -f "$box/usr/share/man/man1/pitool.1.gz" -a -f "$box/usr/share/doc/pitool/examples/pitool.toml"

it "an unused one is removed without a trace" apt remove pitool
it "… the machine is as before" same_as_before
it "… and purging it then does no harm" apt purge pitool

it "an earlier version installs" apt install /old.deb
use_it
it "it is upgraded" apt install /new.deb
it "… to the new version" installed "$version"
it "… keeping config, journals and the machine" kept
it "installing it again does no harm" apt install --reinstall /new.deb
it "… keeping config, journals and the machine" kept
it "it is downgraded on demand" apt install --allow-downgrades /old.deb
it "… keeping config, journals and the machine" kept
chmod 750 "$box/var/lib/pitool"
it "it is upgraded again" apt install /new.deb
it "… leaving a changed mode as it is" mode /var/lib/pitool 750

it "it is removed" apt remove pitool
it "… saying nothing of its own" is_quiet
it "… taking the program" absent /usr/bin/pitool
it "… keeping config, journals and the machine" kept
it "it comes back" apt install /new.deb
it "… finding config and journals" kept

# What a run leaves that needs the program (K3.8).
needs_the_program() {
    printf '[Service]\nExecStart=/usr/bin/pitool monitor\n[Install]\nWantedBy=multi-user.target\n' >"$box/etc/systemd/system/pitool-monitor.service"
    printf '[Service]\nExecStart=/usr/bin/pitool backup run %%i\n' >"$box/etc/systemd/system/pitool-backup@.service"
    printf '[Timer]\nOnCalendar=daily\nUnit=pitool-backup@machine.service\n[Install]\nWantedBy=timers.target\n' >"$box/etc/systemd/system/pitool-backup-machine.timer"
    printf '[Service]\nExecStart=/usr/sbin/iptables -L\n[Install]\nWantedBy=multi-user.target\n' >"$box/etc/systemd/system/pitool-docker-firewall.service"
    in_box systemctl enable pitool-monitor.service pitool-backup-machine.timer pitool-docker-firewall.service
}
enabled() { [ "$(in_box systemctl is-enabled "$1")" = enabled ]; }
disabled() { [ "$(in_box systemctl is-enabled "$1")" = disabled ]; }
it "units that need the program are there" needs_the_program
it "an upgrade" apt install --reinstall /new.deb
it "… leaves a service enabled" enabled pitool-monitor.service
it "… and a timer" enabled pitool-backup-machine.timer
it "it is removed with units that need it" apt remove pitool
it "… saying what stops" says "these stop with the package: backups, the monitor and its alerts."
it "… and how to keep it" says "apt install pitool"
it "… disabling a service" disabled pitool-monitor.service
it "… and a timer" disabled pitool-backup-machine.timer
it "… but not what works without it" enabled pitool-docker-firewall.service
it "it comes back" apt install /new.deb
it "… with its service" enabled pitool-monitor.service
it "… and its timer" enabled pitool-backup-machine.timer
it "… and no note of it" absent /var/lib/pitool/stopped-with-the-package
in_box systemctl --quiet disable pitool-monitor.service pitool-backup-machine.timer pitool-docker-firewall.service
rm "$box"/etc/systemd/system/pitool-*

it "it is purged" apt purge pitool
it "… with its config" absent /etc/pitool
it "… and its journals" absent /var/lib/pitool
it "… leaving the machine configured" test -f "$box/etc/written-whole.conf" -a -f "$box/etc/90-pitool.conf"
it "… and naming a whole file that it leaves" says /etc/written-whole.conf
it "… and a drop-in" says /etc/90-pitool.conf
it "… and saying that the machine stays configured" says "stays configured"
rm "$box/etc/written-whole.conf" "$box/etc/90-pitool.conf"
it "apart from those the machine is as before" same_as_before

# An ARMv6 machine, and one that runs this very script's architecture.
preinst() { sh "$work/older/DEBIAN/preinst" install; }
fake_uname() {
    mkdir -p "$work/bin"
    printf '#!/bin/sh\necho %s\n' "$1" >"$work/bin/uname"
    chmod +x "$work/bin/uname"
}
refuses_armv6() {
    fake_uname armv6l
    ! PATH="$work/bin:$PATH" DPKG_MAINTSCRIPT_ARCH=armhf preinst >"$work/said" 2>&1 && says ARMv6
}
takes_armv7() {
    fake_uname armv7l
    PATH="$work/bin:$PATH" DPKG_MAINTSCRIPT_ARCH=armhf preinst
}
it "the armhf package refuses an ARMv6 machine with a sentence" refuses_armv6
it "… and takes an ARMv7 one" takes_armv7

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
