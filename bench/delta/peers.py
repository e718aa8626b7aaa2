"""Runs one peer that is a Python library, once: `peers.py make|apply TOOL OLD NEW PATCH`, in the bench's environment.

Prints a line of JSON: processor time of the call, and the peak of memory less what the interpreter had before it.
"""

import io
import json
import lzma
import pathlib
import resource
import sys


def detools_peer(**options):
    """A patch by detools, made and applied by its own code."""
    import detools

    def make(old, new):
        patch = io.BytesIO()
        detools.create_patch(io.BytesIO(old), io.BytesIO(new), patch, use_mmap=False, **options)
        return patch.getvalue()

    def apply(old, patch):
        new = io.BytesIO()
        detools.apply_patch(io.BytesIO(old), io.BytesIO(patch), new)
        return new.getvalue()

    return make, apply


def hdiff_peer(config):
    """A patch by HDiffPatch, for its applier on large machines."""
    import hdiffpatch

    return lambda old, new: hdiffpatch.diff(old, new, config(hdiffpatch), validate=False), hdiffpatch.apply


def lite_peer(config):
    """A patch by HDiffPatch for HPatchLite, its applier on microcontrollers."""
    import hdiffpatch

    def make(old, new):
        return hdiffpatch.diff_lite(old, new, compression=config(hdiffpatch), validate=False)

    return make, hdiffpatch.apply_lite


def lite_in_lzma(dictionary):
    """The bare stream for HPatchLite, compressed as a whole by raw LZMA with a small dictionary and no literal context.

    No tool ships this, but a device could put it together.
    """
    import hdiffpatch

    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary, "lc": 0, "lp": 0,
                "pb": 0}]

    def make(old, new):
        bare = hdiffpatch.diff_lite(old, new, compression="none", validate=False)
        return lzma.compress(bare, lzma.FORMAT_RAW, filters=filters)

    def apply(old, patch):
        bare = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(patch)
        return hdiffpatch.apply_lite(old, bare)

    return make, apply


def peer(name):
    """Returns how the peer makes and applies."""
    name, _, data_format = name.partition("+")
    extra = {"data_format": data_format} if data_format else {}
    match name.split("-"):
        case ["detools", "lzma"]:
            return detools_peer(compression="lzma", **extra)
        case ["detools", "crle"]:
            return detools_peer(compression="crle", **extra)
        case ["detools", heatshrink]:
            window = int(heatshrink.removeprefix("hs"))
            return detools_peer(compression="heatshrink", heatshrink_window_sz2=window,
                                heatshrink_lookahead_sz2=min(window - 1, 8), **extra)
        case ["hdiff", "lzma2"]:
            return hdiff_peer(lambda library: library.Lzma2Config.best_compression())
        case ["hdiff", "zstd"]:
            return hdiff_peer(lambda library: library.ZStdConfig.best_compression())
        case ["hpatchlite", compression]:
            kib = int(compression[3:-1]) if compression.startswith("tuz") else None
            if kib:
                return lite_peer(lambda library: library.TuzConfig(dict_size=kib * 1024))
            return lite_peer(lambda library: library.TampConfig(window=int(compression.removeprefix("tamp"))))
        case ["hpatchlite", "raw", compression]:
            return lite_in_lzma(int(compression.removeprefix("lzma").removesuffix("k")) * 1024)
    raise SystemExit(f"no such peer: {name}")


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    task, name, old_path, new_path, patch_path = sys.argv[1:]
    make, apply = peer(name)
    old = pathlib.Path(old_path).read_bytes()
    given = pathlib.Path(new_path if task == "make" else patch_path).read_bytes()
    work = make if task == "make" else apply
    time_before, memory_before = used()
    result = work(old, given)
    time_after, memory_after = used()
    pathlib.Path(patch_path if task == "make" else new_path).write_bytes(result)
    print(json.dumps({"cpu_s": time_after - time_before, "peak_bytes": memory_after - memory_before}))


main()
