"""Measures deltas over a folder of image pairs: ours at each profile, beside every peer, in one run.

The folder holds a `pairs.tsv` with the columns pair, arch, kind, old, new (further ones are not read): a name, an
architecture as `cortex-m4`, a step as `minor`, `mid` or `major`, and two files. A `baselines.tsv` beside it, with the
columns pair, method, class, patch_bytes, is taken as recorded figures of tools that are not installed here.
"""

import argparse
import csv
import fnmatch
import hashlib
import json
import os
import pathlib
import sys
import tempfile
import time

import measure
import table
import tools


def main():
    options = arguments()
    pairs = read_pairs(options.corpus, options.pairs)
    ours = [tools.Ours(options.binary, name) for name in tools.PROFILES]
    all_tools = ours + tools.peers()
    kept = Kept(options.out / "peers.json", options.reuse)
    rows = []
    for number, pair in enumerate(pairs, 1):
        row = {**pair, "tools": {}}
        for tool in all_tools:
            progress(f"[{number}/{len(pairs)}] {pair['pair']}  {tool.name}")
            if tool.accepts(pair):
                row["tools"][tool.name] = kept.result(tool, pair, lambda tool=tool: measured(tool, pair))
        if options.independent and pair["new_size"] <= options.independent_bytes:
            progress(f"[{number}/{len(pairs)}] {pair['pair']}  independent decoder")
            row["independent"] = independent(options, pair)
        rows.append(row)
        progress("")
        print(table.line(row, number, len(pairs)), flush=True)
    recorded = read_recorded(options.corpus)
    report = table.report(rows, all_tools, recorded, kept.reused)
    report["machine"] = {"cpus": os.cpu_count(), "load": os.getloadavg(), "began": options.began}
    path = options.out / "result.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(table.text(report))
    print(f"\nJSON: {path}")
    faults = [(row["pair"], name) for row in rows for name, one in row["tools"].items() if "error" in one]
    faults = [fault for fault in faults if fault[1].startswith("ours")]
    faults += [(row["pair"], "independent decoder") for row in rows if "error" in row.get("independent", {})]
    return 1 if faults else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path, help="folder with a pairs.tsv")
    parser.add_argument("--binary", required=True, help="our command")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for result.json")
    parser.add_argument("--pairs", default="",
                        help="only pairs whose name has one of these in it, or fits it as a pattern, by commas; "
                             "without it all but containers")
    parser.add_argument("--reuse", action="store_true",
                        help="take the peers' figures of an earlier run, for the same images and versions")
    parser.add_argument("--independent", type=pathlib.Path, help="a decoder to run over our patches as well")
    parser.add_argument("--independent-bytes", type=int, default=1 << 17,
                        help="largest image that it is run on (default %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return options


def read_pairs(corpus, wanted):
    """Reads the pairs that are wanted, with sizes and digests of their files."""
    path = corpus / "pairs.tsv"
    if not path.is_file():
        sys.exit(f"{path} is missing: name a folder that has it, as in `make bench-delta CORPUS=DIR`")
    wanted = [one for one in wanted.split(",") if one]
    pairs = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if not is_wanted(row, wanted):
                continue
            old, new = corpus / row["old"], corpus / row["new"]
            contents = old.read_bytes(), new.read_bytes()
            digests = [hashlib.sha256(content).hexdigest() for content in contents]
            pairs.append({"pair": row["pair"], "arch": row["arch"], "kind": row["kind"], "old": str(old),
                          "new": str(new), "old_size": len(contents[0]), "new_size": len(contents[1]),
                          "digests": digests})
    if not pairs:
        sys.exit("no pair of pairs.tsv is wanted by PAIRS")
    return pairs


def is_wanted(row, wanted):
    if not wanted:
        return row["kind"] != "container"
    return any(one in row["pair"] or fnmatch.fnmatch(row["pair"], one) for one in wanted)


def read_recorded(corpus):
    """Reads patch sizes that were recorded elsewhere: {pair: {method: bytes}}. Prototypes and full images are left."""
    path = corpus / "baselines.tsv"
    if not path.is_file():
        return {}
    recorded = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            is_delta = "proto" not in row["class"] and row["class"] not in ("full image", "in-place")
            if is_delta and row["patch_bytes"].isdigit():
                recorded.setdefault(row["pair"], {})[row["method"]] = int(row["patch_bytes"])
    return recorded


def measured(tool, pair):
    """Makes a patch, applies it, and compares what came out."""
    extra = {"pair": pair} if isinstance(tool, tools.Library) else {}
    with tempfile.TemporaryDirectory() as folder:
        patch, new = f"{folder}/patch", f"{folder}/new"
        try:
            made = tool.make(pair["old"], pair["new"], patch, **extra)
            applied = tool.apply(pair["old"], patch, new, **extra)
        except measure.Failed as failed:
            return {"error": str(failed)}
        with open(new, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != pair["digests"][1]:
                return {"error": "what it makes is not the new image"}
        return {"bytes": os.path.getsize(patch), "state_bytes": tool.state_bytes, "make_s": made.cpu_s,
                "make_peak_bytes": made.peak_bytes, "apply_s": applied.cpu_s}


def independent(options, pair):
    """Runs another decoder, which follows the format's description alone, over a patch of each profile."""
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in tools.PROFILES:
            patch, new = f"{folder}/{name}.patch", f"{folder}/{name}.new"
            tools.Ours(options.binary, name).make(pair["old"], pair["new"], patch)
            try:
                _, cpu_s, _ = measure.run([sys.executable, str(options.independent), pair["old"], patch, new])
            except measure.Failed as failed:
                return {"error": f"{name}: {failed}"}
            with open(new, "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != pair["digests"][1]:
                    return {"error": f"{name}: what it makes is not the new image"}
            took[name] = cpu_s
    return {"cpu_s": took}


class Kept:
    """Figures of peers from earlier runs: their sizes never change, and they take most of the time."""

    def __init__(self, path, may_reuse):
        self.path, self.may_reuse, self.reused = path, may_reuse, 0
        self.results = json.loads(path.read_text()) if path.is_file() else {}

    def result(self, tool, pair, measure_it):
        if tool.is_ours:
            return measure_it()
        key = " ".join([tool.name, tool.version, *pair["digests"]])
        if self.may_reuse and key in self.results:
            self.reused += 1
        else:
            self.results[key] = measure_it()
            self.path.write_text(json.dumps(self.results))
        return self.results[key]


def progress(text):
    """Shows on a terminal what goes on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
