"""Measures how long patches take to make between images that search structures dislike, at growing sizes, beside zstd.

Time must stay near-linear: the time of a MiB may grow with the image only as far as the caches of the machine make it.
Every patch is applied by the decoder that devices run, and what comes of it compared.
"""

import argparse
import hashlib
import itertools
import json
import pathlib
import random
import sys
import tempfile

import measure
import tools

MIB = 1 << 20
# Sizes in MiB: each four times the one before.
SIZES = (1, 4, 16, 64)
# A kind fails if a MiB of its largest image takes this many times what a MiB of the second size took. Sorting suffixes
# jumps about in memory, so that a MiB of what no cache holds takes up to twice as long; a square would be 16 times.
GROWTH_MAX = 3.0
# Of memory, per byte of the larger image; the images themselves and what a process has anyway are in it.
MEMORY_MAX = 32


def main():
    options = arguments()
    ours = tools.Ours(options.binary, "ours-8k")
    zstd = next(tool for tool in tools.peers() if tool.name == "zstd-patch")
    print(f"{'IMAGES':16} {'NEW B':>9} {'PATCH B':>9} {'MAKE s':>8} {'s/MiB':>7} {'MiB':>6} {'x IMAGE':>7} {'APPLY s':>8}"
          f" {'ZSTD B':>9} {'s':>8} {'s/MiB':>7}", flush=True)
    rows = [measured(name, pair, 0, ours, zstd) for name, pair in SMALL.items()]
    for name, images in KINDS.items():
        if options.kinds and not any(kind in name for kind in options.kinds.split(",")):
            continue
        for mib in (size for size in SIZES if size <= options.largest):
            rows.append(measured(name, images(mib * MIB), mib, ours, zstd))
    faults = [fault for row in rows if (fault := row.get("error"))]
    faults += [fault for name in KINDS for fault in growth([row for row in rows if row["kind"] == name])]
    (options.out / "adversarial.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(faults) or "Every patch made its image; no kind takes more than near-linear time.")
    return 1 if faults else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="our command")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for adversarial.json")
    parser.add_argument("--largest", type=int, default=16, help="MiB of the largest images (default %(default)s)")
    parser.add_argument("--kinds", default="", help="only kinds whose name has one of these in it, by commas")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def measured(name, pair, mib, ours, zstd):
    """Makes and applies a patch, prints a line, and returns its figures."""
    row = {"kind": name, "mib": mib, "new_size": len(pair[1])}
    with tempfile.TemporaryDirectory() as folder:
        old, new, patch, made = (f"{folder}/{file}" for file in ("old", "new", "patch", "made"))
        for path, image in zip((old, new), pair):
            pathlib.Path(path).write_bytes(image)
        try:
            took = ours.make(old, new, patch)
            applied = ours.apply(old, patch, made)
        except measure.Failed as failed:
            print(f"{name:16} {len(pair[1]):9} {failed}", flush=True)
            return {**row, "error": f"{name}, {len(pair[1])} bytes: {failed}"}
        row |= {"patch": pathlib.Path(patch).stat().st_size, "make_s": took.cpu_s, "peak": took.peak_bytes,
                "apply_s": applied.cpu_s}
        if digest(made) != hashlib.sha256(pair[1]).hexdigest():
            row["error"] = f"{name}, {len(pair[1])} bytes: the patch makes another image"
        row |= peer(zstd, old, new, f"{folder}/zstd")
    each = "" if not mib else f"{row['make_s'] / mib:.2f}"
    image = max(map(len, pair), default=0)
    times = f"{row['peak'] / image:.0f}" if image >= MIB else ""
    zstd_each = "" if not mib or "zstd_s" not in row else f"{row['zstd_s'] / mib:.2f}"
    print(f"{name:16} {row['new_size']:9} {row['patch']:9} {row['make_s']:8.2f} {each:>7} {row['peak'] / MIB:6.0f}"
          f" {times:>7} {row['apply_s']:8.2f} {row.get('zstd', '-'):>9} {row.get('zstd_s', 0):8.2f} {zstd_each:>7}",
          flush=True)
    if image >= 4 * MIB and row["peak"] > MEMORY_MAX * image:
        row["error"] = f"{name}, {mib} MiB: takes {row['peak'] / image:.0f} times the image in memory"
    return row


def peer(zstd, old, new, patch):
    """What zstd takes; it refuses a base of nothing."""
    try:
        took = zstd.make(old, new, patch)
    except measure.Failed:
        return {}
    return {"zstd": pathlib.Path(patch).stat().st_size, "zstd_s": took.cpu_s}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def growth(rows):
    """Says where a MiB of the largest images takes much more than one of smaller ones."""
    times = {row["mib"]: row["make_s"] / row["mib"] for row in rows if "make_s" in row and row["mib"] >= SIZES[1]}
    if len(times) < 2:
        return []
    least, most = times[min(times)], times[max(times)]
    if most <= GROWTH_MAX * max(least, 0.05):
        return []
    return [f"{rows[0]['kind']}: {least:.2f} s a MiB at {min(times)} MiB, {most:.2f} s at {max(times)} MiB"]


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


def edited(image):
    """The same image with a piece moved to its end and another put in."""
    third, half, quarter = len(image) // 3, len(image) // 2, len(image) // 4
    moved = image[:third] + image[half:] + image[third:half]
    return moved[:quarter] + noise(100, 2) + moved[quarter:]


def of_itself(make):
    """A kind whose target is its own base, edited."""
    def images(count):
        base = make(count)
        return base, edited(base)
    return images


def fibonacci(count):
    """The word whose every suffix has many near-repeats."""
    one, two = b"a", b"ab"
    while len(two) < count:
        one, two = two, two + one
    return two[:count]


def thue_morse(count):
    """The word that holds no piece three times in a row."""
    word = b"\0"
    while len(word) < count:
        word += bytes(1 - byte for byte in word)
    return word[:count]


def nearly_periodic(count):
    """A period of 256 bytes in which one byte of each differs: many alignments are all nearly right."""
    image = bytearray(itertools.islice(itertools.cycle(noise(256)), count))
    places = random.Random(3)
    for start in range(0, count - 256, 256):
        image[start + places.randrange(256)] ^= 1 + places.randrange(255)
    return bytes(image)


def calls(count):
    """Thumb code of nothing but calls, each to another place: every word is a field."""
    numbers = random.Random(4)
    def call():
        bits = numbers.getrandbits(21)
        return (0xF000 | bits >> 11).to_bytes(2, "little") + (0xF800 | bits & 0x7FF).to_bytes(2, "little")
    return b"".join(call() for _ in range(count // 4))


KINDS = {
    "identical": lambda count: (noise(count),) * 2,
    "random, moved": of_itself(noise),
    "unrelated": lambda count: (noise(count), noise(count, 5)),
    "erased flash": lambda count: (b"\xff" * count,) * 2,
    "one byte, moved": of_itself(lambda count: b"\xff" * count),
    "period 4097": of_itself(lambda count: bytes(itertools.islice(itertools.cycle(noise(4097)), count))),
    "nearly periodic": of_itself(nearly_periodic),
    "Fibonacci": of_itself(fibonacci),
    "Thue-Morse": of_itself(thue_morse),
    "two letters": of_itself(lambda count: bytes(byte & 1 for byte in noise(count))),
    "calls": of_itself(calls),
    "from nothing": lambda count: (b"", noise(count)),
    "to nothing": lambda count: (noise(count), b""),
}

# Images that are hardly there.
SMALL = {
    "nothing": (b"", b""),
    "first byte": (b"", b"\0"),
    "last byte": (b"\0", b""),
    "one of two": (b"ab", b"b"),
    "seven bytes": (b"1234567", b"1234568"),
}

if __name__ == "__main__":
    sys.exit(main())
