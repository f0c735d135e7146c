#!/bin/sh
# Type-checks predixy for systems that are not at hand: FreeBSD (also with 32 bits), NetBSD, OpenBSD, DragonFly BSD, macOS,
# and illumos as a Unix without a readiness of its own. From Linux; `make targets` calls this.
#
# It finds names, types and constants that such a system does not have. It links and runs nothing, so it says nothing
# of behaviour. The standard library of those systems is compiled from its source, which must belong to the compiler, see
# ci/rust_source.sh. Without that this is skipped, with status 0 and a line that says so; TARGETS=must makes that a
# failure. The first run takes some minutes and 1.3 GB in the cache folder.
set -eu

targets="x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-unknown-openbsd x86_64-unknown-dragonfly
    x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-illumos i686-unknown-freebsd"

say() { echo "targets: $*" >&2; }

skip() {
    say "SKIPPED, nothing was checked: $*"
    [ "${TARGETS-}" != must ] || exit 1
    exit 0
}

# shellcheck source=ci/rust_source.sh
. ci/rust_source.sh
find_rust_source || skip "$rust_source_help"

RUSTC=$rust_source_rustc
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
