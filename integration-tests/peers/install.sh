#!/usr/bin/env bash
# Installs what the integration tests talk to: a JDK, Maven, kcat and Python (through apt-get, where they are
# missing and we may), the Apache jars (through Maven, into target/peers,
# target/peers-zookeeper and target/peers-kafka) and Python clients (into target/venv).
# Does nothing, quickly, when all of it is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

packages=()
command -v javac >/dev/null || packages+=(openjdk-17-jdk-headless)
command -v mvn >/dev/null || packages+=(maven)
command -v kcat >/dev/null || packages+=(kcat)
command -v cc >/dev/null || packages+=(build-essential)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
    echo "peers: installing ${packages[*]}"
    if ! command -v apt-get >/dev/null; then
        echo "peers: no apt-get here; please install: ${packages[*]}" >&2
        exit 1
    fi
    "${as_root[@]}" apt-get update -q >/dev/null || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null ||
        { echo "peers: could not install ${packages[*]}; install them by hand" >&2; exit 1; }
fi

# The stamp holds the sums of what was asked for: a changed pin installs again.
jars_wanted=$(sha256sum <"$here/pom.xml")
if [ "$(cat "$target/peers/.stamp" 2>/dev/null)" != "$jars_wanted" ]; then
    echo "peers: fetching the Apache jars"
    rm -rf "$target/peers"
    for attempt in 1 2 3; do
        mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$target/peers" && break
        [ "$attempt" != 3 ] || { echo "peers: Maven could not fetch the Apache jars" >&2; exit 1; }
        sleep 5
    done
    echo "$jars_wanted" >"$target/peers/.stamp"
fi

# Other versions of one thing, each in a directory of its own: NAME is that of the list and of where they go.
install_versions() {
    local list=$here/$1-versions.xml to=$target/peers-$1 wanted attempt
    wanted=$(sha256sum <"$list")
    [ "$(cat "$to/.stamp" 2>/dev/null)" != "$wanted" ] || return 0
    echo "peers: fetching other versions of $1"
    rm -rf "$to"
    for attempt in 1 2 3; do
        mvn -q -B -f "$list" dependency:copy -Dversions="$to" && break
        [ "$attempt" != 3 ] || { echo "peers: Maven could not fetch the versions of $1" >&2; exit 1; }
        sleep 5
    done
    echo "$wanted" >"$to/.stamp"
}
install_versions zookeeper
install_versions kafka

python_wanted=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$target/venv/.stamp" 2>/dev/null)" != "$python_wanted" ]; then
    echo "peers: fetching the Python clients"
    rm -rf "$target/venv"
    python3 -m venv "$target/venv"
    "$target/venv/bin/python" -m pip install -q --disable-pip-version-check --retries 5 \
        -r "$here/requirements.txt"
    echo "$python_wanted" >"$target/venv/.stamp"
fi
