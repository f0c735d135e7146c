#!/bin/sh
# Makes the FreeBSD port or the Homebrew formula ready for an archive that `make dist` has made. `make port` and
# `make formula` call this.
#
#   ci/recipes.sh port | formula
#   URL          where the archive will be, such as https://example.org/predixy-1.0.0.tar.gz
#   ARCHIVE      the archive             OUT   where to put what is made: target/dist
#   MAINTAINER   the address of whoever looks after the port
set -eu

out=${OUT:-${CARGO_TARGET_DIR:-target}/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
[ -n "${URL-}" ] || { echo "recipes: URL=... says where the archive will be" >&2; exit 1; }
sum=$(sha256sum "$ARCHIVE" 2>/dev/null || shasum -a 256 "$ARCHIVE")
sum=${sum%% *}

fill() {
    sed "s|@VERSION@|$version|g; s|@URL@|$URL|g; s|@SITE@|${URL%/*}/|g; s|@SHA256@|$sum|g
        s|@MAINTAINER@|${MAINTAINER:-ports@FreeBSD.org}|g" "$1"
}

case ${1-} in
    port)
        mkdir -p "$out/freebsd"
        fill conf/package/freebsd/Makefile >"$out/freebsd/Makefile"
        cp conf/package/freebsd/pkg-descr conf/package/freebsd/pkg-plist "$out/freebsd/"
        {
            echo "TIMESTAMP = $(git log -1 --format=%ct 2>/dev/null || date +%s)"
            echo "SHA256 (predixy-$version.tar.gz) = $sum"
            echo "SIZE (predixy-$version.tar.gz) = $(wc -c <"$ARCHIVE" | tr -d ' ')"
        } >"$out/freebsd/distinfo"
        echo "$out/freebsd"
        ;;
    formula)
        fill conf/package/homebrew/predixy.rb >"$out/predixy.rb"
        echo "$out/predixy.rb"
        ;;
    *) echo "usage: ci/recipes.sh port | formula" >&2 && exit 1 ;;
esac
