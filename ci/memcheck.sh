#!/bin/sh
# Runs integration tests with the proxy under valgrind, which sees memory that was not written, was freed, or is lost. A
# proxy that it complains about ends with another exit code than 0, and that fails its test.
#
#   ci/memcheck.sh [FILTER...]
set -eu

cargo=${CARGO:-cargo}
$cargo build --locked --bin predixy
built=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
binary=$built/memcheck-predixy
cat >"$binary" <<END
#!/bin/sh
exec valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    --fair-sched=yes "$built/debug/predixy" "\$@"
END
chmod +x "$binary"
[ $# -gt 0 ] || set -- single_key multi_key redirect blocking transactions pubsub:: reload
# One at a time: a test gives the proxy 20 seconds to start, of which valgrind needs a few.
PREDIXY_BIN=$binary exec "$cargo" test --locked --test it -- --test-threads=1 "$@"
