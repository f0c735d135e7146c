#!/bin/sh
# Runs a predixy in a folder where there is nothing else, as its root folder, and asks it for a PONG.
#
#   ci/empty_root.sh PATH-TO-PREDIXY
#
# It takes a kernel that lets users have namespaces, or root; without either nothing is tried, and that is said.
set -eu

predixy=$1
say() { echo "empty root: $*" >&2; }

if unshare -r true 2>/dev/null; then
    enter() { exec unshare -r chroot "$@"; }
elif [ "$(id -u)" = 0 ]; then
    enter() { exec chroot "$@"; }
else
    say "SKIPPED: neither root nor user namespaces"
    exit 0
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/predixy-root.XXXXXX")
pid=
leave() {
    status=$?
    trap - EXIT
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf -- "$folder"
    exit $status
}
trap leave EXIT
trap 'exit 130' INT TERM HUP

cp "$predixy" "$folder/predixy"
# A host that has a name, where nothing can look it up, is a server that cannot be reached; that keeps nobody from starting.
printf 'Bind /socket\nLog /log\nStandaloneServerPool {\n    RefreshMethod fixed\n    Group a {\n        + localhost:1\n    }\n}\n' >"$folder/conf"
(enter "$folder" /predixy -t /conf) >"$folder/checked" || { cat "$folder/checked" >&2; exit 1; }
(enter "$folder" /predixy /conf) >"$folder/said" 2>&1 &
pid=$!

left=100
until [ -S "$folder/socket" ]; do
    left=$((left - 1))
    if [ $left = 0 ] || ! kill -0 $pid 2>/dev/null; then
        say "it does not start"
        cat "$folder/said" >&2
        exit 1
    fi
    sleep 0.1
done
if command -v redis-cli >/dev/null 2>&1; then
    [ "$(redis-cli -s "$folder/socket" ping)" = PONG ] || { say "no PONG"; exit 1; }
    redis-cli -s "$folder/socket" info | grep -q '^Version:' || { say "no INFO"; exit 1; }
fi
kill $pid
wait $pid || { say "it ends with status $?"; cat "$folder/said" >&2; exit 1; }
pid=
say "runs"
