#!/bin/sh
# A private Redis Cluster on loopback with predixy in front of it, until Ctrl-C. `make try` builds and calls this.
#
#   ci/try.sh PATH-TO-PREDIXY
#
# Everything lives in one temporary folder; on leaving, the processes are ended by their ids and the folder is removed.
set -eu

predixy=$1
folder=$(mktemp -d "${TMPDIR:-/tmp}/predixy-try.XXXXXX")
pids=

leave() {
    status=$?
    trap '' INT TERM HUP
    trap - EXIT
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf -- "$folder"
    # Behind the ^C that the terminal shows.
    printf '\nEverything is gone again.\n'
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

say() { echo "try: $*" >&2; }

# Tries a command, ten times a second, for so many seconds.
within() {
    left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.1
    done
}

answers() { [ "$(redis-cli -p "$1" ping 2>/dev/null)" = PONG ]; }
# A node that found its port taken has ended; somebody else may be the one who answers.
is_node() { kill -0 "$2" && redis-cli -p "$1" info server | tr -d '\r' | grep -qx "process_id:$2"; }
is_joined() { redis-cli -p "$1" cluster info | tr -d '\r' | grep -qx cluster_state:ok; }
has_six_servers() {
    [ "$(redis-cli -p "$1" info servers | grep -Ec '^Role:(master|slave)')" = 6 ]
}

# Starts six nodes on six ports in a row; fails if one of the ports is taken.
start_nodes() {
    for number in 1 2 3 4 5 6; do
        port=$(($1 + number))
        mkdir -p "$folder/$port"
        redis-server --port "$port" --bind 127.0.0.1 --dir "$folder/$port" --logfile redis.log --save '' \
            --appendonly no --cluster-enabled yes --cluster-node-timeout 5000 >/dev/null 2>&1 &
        pids="$pids $!"
        within 5 is_node "$port" $! || return 1
    done
}

end_all() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    pids=
}

base=7000
until start_nodes $base; do
    end_all
    base=$((base + 100))
    if [ $base -gt 9000 ]; then
        say "found no six free ports in a row"
        exit 1
    fi
done

nodes=
for number in 1 2 3 4 5 6; do nodes="$nodes 127.0.0.1:$((base + number))"; done
# shellcheck disable=SC2086 # a list of words
if ! redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes >"$folder/create.log" 2>&1; then
    cat "$folder/create.log" >&2
    exit 1
fi
for number in 1 2 3 4 5 6; do
    within 20 is_joined $((base + number)) || { say "the cluster does not come up"; exit 1; }
done

port=7617
# Whoever answers there, it is not us.
while answers $port; do port=$((port + 1)); done
{
    echo "Bind 127.0.0.1:$port"
    echo "Log $folder/predixy.log"
    echo "ClusterServerPool {"
    echo "    Servers {"
    for node in $nodes; do echo "        + $node"; done
    echo "    }"
    echo "}"
} >"$folder/predixy.conf"
"$predixy" "$folder/predixy.conf" >"$folder/output" 2>&1 &
proxy=$!
pids="$proxy $pids"
if ! within 10 has_six_servers $port; then
    say "predixy does not come up:"
    cat "$folder/output" "$folder/predixy.log" >&2 || true
    exit 1
fi

cat <<END

predixy listens on 127.0.0.1:$port, in front of a Redis Cluster on the ports $((base + 1)) to $((base + 6)):

    redis-cli -p $port
    redis-cli -p $port info

Ctrl-C ends it all and removes $folder.
END
# From here on this is the way to leave, and no failure.
trap 'exit 0' INT
wait "$proxy"
