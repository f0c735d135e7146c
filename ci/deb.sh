#!/bin/sh
# Makes predixy_VERSION_ARCH.deb from a static binary, so that it installs on every Debian and Ubuntu. `make deb` calls
# this. The same binary and the same commit give the same bytes.
#
#   BINARY       the static binary         OUT   where to put the package: target/dist
#   MAINTAINER   Name <address>, of whoever makes the package
set -eu

out=${OUT:-${CARGO_TARGET_DIR:-target}/dist}
maintainer=${MAINTAINER:-The predixy authors <predixy@localhost>}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

# By the processor that the binary is for, not by the machine.
arch_of() {
    case $(readelf -h "$1" | sed -n 's/^ *Machine: *//p') in
        *X86-64*) echo amd64 ;;
        AArch64) echo arm64 ;;
        ARM) echo armhf ;;
        RISC-V) echo riscv64 ;;
        *S/390*) echo s390x ;;
        *) dpkg --print-architecture ;;
    esac
}

arch=$(arch_of "$BINARY")
mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/predixy-deb.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
root=$work/root

PREFIX=/usr SYSTEM=Linux DESTDIR=$root BINDIR=/usr/bin MANDIR=/usr/share/man SYSCONFDIR=/etc sh ci/install.sh install
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
find "$root/usr/share/man" -type f -exec gzip -9n {} +
doc=$root/usr/share/doc/predixy
mkdir -p "$doc" "$root/DEBIAN"
cp LICENSE "$doc/copyright"
cp CHANGELOG.md README.md doc/compatibility.md "$doc/"
gzip -9n "$doc/CHANGELOG.md"
mv "$doc/CHANGELOG.md.gz" "$doc/NEWS.gz"
for script in postinst prerm postrm; do
    cp "conf/package/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: predixy
Version: $version
Architecture: $arch
Maintainer: $maintainer
Section: database
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Suggests: redis-tools
Description: Proxy for Redis Cluster, Sentinel groups and plain Redis servers
 One address for a whole Redis Cluster, for groups that Sentinel looks after,
 or for plain servers. Any Redis client connects to it as to a single server;
 it knows which server owns which key, and follows the cluster when it changes.
END
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
chmod 640 "$root"/etc/predixy/*
dpkg-deb --root-owner-group -Zxz -b "$root" "$out/predixy_${version}_$arch.deb" >/dev/null
echo "$out/predixy_${version}_$arch.deb"
