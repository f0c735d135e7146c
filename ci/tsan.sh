#!/bin/sh
# Runs integration tests with the proxy under ThreadSanitizer, which sees what two threads do to the same memory without
# having agreed on it. A proxy that it complains about ends with another exit code than 0, and that fails its test.
#
#   ci/tsan.sh [FILTER...]
#
# The standard library has to be compiled along with it, which takes its source, of the version of the compiler: where
# that is not to be had this says so and does nothing.
set -eu

cargo=${CARGO:-cargo}
# shellcheck source=ci/rust_source.sh
. ci/rust_source.sh
find_rust_source || { echo "tsan: skipped; $rust_source_help" >&2; exit 0; }

host=$("$rust_source_rustc" -vV | sed -n 's/^host: //p')
built=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
(
    RUSTC=$rust_source_rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread
    export RUSTC RUSTC_BOOTSTRAP RUSTFLAGS
    exec "$cargo" build --locked --bin predixy --target "$host" --target-dir "$built/tsan" -Zbuild-std
)
binary=$built/tsan-predixy
cat >"$binary" <<END
#!/bin/sh
# It maps memory where the kernel may have put something else: the places have to be the usual ones.
TSAN_OPTIONS="exitcode=66 history_size=4" exec setarch -R "$built/tsan/$host/debug/predixy" "\$@"
END
chmod +x "$binary"
# Not those that look at how much memory it has, as the sanitizer's is more than its own; nor at how fast it is, or which
# program exactly is running.
[ $# -gt 0 ] || set -- reload upgrade config_command monitor info hot_keys slow_log pubsub:: transactions metrics logs \
    client_command pause --skip upgrade::a_binary_that_does_not_start --skip pubsub::thousands_of_channels
PREDIXY_BIN=$binary exec "$cargo" test --locked --test it -- --test-threads=2 "$@"
