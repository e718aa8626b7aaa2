"""Patches of our command, applied by a decoder that follows delta/FORMAT.md alone.

The images are programs that are linked here, twice, with some functions changed and one put in between, so that what
calls and points moves as it does in real firmware.
"""

import random
import subprocess
import sys

import delta_decoder
import delta_fields as fields

LOAD = 0x08000000

MODES = {
    "4 KiB": "--profile 4",
    "8 KiB": "--profile 8 --full-digests",
    "16 KiB": "--profile 16",
    "in place, 1 page": "--profile 8 --in-place 1 --page-size 256",
    "in place, 3 pages": "--profile 4 --in-place 3 --page-size 512",
}


def check(rows, binaries, scratch):
    """A row for each pair and profile."""
    folder = scratch / "delta"
    folder.mkdir(parents=True, exist_ok=True)
    for name, old, new in pairs():
        for mode, options in MODES.items():
            with rows.row("FORMAT.md in Python", "1", f"delta of {name}, {mode}") as row:
                patch = made(binaries, folder, old, new, options)
                if delta_decoder.Patch(old, patch).apply() != new:
                    raise AssertionError("the decoder makes another image")
                row["detail"] = f"{len(patch)} bytes for {len(new)}"
    with rows.row("FORMAT.md in Python", "1", "patches that were altered"):
        altered(binaries, folder)


def made(binaries, folder, old, new, options):
    """Makes a patch by our command."""
    paths = [folder / name for name in ("old", "new", "patch")]
    for path, content in zip(paths, (old, new)):
        path.write_bytes(content)
    paths[2].unlink(missing_ok=True)
    words = [binaries / "bellwether", "delta", "make", "--as", "flat", *options.split(), *paths]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    return paths[2].read_bytes()


def altered(binaries, folder):
    """Alters, cuts and lengthens a patch; no other image may come of it, by either decoder."""
    _, old, new = next(pairs())
    patch = made(binaries, folder, old, new, MODES["8 KiB"])
    changed = [patch[:at] + bytes([patch[at] ^ 0x10]) + patch[at + 1:] for at in range(0, len(patch), len(patch) // 12)]
    for one in [*changed, patch[:-3], patch + b"more"]:
        (folder / "altered").write_bytes(one)
        words = [binaries / "bellwether", "delta", "apply", "--as", "flat", folder / "old", folder / "altered", "-"]
        ours = subprocess.run(words, capture_output=True, timeout=60)
        try:
            theirs = delta_decoder.Patch(old, one).apply()
        except delta_decoder.Malformed:
            theirs = None
        if (ours.stdout if ours.returncode == 0 else None) != theirs or theirs not in (None, new):
            raise AssertionError(f"the decoders do not agree, or take it: {one.hex()}")


def pairs():
    """Name, base and target of each pair."""
    for name, code in CODES.items():
        yield f"linked {name}", *linked(code, random.Random(name), functions=90)
    yield "small Thumb", *linked(CODES["Thumb"], random.Random(2), functions=12)
    draw = random.Random(3)
    noise = draw.randbytes(6000)
    yield "noise with changes", noise, noise[:700] + b"inserted" + noise[700:4000] + noise[4100:]
    yield "equal images", noise, noise
    pieces = [noise[at:at + 100] for at in range(0, 6000, 100)]
    yield "scattered pieces", noise, b"".join(pieces[(place * 7 + 3) % 60] for place in range(60))
    yield "unrelated images", noise, draw.randbytes(3000)
    yield "nothing", b"", b""
    yield "an image of nothing", b"", b"first " * 200
    yield "repetition", b"ab" * 3000, b"ab" * 2990 + b"abc" * 40


def linked(code, draw, functions):
    """Two versions of a program: each function is filler, calls and pointers to others, by number."""
    bodies = [body(code, draw, functions) for _ in range(functions)]
    old = link(code, bodies, draw.randbytes(64))
    for at in draw.sample(range(functions), functions // 8):
        bodies[at] = body(code, draw, functions)
    # Put in front of all that follow, which move by its length.
    middle = functions // 3
    moved = [[(kind, to + (to >= middle) if kind else to) for kind, to in one] for one in bodies]
    moved.insert(middle, body(code, draw, functions))
    return old, link(code, moved, draw.randbytes(64))


def body(code, draw, functions):
    """Pieces: (0, filler) or (1, number of the function that is called) or (2, number that is pointed to)."""
    pieces = []
    for _ in range(draw.randrange(4, 16)):
        filler = b"".join(draw.choice(code.fillers) for _ in range(draw.randrange(2, 9)))
        pieces += [(0, filler), (1, draw.randrange(functions))]
    return pieces + [(2, draw.randrange(functions)) for _ in range(draw.randrange(3))]


def link(code, bodies, data):
    """Lays functions out and fills in where calls and pointers go."""
    starts, at = [], 0
    for pieces in bodies:
        starts.append(at)
        at += sum(len(what) if kind == 0 else 4 for kind, what in pieces)
        at += -at % 4
    image = bytearray()
    for pieces in bodies:
        for kind, what in pieces:
            if kind == 0:
                image += what
            elif kind == 1:
                image += code.call(code.address + starts[what], code.address + len(image))
            else:
                image += (code.address + starts[what]).to_bytes(4, "little")
        image += b"\0" * (-len(image) % 4)
    return bytes(image + data)


class Code:
    """How one architecture fills and calls."""

    def __init__(self, architecture, kind, call, fillers, address=LOAD):
        self.architecture, self.kind, self.template, self.address = architecture, kind, call, address
        self.fillers = [bytes.fromhex(filler) for filler in fillers]

    def call(self, target, address):
        eight = self.template.ljust(8, b"\0")
        return fields.relocated(self.architecture, self.kind, eight, target, address)[:4]


CODES = {
    "Thumb": Code(fields.Thumb, 1, bytes.fromhex("00f000f8"), ["0120", "0846", "10b5", "1046", "4ff00003", "01687047"]),
    "AVR": Code(fields.Avr, 1, bytes.fromhex("0e940000"), ["0895", "cf93", "df93", "80e0", "0196", "8091"], 0),
    "RISC-V": Code(fields.RiscV, 1, bytes.fromhex("ef000000"), ["13051500", "93871700", "0145", "8280", "2338b1fe"]),
    "ARM64": Code(fields.Arm64, 1, bytes.fromhex("00000094"), ["e0030091", "c0035fd6", "fd7bbfa9", "20008052"]),
}


if __name__ == "__main__":
    import pathlib
    import tempfile

    from rows import Rows

    table = Rows()
    with tempfile.TemporaryDirectory() as folder:
        check(table, pathlib.Path(sys.argv[1]), pathlib.Path(folder))
    sys.exit(1 if table.failed() else 0)
