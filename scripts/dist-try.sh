#!/usr/bin/env bash
# Unpacks a release archive into a folder of its own and tries what is in it, as whoever downloads it would.
# Usage: scripts/dist-try.sh ARCHIVE
set -euo pipefail
archive=$(realpath "$1")
name=$(basename "$archive" .tar.gz)
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

step() { echo "-- $*"; }
cd "$work"
step unpack
tar xzf "$archive"
cd "$name"
sha256sum --quiet --check SHA256SUMS
export PATH="$PWD/bin:$PATH" MANPATH="$PWD/share/man"
for variable in $(env | sed -n 's/^\(BELLWETHER_[A-Z_]*\)=.*/\1/p'); do unset "$variable"; done

step versions
version=${name#bellwether-}
version=${version%%-*}
for program in bellwether bellwether-server bellwether-gateway bellwether-agent; do
    "$program" --version | grep -qxF "$program $version"
    test -s "share/man/man1/$program.1"
    bash -n "share/completions/$program.bash"
done

step configuration
printf 'grant_lifetme_s = 1\n' >wrong.toml
if bellwether-server check-config --config wrong.toml 2>said >/dev/null; then exit 1; fi
grep -q 'wrong.toml:1:1: mistake: .*did you mean grant_lifetime_s' said
rm wrong.toml said
bellwether-server check-config --config share/systemd/server.toml 2>/dev/null >/dev/null

step server
flags=(--data "$work/data" --http 127.0.0.1:0 --coaps 127.0.0.1:0 --mqtt off)
bellwether-server "${flags[@]}" check-config --try 2>/dev/null >/dev/null
bellwether-server "${flags[@]}" 2>"$work/log" &
server=$!
for _ in $(seq 300); do
    if bellwether-server health --data "$work/data" >/dev/null 2>&1; then break; fi
    kill -0 "$server" || { cat "$work/log"; exit 1; }
    sleep 0.1
done
bellwether-server health --data "$work/data"
bellwether --data "$work/data" device list
kill -TERM "$server"
wait "$server"
server=
echo "$name is well."
