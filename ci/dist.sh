#!/bin/sh
# Makes predixy-VERSION.tar.gz: the source as it was committed, with the crates it needs, so that it builds without a
# network. `make dist` calls this. The same commit gives the same bytes.
#
#   OUT   where to put it: target/dist
set -eu

cargo=${CARGO:-cargo}
out=${OUT:-${CARGO_TARGET_DIR:-target}/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=predixy-$version

git rev-parse --git-dir >/dev/null 2>&1 || { echo "dist: this takes git, and a clone" >&2; exit 1; }
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "dist: what is not committed is left out" >&2
tar --version 2>/dev/null | grep -q GNU || { echo "dist: this takes GNU tar" >&2; exit 1; }

when=$(git log -1 --format=%ct)
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/predixy-dist.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
git archive --prefix="$name/" HEAD | tar -x -C "$work"
cd "$work/$name"
rm -rf .ci
mkdir -p .cargo
"$cargo" vendor --locked --versioned-dirs vendor >.cargo/config.toml 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
cd "$work"
tar --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw -cf - "$name" |
    gzip -9n >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
