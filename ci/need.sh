#!/bin/sh
# Installs programs that are missing, through the system's own package manager, or says what to install.
#
#   ci/need.sh PROGRAM...            fails if one of them cannot be had
#   ci/need.sh --wanted PROGRAM...   only says so
set -eu

wanted=no
if [ "${1-}" = --wanted ]; then
    wanted=yes
    shift
fi

say() { echo "need: $*" >&2; }

# Whether a program is there. Parts of cargo answer for themselves, since rustup leaves empty shells in their place.
have() {
    case $1 in
        clippy) cargo clippy --version >/dev/null 2>&1 ;;
        rustfmt) cargo fmt --version >/dev/null 2>&1 ;;
        hiredis) cc -E -include hiredis/hiredis.h -x c /dev/null >/dev/null 2>&1 ;;
        phpredis) php -r 'new Redis();' >/dev/null 2>&1 ;;
        redis-rb) ruby -e 'require "redis"' >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

manager() {
    for name in apt-get apk dnf pacman zypper brew pkg pkg_add; do
        if command -v "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo none
}

# The packages that hold a program.
packages_of() {
    case $manager:$1 in
        *:mandoc) echo mandoc ;;
        apt-get:stunnel) echo stunnel4 ;;
        apt-get:ip | apk:ip | zypper:ip) echo iproute2 ;;
        dnf:ip) echo iproute ;;
        *:make) echo make ;;
        apt-get:hiredis) echo libhiredis-dev ;;
        apk:hiredis) echo hiredis-dev ;;
        dnf:hiredis | zypper:hiredis) echo hiredis-devel ;;
        apt-get:phpredis) echo php-cli php-redis ;;
        apt-get:redis-rb) echo ruby ruby-redis ;;
        apt-get:redis-server) echo redis-server redis-tools ;;
        apt-get:redis-*) echo redis-tools ;;
        *:redis-*) echo redis ;;
        *:nft) echo nftables ;;
        apt-get:python3) echo python3 python3-venv python3-pip ;;
        apt-get:cc) echo gcc libc6-dev ;;
        apk:cc) echo gcc musl-dev ;;
        apt-get:c++ | apk:c++) echo g++ ;;
        dnf:c++ | zypper:c++) echo gcc-c++ ;;
        *:cc | *:c++) echo gcc ;;
        apt-get:clippy | apk:clippy) echo rust-clippy ;;
        *) echo "$1" ;;
    esac
}

install_command() {
    case $manager in
        apt-get) echo "apt-get install -y --no-install-recommends" ;;
        apk) echo "apk add --no-cache" ;;
        dnf) echo "dnf install -y" ;;
        pacman) echo "pacman -S --noconfirm --needed" ;;
        zypper) echo "zypper --non-interactive install" ;;
        brew) echo "brew install" ;;
        pkg) echo "pkg install -y" ;;
        pkg_add) echo "pkg_add -I" ;;
    esac
}

# Runs a command as root: as we are, or through sudo or doas.
as_root() {
    if [ "$(id -u)" = 0 ] || [ "$manager" = brew ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    elif command -v doas >/dev/null 2>&1; then
        doas "$@"
    else
        return 1
    fi
}

# shellcheck disable=SC2046,SC2086 # lists of words
install_packages() {
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    as_root $(install_command) $packages >&2 && return
    [ "$manager" = apt-get ] || return 1
    # The list of packages may be old, or missing altogether.
    as_root apt-get update >&2 && as_root $(install_command) $packages >&2
}

missing=
for program in "$@"; do
    have "$program" || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

case $missing in
    *\ cargo*)
        say "cargo is missing. Rust 1.88 or newer comes from https://rustup.rs, or from your system's packages."
        exit 1
        ;;
esac

# What belongs to the Rust toolchain comes from where that came from.
if command -v rustup >/dev/null 2>&1; then
    left=
    for program in $missing; do
        case $program in
            clippy | rustfmt) rustup component add "$program" >&2 || true ;;
        esac
        have "$program" || left="$left $program"
    done
    missing=$left
    [ -n "$missing" ] || exit 0
fi

manager=$(manager)
packages=
for program in $missing; do
    packages="$packages $(packages_of "$program")"
done
packages=$(echo "$packages" | tr ' ' '\n' | sort -u | tr '\n' ' ')
packages=${packages% }

if [ "$manager" = none ]; then
    say "missing:$missing. No package manager that this script knows: please install them."
else
    say "missing:$missing. Installing: $(install_command) $packages"
    if install_packages; then
        case "$manager $packages" in
            *apt-get*redis-server*)
                say "Debian may have started a Redis of its own on port 6379. Nothing here needs it:" \
                    "'systemctl disable --now redis-server' ends it."
                ;;
        esac
    else
        say "that failed. As root: $(install_command) $packages"
    fi
fi

for program in $missing; do
    if ! have "$program"; then
        say "$program is still missing"
        [ $wanted = yes ] || exit 1
    fi
done
