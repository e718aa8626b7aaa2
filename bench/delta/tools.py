"""Who makes patches here: ours at each profile, and the peers."""

import hashlib
import json
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import measure

HERE = pathlib.Path(__file__).parent


@dataclass(frozen=True)
class Made:
    """What making or applying took."""

    cpu_s: float
    peak_bytes: int


class Ours:
    """Our command with the options of a profile; applying runs the decoder that devices run."""

    is_ours = True

    def __init__(self, binary, name):
        self.name, self.binary, self.options = name, binary, PROFILES[name]
        self.state_bytes = None
        self.version = hashlib.sha256(pathlib.Path(binary).read_bytes()).hexdigest()[:12]

    def accepts(self, _pair):
        return True

    def make(self, old, new, patch):
        command = [self.binary, "--json", "delta", "make", "--as", "flat", *self.options, old, new, patch]
        out, *took = measure.run(command)
        self.state_bytes = json.loads(out)["state_bytes"]
        return Made(*took)

    def apply(self, old, patch, new):
        _, *took = measure.run([self.binary, "--json", "delta", "apply", "--as", "flat", old, patch, new])
        return Made(*took)


class Command:
    """A peer that is a command from Debian."""

    is_ours = False
    state_bytes = None

    def __init__(self, name, package, make, apply):
        self.name, self.make_words, self.apply_words = name, make, apply
        self.version = installed(package)

    def accepts(self, _pair):
        return True

    def make(self, old, new, patch):
        return self.run(self.make_words, old, new, patch)

    def apply(self, old, patch, new):
        return self.run(self.apply_words, old, new, patch)

    def run(self, words, old, new, patch):
        _, *took = measure.run([word.format(old=old, new=new, patch=patch) for word in words])
        return Made(*took)


class Library:
    """A peer that is a Python library; each call runs in a process of its own."""

    is_ours = False

    def __init__(self, name, state_bytes, formats=None):
        self.name, self.state_bytes, self.formats = name, state_bytes, formats
        self.version = library_version("detools" if name.startswith("detools") else "hdiffpatch")

    def accepts(self, pair):
        return self.formats is None or self.data_format(pair) is not None

    def data_format(self, pair):
        return next((name for start, name in (self.formats or {}).items() if pair["arch"].startswith(start)), None)

    def make(self, old, new, patch, pair=None):
        return self.run("make", old, new, patch, pair)

    def apply(self, old, patch, new, pair=None):
        return self.run("apply", old, new, patch, pair)

    def run(self, task, old, new, patch, pair):
        name = self.name
        if self.formats is not None:
            name = f"{name.removesuffix('-df')}+{self.data_format(pair)}"
        out, _, _ = measure.run([sys.executable, str(HERE / "peers.py"), task, name, old, new, patch])
        took = json.loads(out)
        return Made(took["cpu_s"], took["peak_bytes"])


def installed(package):
    said = subprocess.run(["dpkg-query", "--show", "--showformat=${Version}", package], capture_output=True, text=True)
    return said.stdout or "unknown"


def library_version(name):
    import importlib.metadata

    return importlib.metadata.version(name)


def lzma_state(dictionary, literal_bits):
    """RAM of an LZMA decoder: the dictionary, and its probabilities of two bytes each."""
    return dictionary + 2 * (1846 + (768 << literal_bits))


def peers():
    """Every peer. State: the decoder's window and tables; buffers and stack are not counted, for none of them.

    `None` is a state that grows with the image.
    """
    return [
        Library("detools-hs8", 1 << 8),
        Library("detools-hs11", 1 << 11),
        Library("detools-hs13", 1 << 13),
        # Its tables of fields lie in the patch and are taken into memory whole.
        Library("detools-hs13-df", None, DATA_FORMATS),
        Library("detools-lzma", None),
        Library("detools-lzma-df", None, DATA_FORMATS),
        Library("hpatchlite-tamp13", 1 << 13),
        Library("hpatchlite-tuz4k", 4 << 10),
        Library("hpatchlite-tuz8k", 8 << 10),
        Library("hpatchlite-tuz12k", 12 << 10),
        Library("hpatchlite-tuz32k", 32 << 10),
        Library("hpatchlite-raw-lzma8k", lzma_state(8 << 10, 0)),
        Library("hdiff-lzma2", None),
        Library("hdiff-zstd", None),
        Command("bsdiff", "bsdiff", ["bsdiff", "{old}", "{new}", "{patch}"], ["bspatch", "{old}", "{new}", "{patch}"]),
        Command("xdelta3", "xdelta3", ["xdelta3", "-e", "-9", "-S", "djw", "-f", "-s", "{old}", "{new}", "{patch}"],
                ["xdelta3", "-d", "-f", "-s", "{old}", "{patch}", "{new}"]),
        Command("zstd-patch", "zstd",
                ["zstd", "-q", "-f", "--ultra", "-22", "--long=27", "--patch-from={old}", "{new}", "-o", "{patch}"],
                ["zstd", "-q", "-f", "-d", "--long=27", "--patch-from={old}", "{patch}", "-o", "{new}"]),
    ]


# Options of our command, by what a row is called.
PROFILES = {f"ours-{kib}k": ["--profile", str(kib)] for kib in (4, 8, 16)}

# What detools knows of, by how the architecture of a pair starts.
DATA_FORMATS = {"cortex": "arm-cortex-m4", "xtensa": "xtensa-lx106", "arm64": "aarch64"}
