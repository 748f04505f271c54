#!/bin/sh
# install.sh [EXTRA...]: .venv with the gateway in it, and the extras of setup.cfg.
# Does nothing, at once, when that has been done with this setup.cfg in this folder.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamps=$venv/installed
state="$(pwd) $(cksum setup.cfg pyproject.toml | cksum)"

done_before() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$stamps/$1" 2>/dev/null)" = "$state" ]
}

missing=""
for extra in gateway "$@"; do
    done_before "$extra" || missing="$missing $extra"
done
[ -n "$missing" ] || exit 0

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(scripts/python.sh)
    echo "Making $venv with $("$python" --version) ($python)"
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >/tmp/knight-venv.$$ 2>&1; then
        rm -rf "$venv" /tmp/knight-venv.$$
        echo "knight: $python cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
    rm -f /tmp/knight-venv.$$
fi

extras=$(echo "$@" | tr ' ' ',')
echo "Installing the gateway${extras:+ with what '$extras' needs} into $venv (a minute, the first time)"
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-input --editable ".${extras:+[$extras]}"; then
    echo "knight: the packages could not be installed; pip's reason stands above" >&2
    exit 1
fi
mkdir -p "$stamps"
for extra in gateway "$@"; do
    echo "$state" >"$stamps/$extra"
done
