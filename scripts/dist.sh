#!/usr/bin/env bash
# Builds the release archive, unpacks it elsewhere and tries it.
# Usage: PROFILE=release|dev TARGET=TRIPLE scripts/dist.sh     leaves dist/bellwether-VERSION-TARGET.tar.gz
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
host=$(rustc -vV | sed -n 's/^host: //p')
target=${TARGET:-$host}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Everything in the archive is as old as the last commit, so that the same sources make the same archive.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
folder=$profile
[ "$profile" = dev ] && folder=debug
built=${CARGO_TARGET_DIR:-target}
programs=(bellwether bellwether-server bellwether-gateway bellwether-agent)
packages=(-p bellwether -p bellwether-server -p bellwether-gateway -p bellwether-agent-host)

if [ "$target" = "$host" ]; then
    cargo build --locked --profile "$profile" "${packages[@]}" -p bellwether-packaging
    made=$built/$folder packaging=$built/$folder/bellwether-packaging
else
    # What is made beside the programs is the same for every machine, and made by this one.
    cargo build --locked --profile "$profile" --target "$target" "${packages[@]}"
    cargo build --locked --profile "$profile" -p bellwether-packaging
    made=$built/$target/$folder packaging=$built/$folder/bellwether-packaging
fi

name=bellwether-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/$name
mkdir -p "$root/bin" "$root/share" "$root/docs" dist
for program in "${programs[@]}"; do install -m 755 "$made/$program" "$root/bin/"; done
# A debug build carries several times its own size of symbols.
[ "$profile" != dev ] || strip --strip-debug "$root"/bin/*
"$packaging" manual "$root/share"
"$packaging" licences "$root/THIRD-PARTY.md"
cp -R packaging/systemd packaging/container "$root/share/"
cp README.md SECURITY.md ARCHITECTURE.md CONTRIBUTING.md LICENSE-APACHE LICENSE-MIT "$root/"
cp -R docs/. "$root/docs/"
cp delta/FORMAT.md "$root/docs/delta-format.md"

# Modes as in a fresh checkout, whatever the umask of whoever builds.
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f ! -path "$root/bin/*" -exec chmod 644 {} +
(cd "$root" && find . -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum >SHA256SUMS)
LC_ALL=C tar --create --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner \
    --directory "$work" "$name" | gzip --no-name --best >"dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "dist/$name.tar.gz: $(stat -c %s "dist/$name.tar.gz") bytes"

if [ "$target" = "$host" ]; then
    scripts/dist-try.sh "dist/$name.tar.gz"
else
    echo "Not tried: this machine is a $host."
fi
