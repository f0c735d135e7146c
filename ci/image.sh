#!/bin/sh
# Makes predixy-VERSION-ARCH.oci.tar: an OCI image with nothing in it but a static binary and a user, without any
# container engine. `make image` calls this. The same binary gives the same bytes.
#
#   BINARY   the static binary         OUT   where to put it: target/dist
#   IMAGE    its name: predixy:VERSION
#
#   skopeo copy oci-archive:FILE docker-daemon:predixy:VERSION     podman load -i FILE     nerdctl load -i FILE
set -eu

out=${OUT:-${CARGO_TARGET_DIR:-target}/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
image=${IMAGE:-predixy:$version}
tar --version 2>/dev/null | grep -q GNU || { echo "image: this takes GNU tar" >&2; exit 1; }

variant=
case $(readelf -h "$BINARY" | sed -n 's/^ *Machine: *//p') in
    *X86-64*) arch=amd64 ;;
    AArch64) arch=arm64 ;;
    ARM) arch=arm variant=',"variant":"v7"' ;;
    RISC-V) arch=riscv64 ;;
    *S/390*) arch=s390x ;;
    *) echo "image: $BINARY is for a processor that has no name here" >&2 && exit 1 ;;
esac
if readelf -l "$BINARY" | grep -q INTERP; then
    echo "image: $BINARY is not static" >&2
    exit 1
fi

mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/predixy-image.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
root=$work/root layout=$work/layout
mkdir -p "$root/etc/predixy" "$root/usr/bin" "$root/tmp" "$layout/blobs/sha256"

pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf - .; }
sum() { sha256sum "$1" | cut -d' ' -f1; }
# Moves a file to its place among the blobs, and says how others refer to it.
blob() {
    digest=$(sum "$1")
    size=$(wc -c <"$1" | tr -d ' ')
    mv "$1" "$layout/blobs/sha256/$digest"
    echo "\"mediaType\":\"application/vnd.oci.image.$2\",\"digest\":\"sha256:$digest\",\"size\":$size"
}

cp "$BINARY" "$root/usr/bin/predixy"
chmod 755 "$root/usr/bin/predixy"
echo 'predixy:x:65532:65532:predixy:/:/usr/bin/predixy' >"$root/etc/passwd"
echo 'predixy:x:65532:' >"$root/etc/group"
chmod 644 "$root/etc/passwd" "$root/etc/group"
chmod 1777 "$root/tmp"
chmod 755 "$root" "$root/etc" "$root/etc/predixy" "$root/usr" "$root/usr/bin"

pack "$root" >"$work/layer.tar"
diff_id=$(sum "$work/layer.tar")
gzip -9n "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz" layer.v1.tar+gzip)

cat >"$work/config" <<END
{"created":"1970-01-01T00:00:00Z","architecture":"$arch"$variant,"os":"linux","config":{"User":"65532:65532","ExposedPorts":{"7617/tcp":{}},"Entrypoint":["/usr/bin/predixy"],"Cmd":["/etc/predixy/predixy.conf"],"StopSignal":"SIGTERM","Labels":{"org.opencontainers.image.title":"predixy","org.opencontainers.image.version":"$version","org.opencontainers.image.licenses":"BSD-3-Clause"}},"rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"make image"}]}
END
config=$(blob "$work/config" config.v1+json)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{%s},"layers":[{%s}]}' \
    "$config" "$layer" >"$work/manifest"
manifest=$(blob "$work/manifest" manifest.v1+json)
platform="\"platform\":{\"architecture\":\"$arch\",\"os\":\"linux\"$variant}"
names="\"annotations\":{\"io.containerd.image.name\":\"docker.io/library/$image\",\"org.opencontainers.image.ref.name\":\"${image##*:}\"}"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{%s,%s,%s}]}' \
    "$manifest" "$platform" "$names" >"$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

file=$out/predixy-$version-$arch.oci.tar
pack "$layout" >"$file"
echo "$file"
