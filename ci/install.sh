#!/bin/sh
# Puts predixy where it belongs, or takes it away again. `make install` and `make uninstall` call this with
# BINARY, BINDIR, MANDIR and CONFDIR set, DESTDIR already in front of them.
#
# A configuration file that somebody has changed is never touched: the new one is put beside it as NAME.new.
set -eu

install_all() {
    mkdir -p "$BINDIR" "$MANDIR/man5" "$MANDIR/man8" "$CONFDIR"
    # Through a second name, so that a running predixy can be replaced.
    cp "$BINARY" "$BINDIR/.predixy.new"
    chmod 755 "$BINDIR/.predixy.new"
    mv -f "$BINDIR/.predixy.new" "$BINDIR/predixy"
    for page in man/*.[58]; do
        [ -f "$page" ] || continue
        cp "$page" "$MANDIR/man${page##*.}/"
        chmod 644 "$MANDIR/man${page##*.}/${page##*/}"
    done
    for sample in conf/*.conf conf/*.json; do
        [ -f "$sample" ] || continue
        target=$CONFDIR/${sample##*/}
        if [ ! -e "$target" ]; then
            cp "$sample" "$target"
            # It may come to hold passwords.
            chmod 640 "$target"
        elif ! cmp -s "$sample" "$target"; then
            echo "kept $target; the new one is $target.new"
            cp "$sample" "$target.new"
            chmod 640 "$target.new"
        fi
    done
}

uninstall_all() {
    rm -f "$BINDIR/predixy"
    for page in man/*.[58]; do
        rm -f "$MANDIR/man${page##*.}/${page##*/}"
    done
    for sample in conf/*.conf conf/*.json; do
        target=$CONFDIR/${sample##*/}
        rm -f "$target.new"
        if cmp -s "$sample" "$target"; then
            rm -f "$target"
        elif [ -e "$target" ]; then
            echo "kept $target"
        fi
    done
    rmdir "$CONFDIR" 2>/dev/null || true
}

case ${1-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) echo "usage: ci/install.sh install | uninstall" >&2 && exit 1 ;;
esac
