"""zcbor holds every message of a real run, and the vectors, to update.cddl."""

import contextlib
import io
from collections import Counter
from importlib.metadata import version

import cbor2
from zcbor import DataTranslator

# What each file of the vectors is; the COSE ones have a suffix of their own.
KINDS = {
    "anchors": "Anchors", "answer": "Answer", "answer-verdict": "Answer", "bundle": "Bundle", "descriptor": "Descriptor",
    "grant": "Grant", "receipt": "Receipt", "report": "Report", "request": "Update-Request", "verdict": "Verdict",
    "selector": "Selector",
}
MESSAGES = {
    "Anchors": "Anchors-Msg", "Bundle": "Bundle-Msg", "Descriptor": "Descriptor-Msg", "Grant": "Grant-Msg",
    "Receipt": "Receipt-Msg", "Update-Request": "Request-Msg", "Verdict": "Verdict-Msg",
}
# Refused ones whose fault is in their structure; the others' fault is a key, a digest, an order or a rule.
STRUCTURAL = {
    "refused-version-2.mac0": "Grant-Msg",
    "refused-unprotected-header.mac0": "Grant-Msg",
}
TWO_OF_A_NAME = "? 6 => COSE_Key"


class Schema:
    def __init__(self, project):
        structures = (project / "manifests/update.cddl").read_text()
        # zcbor names members without a name after their type, and takes no two of a name.
        assert TWO_OF_A_NAME in structures
        structures = structures.replace(TWO_OF_A_NAME, "? 6 => Share-Key")
        messages = (project / "tests/interop/messages.cddl").read_text()
        self.types = DataTranslator.from_cddl(structures + "\n" + messages, 1_000).my_types

    def check(self, kind, message):
        # It prints a tree of alternatives for whatever does not fit.
        with contextlib.redirect_stdout(io.StringIO()):
            fits = self.types[kind].validate_str(message)
        assert fits, f"{len(message)} B are no {kind}"

    def refuses(self, kind, message):
        try:
            self.check(kind, message)
        except Exception:
            return True
        return False


def check(rows, walked, project):
    zcbor = version("zcbor")
    with rows.row("zcbor", zcbor, "reads update.cddl") as row:
        schema = Schema(project)
        row["detail"] = f"{len(schema.types)} types"
    kinds = Counter(one["type"] for one in walked["messages"])
    for kind, count in sorted(kinds.items()):
        with rows.row("zcbor", zcbor, f"{kind} of a real run") as row:
            for one in walked["messages"]:
                if one["type"] == kind:
                    schema.check(kind, bytes.fromhex(one["bytes"]))
                    damage(schema, kind, bytes.fromhex(one["bytes"]))
            row["detail"] = f"{count} hold, damaged ones are refused"
    vectors = project / "manifests/tests/vectors/update"
    with rows.row("zcbor", zcbor, "vectors, bare and in COSE") as row:
        held = 0
        for path in sorted(vectors.iterdir()):
            kind = kind_of(path)
            if kind:
                schema.check(kind, path.read_bytes())
                held += 1
        assert held >= 40, f"only {held} vectors have a kind"
        row["detail"] = f"{held} hold"
    with rows.row("zcbor", zcbor, "vectors that are refused for their structure") as row:
        for name, kind in STRUCTURAL.items():
            assert schema.refuses(kind, (vectors / name).read_bytes()), name
        row["detail"] = f"{len(STRUCTURAL)} refused"


def kind_of(path):
    if path.name.startswith("refused") or path.suffix == ".bin":
        return None
    stem = path.stem
    bare = KINDS.get(stem) or KINDS.get(stem.split("-")[0])
    return bare if path.suffix == ".cbor" else MESSAGES.get(bare)


def damage(schema, kind, message):
    """One element more, one less, and another version."""
    outer = cbor2.loads(message)
    tagged = isinstance(outer, cbor2.CBORTag) and outer.tag in (17, 18)
    inner = cbor2.loads(outer.value[2]) if tagged else outer
    if not isinstance(inner, list):
        return
    # The descriptor of an answer may be left out, and an answer has no version.
    wrongs = (inner + [0], []) if kind == "Answer-Msg" else (inner + [0], inner[:-1], [2] + inner[1:])
    for wrong in wrongs:
        if tagged:
            value = [*outer.value[:2], cbor2.dumps(wrong), outer.value[3]]
            wrong = cbor2.CBORTag(outer.tag, value)
        assert schema.refuses(kind, cbor2.dumps(wrong)), f"takes {cbor2.dumps(wrong).hex()[:80]}"
