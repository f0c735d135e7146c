#!/bin/sh
# Type-checks predixy for systems that are not at hand: FreeBSD, NetBSD, OpenBSD, DragonFly BSD and macOS. From Linux;
# `make targets` calls this.
#
# It finds names, types and constants that such a system does not have. It links and runs nothing, so it says nothing
# of behaviour. The standard library of those systems is compiled from its source, which must belong to the compiler:
# Debian's packages rustc-web and rust-web-src are such a pair. Without them this is skipped, with status 0 and a line
# that says so; TARGETS=must makes that a failure. The first run takes some minutes and 1 GB in the cache folder.
set -eu

targets="x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-unknown-openbsd x86_64-unknown-dragonfly
    x86_64-apple-darwin aarch64-apple-darwin"
packages="rustc-web rust-web-src"

say() { echo "targets: $*" >&2; }

skip() {
    say "SKIPPED, nothing was checked: $*"
    [ "${TARGETS-}" != must ] || exit 1
    exit 0
}

have_packages() {
    for package in $packages; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || return 1
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# shellcheck disable=SC2086 # a list of words
install_packages() {
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    set -- apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $packages
    as_root "$@" >&2 || { as_root apt-get update >&2 && as_root "$@" >&2; }
}

command -v dpkg >/dev/null 2>&1 || skip "this needs the packages $packages of Debian 12 or newer"
if ! have_packages; then
    say "installing $packages"
    install_packages || skip "$packages cannot be installed. As root: apt-get install $packages"
fi
rustc=$(dpkg -L rustc-web | grep -m1 '/bin/rustc$') || skip "rustc-web has no rustc"

RUSTC=$rustc
# Lets a stable compiler build its own standard library.
RUSTC_BOOTSTRAP=1
# Outside the tree, so that a new clone starts warm. The same flags each time, or everything is compiled anew.
CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/predixy-targets
CARGO_PROFILE_DEV_DEBUG=false
CARGO_INCREMENTAL=0
# No linker runs, but the compiler asks for the place of Apple's files.
SDKROOT=/nonexistent
export RUSTC RUSTC_BOOTSTRAP CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG CARGO_INCREMENTAL SDKROOT
mkdir -p "$CARGO_TARGET_DIR"

options=
for target in $targets; do options="$options --target $target"; done
output=$CARGO_TARGET_DIR/output.txt
status=0
# shellcheck disable=SC2086 # a list of words
"${CARGO:-cargo}" check --locked --lib --bins -Zbuild-std=std,panic_abort -Zbuild-std-features= $options \
    >"$output" 2>&1 || status=$?
grep -v '^warning: unable to find the .*SDK\|xcrun' "$output" >&2 || true
# shellcheck disable=SC2016 # they are part of the text
if [ $status != 0 ] || grep -q '^warning: `predixy`' "$output"; then
    say "FAILED: see above"
    exit 1
fi
for target in $targets; do say "checked $target"; done
