"""An envelope that somebody else's tool made is read by ours, and what is wrong with one is said."""

import hashlib
import uuid
from importlib.metadata import version

import cbor2
import taylor
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def description(vendor, image, together=False):
    """A manifest as taylor takes it. taylor sorts parameters by their names, not by their keys, so each has a directive
    of its own unless they shall stand `together`."""
    vendor_id = uuid.uuid5(uuid.NAMESPACE_DNS, vendor)
    parameters = {
        "vendor-id": str(vendor_id),
        "class-id": str(uuid.uuid5(vendor_id, "meter")),
        "image-digest": {"algorithm": "sha256", "digest": hashlib.sha256(image).hexdigest()},
        "image-size": len(image),
    }
    override = "suit-directive-override-parameters"
    directives = [{override: parameters}] if together else [{override: {k: v}} for k, v in parameters.items()]
    conditions = [{"suit-condition-vendor-identifier": 15}, {"suit-condition-class-identifier": 15}]
    return {
        "version": 1,
        "sequence-number": 7,
        "suit-common": {"suit-components": [["617070"]], "suit-shared-sequence": directives + conditions},
        "sequence": {"image-validation": [{"suit-condition-image-match": 15}]},
    }


def check(rows, site, scratch):
    known = version("taylor-suit")
    image = b"firmware" * 1_000
    manifest = description("example.com", image)
    path, anchors = scratch / "taylor.suit", site.work_path() / "anchors.cose"
    with rows.row("taylor-suit", known, "its envelope is read by `manifest show`") as row:
        path.write_bytes(taylor.build_envelope(manifest))
        check_shown(site.cli("manifest", "show", path), path)
        row["detail"] = f"{path.stat().st_size} B"
    with rows.row("taylor-suit", known, "its signature (ES256, no kid) is read, and not believed") as row:
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(taylor.build_envelope(manifest, key_pem=key))
        check_shown(site.cli("manifest", "show", path), path)
        row["detail"] = refused(site, "manifest", "show", path, "--anchors", anchors)
    with rows.row("taylor-suit", known, "its manifest, signed by our tool, is verified"):
        path.write_bytes(taylor.build_envelope(manifest))
        signed = scratch / "taylor-signed.suit"
        signed.unlink(missing_ok=True)
        site.cli("manifest", "sign", path, "--key", site.work_path() / "author.key", "--out", signed)
        shown = site.cli("manifest", "show", signed, "--anchors", anchors)
        check_shown(shown, path)
        assert shown["verified"] and len(shown["signers"]) == 1, shown
    with rows.row("taylor-suit", known, "its parameters in the order of names are refused by name") as row:
        path.write_bytes(taylor.build_envelope(description("example.com", image, together=True)))
        row["detail"] = refused(site, "manifest", "show", path)
        assert "order" in row["detail"], row["detail"]
    with rows.row("taylor-suit", known, "its envelope, altered, is refused") as row:
        envelope = cbor2.loads(taylor.build_envelope(manifest))
        envelope.value[3] = envelope.value[3][:-1] + bytes([envelope.value[3][-1] ^ 1])
        path.write_bytes(cbor2.dumps(envelope))
        row["detail"] = refused(site, "manifest", "show", path)


def refused(site, *words):
    """What our tool says against it."""
    try:
        site.cli(*words)
    except AssertionError as error:
        return str(error).split(": ", 1)[-1][:160]
    raise AssertionError("it was not refused")


def check_shown(shown, path):
    manifest = cbor2.loads(path.read_bytes()).value[3]
    digest = hashlib.sha256(cbor2.dumps(manifest)).hexdigest()
    assert (shown["digest"], shown["sequence_number"], shown["components"]) == (digest, 7, ["app"]), shown
