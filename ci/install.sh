#!/bin/sh
# Puts predixy where it belongs, or takes it away again. `make install` and `make uninstall` call this.
#
#   PREFIX       /usr/local             below it bin, share/man (OpenBSD: man), share/... for the shells
#   SYSCONFDIR   PREFIX/etc, or /etc for PREFIX=/usr and on OpenBSD; configuration goes to its folder predixy
#   DESTDIR      nothing                put before every path, for packages
#   SYSTEM       what uname -s says     whose layout and whose service files
#   BINARY       target/release/predixy
#
# A configuration file that somebody has changed is never touched: the new one is put beside it as NAME.new.
set -eu

PREFIX=${PREFIX:-/usr/local}
SYSTEM=${SYSTEM:-$(uname -s)}
DESTDIR=${DESTDIR-}
BINDIR=${BINDIR:-$PREFIX/bin}
case $SYSTEM in
    OpenBSD)
        MANDIR=${MANDIR:-$PREFIX/man}
        SYSCONFDIR=${SYSCONFDIR:-/etc}
        ;;
    *)
        MANDIR=${MANDIR:-$PREFIX/share/man}
        if [ "$PREFIX" = /usr ]; then SYSCONFDIR=${SYSCONFDIR:-/etc}; else SYSCONFDIR=${SYSCONFDIR:-$PREFIX/etc}; fi
        ;;
esac
CONFDIR=$SYSCONFDIR/predixy
EXAMPLES=$PREFIX/share/examples/predixy

# Every file that is not configuration: MODE SOURCE TARGET. The service files name the folders above.
files() {
    echo "755 $BINARY $BINDIR/predixy"
    for page in man/*.[58]; do echo "644 $page $MANDIR/man${page##*.}/${page##*/}"; done
    echo "644 conf/completion/predixy.bash $PREFIX/share/bash-completion/completions/predixy"
    echo "644 conf/completion/_predixy $PREFIX/share/zsh/site-functions/_predixy"
    echo "644 conf/completion/predixy.fish $PREFIX/share/fish/vendor_completions.d/predixy.fish"
    for example in conf/examples/*; do echo "644 $example $EXAMPLES/${example##*/}"; done
    case $SYSTEM in
        Linux)
            echo "644 conf/service/predixy.service $PREFIX/lib/systemd/system/predixy.service"
            echo "644 conf/service/predixy.sysusers $PREFIX/lib/sysusers.d/predixy.conf"
            ;;
        FreeBSD | DragonFly) echo "555 conf/service/freebsd $PREFIX/etc/rc.d/predixy" ;;
        OpenBSD) echo "555 conf/service/openbsd /etc/rc.d/predixy" ;;
        Darwin) echo "644 conf/service/org.predixy.plist $EXAMPLES/org.predixy.plist" ;;
    esac
}

# Through a second name, so that a running predixy can be replaced.
put() {
    mkdir -p "$(dirname "$3")"
    case $2 in
        conf/service/*) sed "s|@BINDIR@|$BINDIR|g; s|@CONFDIR@|$CONFDIR|g" "$2" >"$3.part" ;;
        *) cp "$2" "$3.part" ;;
    esac
    chmod "$1" "$3.part"
    mv -f "$3.part" "$3"
}

# Configuration may come to hold passwords: only root reads it, and the service, if it has its group already.
put_conf() {
    put 640 "$1" "$2"
    if [ "$(id -u)" = 0 ] && grep -q '^predixy:' /etc/group 2>/dev/null; then chgrp predixy "$2"; fi
}

install_all() {
    files | while read -r mode source target; do put "$mode" "$source" "$DESTDIR$target"; done
    mkdir -p "$DESTDIR$CONFDIR"
    for sample in conf/*.conf conf/*.json; do
        target=$DESTDIR$CONFDIR/${sample##*/}
        if [ ! -e "$target" ]; then
            put_conf "$sample" "$target"
        elif cmp -s "$sample" "$target"; then
            rm -f "$target.new"
        else
            put_conf "$sample" "$target.new"
            echo "kept $target; the new one is $target.new"
        fi
    done
    [ -z "$DESTDIR" ] || return 0
    case $SYSTEM in
        Linux) echo "With systemd: systemd-sysusers && systemctl enable --now predixy" ;;
        FreeBSD | DragonFly) echo "To start it: sysrc predixy_enable=YES && service predixy start" ;;
        OpenBSD) echo "To start it: rcctl enable predixy && rcctl start predixy" ;;
        Darwin) echo "To start it at boot: see $EXAMPLES/org.predixy.plist" ;;
    esac
}

uninstall_all() {
    files | while read -r _ _ target; do rm -f "$DESTDIR$target"; done
    for sample in conf/*.conf conf/*.json; do
        target=$DESTDIR$CONFDIR/${sample##*/}
        rm -f "$target.new"
        if cmp -s "$sample" "$target"; then
            rm -f "$target"
        elif [ -e "$target" ]; then
            echo "kept $target"
        fi
    done
    rmdir "$DESTDIR$CONFDIR" "$DESTDIR$EXAMPLES" 2>/dev/null || true
}

case ${1-} in
    install) install_all ;;
    uninstall) BINARY=none && uninstall_all ;;
    *) echo "usage: ci/install.sh install | uninstall" >&2 && exit 1 ;;
esac
