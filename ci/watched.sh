#!/bin/sh
# Runs integration tests with the proxy under a tool that watches it. A proxy that the tool complains about ends with
# another exit code than 0, and that fails its test.
#
#   ci/watched.sh memcheck [FILTER...]   valgrind: memory that was not written, was freed, or is lost
#   ci/watched.sh threads [FILTER...]    ThreadSanitizer: what two threads touch at a time; needs the source of std
set -eu

cargo=${CARGO:-cargo}
tool=$1
shift
built=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')

case $tool in
    memcheck)
        $cargo build --locked --bin predixy
        binary=$built/memcheck-predixy
        cat >"$binary" <<END
#!/bin/sh
exec valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    --fair-sched=yes "$built/debug/predixy" "\$@"
END
        chmod +x "$binary"
        [ $# -gt 0 ] || set -- single_key multi_key redirect blocking transactions pubsub:: timeouts reload
        ;;
    threads)
        # shellcheck source=ci/rust_source.sh
        . ci/rust_source.sh
        # shellcheck disable=SC2154 # it comes from there
        find_rust_source || { echo "threads: $rust_source_help" >&2; exit 1; }
        # shellcheck disable=SC2154
        RUSTC=$rust_source_rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread \
            $cargo build --locked --bin predixy -Zbuild-std --target "$host" --target-dir "$built/threads"
        binary=$built/threads/$host/debug/predixy
        TSAN_OPTIONS="exitcode=66 ${TSAN_OPTIONS-}"
        export TSAN_OPTIONS
        [ $# -gt 0 ] || set -- reload upgrade client_command config_command metrics pubsub:: shutdown addresses
        ;;
    *)
        echo "usage: $0 memcheck|threads [FILTER...]" >&2
        exit 2
        ;;
esac
PREDIXY_BIN=$binary exec "$cargo" test --locked --test it -- --test-threads=2 "$@"
