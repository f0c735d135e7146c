#!/bin/sh
# Runs the unit tests of base, buffer and resp in Miri, which sees undefined behaviour. They need no system.
#
#   ci/miri.sh [FILTER...]
#
# Miri comes with nightly toolchains only, if at all: where there is none this says so and does nothing.
set -eu

cargo=${CARGO:-cargo}
if $cargo miri --version >/dev/null 2>&1; then
    set -- "$cargo" "" "$@"
elif $cargo +nightly miri --version >/dev/null 2>&1; then
    set -- "$cargo" +nightly "$@"
else
    echo "miri: skipped, because no toolchain here has it ('rustup +nightly component add miri rust-src')"
    exit 0
fi
cargo=$1
toolchain=$2
shift 2
[ $# -gt 0 ] || set -- base:: buffer:: resp::
# Seeds are made of the time.
MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS-}"
export MIRIFLAGS
# shellcheck disable=SC2086 # no word at all where there is no toolchain to name
exec "$cargo" $toolchain miri test --locked --target-dir "${CARGO_TARGET_DIR:-target}/miri" --lib -- "$@"
