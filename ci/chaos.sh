#!/bin/sh
# Runs the tests of tests/it/chaos.rs, in a network of their own if that can be had: only there may they cut servers off.
#
#   MINUTES=20 ci/chaos.sh
set -eu

cargo=${CARGO:-cargo}
$cargo test --locked --test it --no-run
set -- "$cargo" test --locked --test it -- --nocapture --test-threads=2 chaos::
own='ip link set lo up && nft list tables'
if unshare --net sh -c "$own" >/dev/null 2>&1; then
    # shellcheck disable=SC2016 # the inner shell expands it
    exec unshare --net sh -c 'ip link set lo up && WALLS=yes CARGO_NET_OFFLINE=true exec "$@"' sh "$@"
fi
echo "chaos: no network of our own, or no nft: nobody is cut off"
exec "$@"
