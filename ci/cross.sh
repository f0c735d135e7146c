#!/bin/sh
# Links predixy for systems and processors that are not at hand, from Linux; `make cross` calls this.
#
#   FreeBSD, NetBSD, OpenBSD, macOS (x86-64 and arm64): executables. That they link says that every name exists there;
#     nobody has run them.
#   Linux on aarch64, armv7 (32 bits), riscv64 and s390x (big-endian): static executables. Under qemu's user emulation
#     they pass the unit tests, and the integration tests that are the core of the matter.
#
#   ci/cross.sh [TARGET...]      all of them, or only these
#
# The linker and the C libraries are zig's, from PyPI; the standard library is compiled from its source, as in
# ci/targets.sh. What cannot be had is reported as SKIPPED; CROSS=must makes that a failure. What is made is below
# `target/cross`. The first run takes a quarter of an hour, and 3 GB in the cache folder.
set -eu

cargo=${CARGO:-cargo}
host_target=${CARGO_TARGET_DIR:-target}
# The integration tests that an emulated program has to pass.
emulated_tests="single_key:: replies:: multi_key:: redirect:: protocol:: inline:: scan::"
out=$(mkdir -p "${OUT:-${CARGO_TARGET_DIR:-target}/cross}" && cd "${OUT:-${CARGO_TARGET_DIR:-target}/cross}" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/predixy-cross

# What rustc calls it, what zig calls it, and what qemu calls its processor, or - if nothing here can run it.
table='x86_64-unknown-freebsd x86_64-freebsd -
x86_64-unknown-netbsd x86_64-netbsd -
x86_64-unknown-openbsd x86_64-openbsd -
x86_64-apple-darwin x86_64-macos -
aarch64-apple-darwin aarch64-macos -
aarch64-unknown-linux-musl aarch64-linux-musl aarch64
armv7-unknown-linux-musleabihf arm-linux-musleabihf arm
riscv64gc-unknown-linux-musl riscv64-linux-musl riscv64
s390x-unknown-linux-musl s390x-linux-musl s390x'

say() { echo "cross: $*" >&2; }
skipped=
skip() {
    say "SKIPPED: $*"
    skipped=yes
}
finish() {
    if [ -n "$skipped" ] && [ "${CROSS-}" = must ]; then exit 1; fi
    exit 0
}

# shellcheck source=ci/rust_source.sh
. ci/rust_source.sh
find_rust_source || { skip "everything: $rust_source_help"; finish; }

if [ ! -x "$cache/zig/bin/python" ] || ! "$cache/zig/bin/python" -m ziglang version >/dev/null 2>&1; then
    say "getting zig from PyPI"
    mkdir -p "$cache"
    if ! python3 -m venv "$cache/zig" >&2 || ! "$cache/zig/bin/pip" install --quiet ziglang >&2; then
        skip "everything: python3 with venv, and ziglang from PyPI, are needed"
        finish
    fi
fi

# The linker for one target. The libc crate asks for libraries of the BSDs that nothing uses and zig does not have.
wrapper() {
    mkdir -p "$cache/bin"
    cat >"$cache/bin/$1" <<END
#!/bin/bash
a=()
for x in "\$@"; do
    case \$x in -lkvm | -lmemstat | -lprocstat | -ldevstat | -liconv) ;; *) a+=("\$x") ;; esac
done
exec "$cache/zig/bin/python" -m ziglang cc -target $2 "\${a[@]}"
END
    chmod +x "$cache/bin/$1"
    echo "$cache/bin/$1"
}

RUSTC=$rust_source_rustc
RUSTC_BOOTSTRAP=1
CARGO_TARGET_DIR=$cache/target
# Or rustc asks for a program that only its own distribution has.
CARGO_PROFILE_RELEASE_STRIP=none
CARGO_PROFILE_DEV_DEBUG=false
CARGO_INCREMENTAL=0
SDKROOT=/nonexistent
export RUSTC RUSTC_BOOTSTRAP CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_STRIP CARGO_PROFILE_DEV_DEBUG CARGO_INCREMENTAL SDKROOT

# Links the program.
link() {
    "$cargo" build --locked --release --bin predixy --target "$1" -Zbuild-std=std,panic_abort -Zbuild-std-features= &&
        cp "$CARGO_TARGET_DIR/$1/release/predixy" "$out/predixy-$1"
}

# Runs the unit tests, and the program, on a processor that is not there.
emulate() {
    qemu=
    for name in "qemu-$2-static" "qemu-$2"; do
        if command -v "$name" >/dev/null 2>&1; then qemu=$name && break; fi
    done
    if [ -z "$qemu" ]; then
        skip "running on $1: no qemu-$2 (Debian: qemu-user-static)"
        return 0
    fi
    upper=$(echo "$1" | tr 'a-z-' 'A-Z_')
    (
        export "CARGO_TARGET_${upper}_RUNNER=$qemu"
        "$cargo" test --locked --lib --target "$1" -Zbuild-std=std,panic_abort,panic_unwind,test,proc_macro \
            -Zbuild-std-features= -- --test-threads=2
    ) || return 1
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$qemu" "$out/predixy-$1" >"$cache/bin/run-$1"
    chmod +x "$cache/bin/run-$1"
    # The integration tests run here, and the program that they test does not know that it is emulated.
    # shellcheck disable=SC2086 # a list of words
    env -u RUSTC -u RUSTC_BOOTSTRAP -u RUSTFLAGS CARGO_TARGET_DIR="$host_target" PREDIXY_BIN="$cache/bin/run-$1" \
        "$cargo" test --locked --test it -- --test-threads=2 $emulated_tests || return 1
}

failed=
# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- $(echo "$table" | cut -d' ' -f1)
for target in "$@"; do
    # shellcheck disable=SC2046 # three words
    set -- $(echo "$table" | grep "^$target ") || { say "no such target: $target"; exit 1; }
    upper=$(echo "$1" | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${upper}_LINKER=$(wrapper "$1" "$2")"
    case $1 in
        *-musl*) RUSTFLAGS="-C link-self-contained=no -C target-feature=+crt-static" ;;
        *) RUSTFLAGS= ;;
    esac
    export RUSTFLAGS
    if ! link "$1"; then
        say "FAILED to link: $1"
        failed=$failed\ $1
    elif [ "$3" != - ] && ! emulate "$1" "$3"; then
        say "FAILED when run: $1"
        failed=$failed\ $1
    else
        say "done: $1, $(wc -c <"$out/predixy-$1" | tr -d ' ') bytes"
    fi
done
[ -z "$failed" ] || { say "FAILED:$failed"; exit 1; }
finish
