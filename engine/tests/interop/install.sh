#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: Debian packages (as root or with sudo), and the SMPP clients
# of others into target/interop. Does nothing, and quickly, where everything is there.
set -euo pipefail
cd "$(dirname "$0")"
sources=$PWD
root=$(cd ../../.. && pwd)
# A relative CARGO_TARGET_DIR counts from where cargo is called, which is the root.
target=$(cd "$root" && mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
interop=$target/interop

packages=()
need() {
    # need PACKAGE COMMAND...: the package, unless the command succeeds.
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}
need python3 python3 --version
need python3-venv python3 -c 'import ensurepip, venv'
need nodejs node --version
need npm npm --version
need tshark tshark --version
need valgrind valgrind --version
need chromium chromium --version
need gcc cc --version
need redis-server redis-server --version
need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/initdb'
need util-linux setpriv --version
need openssl openssl version

if [ "${#packages[@]}" -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "these packages are missing, and there is no sudo to install them: ${packages[*]}" >&2
            exit 1
        }
        as_root=(sudo)
    fi
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq)
    echo "installing ${packages[*]}"
    # The tests start servers of their own; the package need not make one.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        "${as_root[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    "${apt[@]}" update
    "${apt[@]}" install --no-install-recommends "${packages[@]}" >/dev/null
fi

# What was installed is told by copies of the lists, which are written last.
mkdir -p "$interop"
if ! cmp -s requirements.txt "$interop/requirements.txt"; then
    echo "installing python-smpplib and schemathesis into $interop"
    rm -rf "$interop/python" "$interop/requirements.txt"
    python3 -m venv "$interop/python"
    "$interop/python/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$interop/requirements.txt"
fi
if ! cmp -s package.json "$interop/package.installed.json"; then
    echo "installing node-smpp into $interop"
    rm -rf "$interop/node_modules" "$interop/package.installed.json"
    cp package.json "$interop/package.json"
    (cd "$interop" && npm install --silent --no-audit --no-fund --no-package-lock)
    cp "$sources/package.json" "$interop/package.installed.json"
fi
