# shellcheck shell=sh
# Finds a compiler together with the source of its own standard library, for targets that come without a compiled one;
# to be read by other scripts.
#
#   find_rust_source     sets rust_source_rustc, or fails; rust_source_help then says what is needed
#
# That is rustup's toolchain with the component rust-src, or Debian's packages rustc-web and rust-web-src. Both are
# asked for if they are missing. The source of another version of the compiler is of no use.

# shellcheck disable=SC2034 # for those who read this
rust_source_help="this needs the source of the standard library: 'rustup component add rust-src', or on Debian 12 and \
newer 'apt-get install rustc-web rust-web-src'"

has_rust_source() { [ -f "$("$1" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }

# Debian's compiler lies where another one may come first.
debian_rustc() { dpkg -L rustc-web 2>/dev/null | grep -m1 '/bin/rustc$'; }

rust_source_as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_debian_rust() {
    command -v apt-get >/dev/null 2>&1 || return 1
    set -- env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
        rustc-web rust-web-src
    rust_source_as_root "$@" >&2 || { rust_source_as_root apt-get update >&2 && rust_source_as_root "$@" >&2; }
}

find_rust_source() {
    rust_source_rustc=${RUSTC:-rustc}
    if has_rust_source "$rust_source_rustc"; then return 0; fi
    if command -v rustup >/dev/null 2>&1 && rustup component add rust-src >&2 && has_rust_source "$rust_source_rustc"; then
        return 0
    fi
    if ! debian_rustc >/dev/null; then install_debian_rust || return 1; fi
    rust_source_rustc=$(debian_rustc) && has_rust_source "$rust_source_rustc"
}
