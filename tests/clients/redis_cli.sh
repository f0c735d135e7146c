#!/bin/sh
# redis-cli against the proxy, as people and scripts use it.
set -eu

fail() {
    echo "$port: $*" >&2
    exit 1
}

# is WANT WORD...: what redis-cli prints for this command.
is() {
    want=$1
    shift
    got=$(redis-cli -p "$port" "$@" 2>&1) || true
    [ "$got" = "$want" ] || fail "$*: $got"
}

# has PART WORD...: the same for a part of it.
has() {
    part=$1
    shift
    got=$(redis-cli -p "$port" "$@" 2>&1) || true
    case $got in
        *"$part"*) ;;
        *) fail "$*: $got" ;;
    esac
}

for port in $SINGLE $TWO_GROUPS $CLUSTER; do
    is PONG ping
    is OK set cli:a 1
    is 2 incr cli:a
    is 2 -c get cli:a
    has redis_version: info server
    is 12182 cluster keyslot foo
    has "cluster_state:ok" cluster info
    has "Get the value of a key" command docs get
    has "ERR unknown command 'nonsense'" nonsense
    is "cli:a" --scan --pattern 'cli:a'
    is 42 eval 'return 42' 0
    printf 'multi\nset {cli}x 1\nincr {cli}x\nexec\n' | redis-cli -p "$port" | grep -q '^2$' || fail "a transaction"

    # Many commands at once, as files of them are loaded.
    count=$(redis-cli -p "$port" --scan --pattern 'cli:p*' | wc -l)
    [ "$count" -eq 0 ] || fail "$count keys are left over"
    i=0
    while [ $i -lt 1000 ]; do
        echo "SET cli:p$i $i"
        i=$((i + 1))
    done | redis-cli -p "$port" --pipe | grep -q 'errors: 0, replies: 1000' || fail --pipe
    count=$(redis-cli -p "$port" --scan --pattern 'cli:p*' | wc -l)
    [ "$count" -eq 1000 ] || fail "$count of 1000 keys are found"
    redis-cli -p "$port" --scan --pattern 'cli:p*' | xargs redis-cli -p "$port" del >/dev/null

    # What the tools of it show at a glance.
    shown=$(mktemp)
    redis-cli -p "$port" -i 0.01 --stat >"$shown" 2>&1 & pid=$!
    tries=0
    until grep -q 'keys.*mem.*clients' "$shown"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "--stat: $(cat "$shown")"
        sleep 0.1
    done
    kill $pid
    rm "$shown"
    redis-cli -p "$port" --bigkeys | grep -q 'Sampled' || fail --bigkeys
    redis-cli -p "$port" --memkeys | grep -q 'Sampled' || fail --memkeys
    redis-cli -p "$port" --latency -i 0 --raw >/dev/null 2>&1 & pid=$!
    sleep 1
    kill $pid 2>/dev/null || fail "--latency ends early"
    printed=$(redis-benchmark -p "$port" -q -n 1000 -t get,set 2>&1)
    case $printed in
        *WARNING* | *rror*) fail "redis-benchmark: $printed" ;;
    esac
done
echo done
