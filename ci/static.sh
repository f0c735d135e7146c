#!/bin/sh
# Builds one file that needs no other: no library, no loader, nothing in the folder it runs in. `make static` calls this.
#
#   STATIC_LIBC=musl | glibc     only this one; by itself it takes musl where that is to be had, which is smaller
#
# The smallest file comes from a standard library that is compiled along with the program, without what prints backtraces.
# That takes its source, of the version of the compiler: rustup's component rust-src, or Debian's packages rustc-web and
# rust-web-src. Where there is neither, the library is taken as it comes, and the file is some 200 KB larger.
set -eu

cargo=${CARGO:-cargo}
rustc=${RUSTC:-rustc}
wanted=${STATIC_LIBC:-any}
built=${CARGO_TARGET_DIR:-target}

say() { echo "static: $*" >&2; }

[ "$(uname -s)" = Linux ] || { say "only Linux has static programs that are worth having"; exit 1; }

host=$("$rustc" -vV | sed -n 's/^host: //p')
case $host in
    *-linux-*) ;;
    *) say "the compiler is one for $host"; exit 1 ;;
esac
musl=$(echo "$host" | sed 's/-linux-.*/-linux-musl/; s/^\(arm.*\)-musl$/\1-musleabihf/')

# shellcheck source=ci/rust_source.sh
. ci/rust_source.sh
has_target() { [ -d "$("$rustc" --print sysroot)/lib/rustlib/$1/lib/self-contained" ]; }
has_debian() {
    command -v dpkg >/dev/null 2>&1 && command -v musl-gcc >/dev/null 2>&1 || return 1
    debian=$(debian_rustc) && has_rust_source "$debian"
}

# What rustup can add, it is asked for: a small download, into the toolchain that is in use.
ask_rustup() {
    command -v rustup >/dev/null 2>&1 || return 1
    [ "$wanted" = glibc ] || has_target "$musl" || rustup target add "$musl" >&2 || true
    has_rust_source "$rustc" || rustup component add rust-src >&2 || true
}

# Compiles for a target; with or without its own standard library.
#
# With it everything is compiled for size, except what each request runs through: the functions that carry
# `optimize(speed)`, which `--cfg small` turns on, and what the last step moves into them. Nothing unwinds, so the tables
# for that are left out; a panic says where it was, and not by which way.
flags="-C relocation-model=static -C target-feature=+crt-static"
# The linker takes the first of two definitions, ours of src/sys/no_backtrace.rs.
small="--cfg small -C force-unwind-tables=no -C link-arg=-Wl,-z,muldefs"
build_small() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags $small ${2-}" CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
        "$cargo" rustc --locked --release --bin predixy --target "$1" \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size -- -C opt-level=3
}
build_plain() { RUSTFLAGS="$flags" "$cargo" build --locked --release --target "$1"; }
build() {
    if has_rust_source "$rustc"; then
        build_small "$1" && return
        say "the standard library could not be compiled along; taking it as it is"
    fi
    build_plain "$1"
}

# Debian's compiler has no C library of its own for musl, and asks for an unwinder that gcc has under another name.
build_with_debian() {
    folder=$(mkdir -p "$built/musl-cc" && cd "$built/musl-cc" && pwd)
    ln -sf "$(gcc -print-file-name=libgcc_eh.a)" "$folder/libunwind.a"
    printf '#!/bin/sh\nexec musl-gcc -static -L"%s" "$@"\n' "$folder" >"$folder/cc"
    chmod +x "$folder/cc"
    name=$(echo "$musl" | tr 'a-z-' 'A-Z_')
    (
        RUSTC=$debian
        export RUSTC "CARGO_TARGET_${name}_LINKER=$folder/cc"
        build_small "$musl" "-C link-self-contained=no"
    )
}

ask_rustup || true
if [ "$wanted" != glibc ] && has_target "$musl"; then
    libc=musl target=$musl
    build "$target"
elif [ "$wanted" != glibc ] && has_debian; then
    libc=musl target=$musl
    build_with_debian
elif [ "$wanted" = musl ]; then
    say "there is no $musl here. 'rustup target add $musl' gets it, or 'apt-get install rustc-web rust-web-src" \
        "musl-tools' on Debian."
    exit 1
else
    libc=glibc target=$host
    case $host in
        *-musl*) libc=musl ;;
    esac
    build "$target"
fi

file=$built/$target/release/predixy
# A program that needs a loader names it.
if readelf -l "$file" | grep -q INTERP; then
    say "$file is not static"
    exit 1
fi
sh ci/empty_root.sh "$file"
echo "static: $libc, $(wc -c <"$file" | tr -d ' ') bytes: $file"
