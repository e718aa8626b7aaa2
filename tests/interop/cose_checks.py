"""Every message of a real walk, opened by other people's COSE from what the specification says, and nothing of ours."""

import hashlib
import io
from importlib.metadata import version

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cwt import COSE, COSEKey
from pycose.keys import SymmetricKey
from pycose.messages import Mac0Message


def sha256(data):
    return hashlib.sha256(data).digest()


def encode(value):
    return cbor2.dumps(value, canonical=True)


class Walker:
    """The device's side: seed in, keys of a place out."""

    def __init__(self, walk):
        self.name, self.epoch = walk["name"], walk["epoch"]
        self.seed, self.length = bytes.fromhex(walk["seed"]), walk["chain_length"]

    def link(self, index):
        link = self.seed
        for _ in range(self.length - index):
            link = sha256(b"bw1" + link)
        return link

    def key(self, purpose, algorithm, index, length):
        info = encode(["bw1", purpose, algorithm, self.name, self.epoch, index])
        return HKDFExpand(SHA256(), length, info).derive(self.link(index))

    def up(self, index):
        return self.key("up", 5, index, 32)

    def down(self, index):
        return self.key("down", 5, index, 32)

    def wrap(self, index):
        return self.key("wrap", -5, index, 32)


def open_mac(message, key, aad):
    cose_key = COSEKey.new({1: 4, 3: 5, -1: key})
    return cbor2.loads(COSE.new().decode(message, cose_key, external_aad=aad))


def open_mac_by_pycose(message, key, aad):
    mac0 = Mac0Message.decode(message)
    mac0.key, mac0.external_aad = SymmetricKey(k=key), aad
    assert mac0.verify_tag(), "pycose does not verify the tag"
    return cbor2.loads(mac0.payload)


def kid(cose_key):
    return sha256(encode({label: cose_key[label] for label in (1, -1, -2, -3)}))[:8]


def open_signed(message, cose_key, aad, detached=None):
    tagged = cbor2.loads(message)
    header = cbor2.loads(tagged.value[0])
    assert header == {1: -9, 4: kid(cose_key)}, f"protected header {header}"
    return COSE.new().decode(message, with_kid(cose_key), external_aad=aad, detached_payload=detached)


def refused(check):
    """What was altered must not pass."""
    try:
        check()
    except Exception:
        return
    raise AssertionError("an altered message passed")


def altered(message):
    return message[:-1] + bytes([message[-1] ^ 1])


def roles(anchors):
    return {role[0]: role[2] for role in anchors[4]}


def check(rows, walked):
    cwt, pycose = version("cwt"), version("pycose")
    walk, walker = walked["walker"], Walker(walked["walker"])
    take = lambda name: bytes.fromhex(walk[name])
    anchors_message = bytes.fromhex(walked["anchors"])
    anchors = cbor2.loads(cbor2.loads(anchors_message).value[2])
    author, distributor = roles(anchors)["author"][0], roles(anchors)["distributor"][0]
    envelope = bytes.fromhex(walked["envelope"])
    request, answer = take("request"), cbor2.loads(take("answer"))
    grant_message, descriptor_message = answer
    opened = {}

    with rows.row("cwt", cwt, "anchors: COSE_Sign by the root key"):
        root = roles(anchors)["root"][0]
        opened["anchors"] = COSE.new().decode(anchors_message, [with_kid(root)], external_aad=b"bw1 anchors")
        refused(lambda: COSE.new().decode(anchors_message, [with_kid(author)], external_aad=b"bw1 anchors"))

    with rows.row("cwt", cwt, "envelope: SUIT authentication by the author's key") as row:
        check_envelope(envelope, author, walked)
        row["detail"] = f"{len(envelope)} B, ESP256"

    with rows.row("cwt", cwt, "request: Mac0 under the up key that the seed leads to"):
        place = [walker.name, walker.epoch, 0]
        payload = open_mac(request, walker.up(0), b"bw1 request" + b"/u")
        assert payload[:4] == [1, *place], payload[:4]
        assert payload[5] == take("fork") and cbor2.loads(payload[7])[0].hex() == walked["manifest"]
        opened["request"] = payload
        refused(lambda: open_mac(altered(request), walker.up(0), b"bw1 request/u"))
        refused(lambda: open_mac(request, walker.down(0), b"bw1 request/u"))

    with rows.row("cwt", cwt, "descriptor: Sign1 by the distributor of the anchors") as row:
        descriptor = cbor2.loads(open_signed(descriptor_message, distributor, b"bw1 descriptor"))
        assert descriptor[1].hex() == walked["manifest"]
        assert descriptor[2] == sha256(opened["request"][7]), "selector hash"
        opened["descriptor"] = descriptor
        refused(lambda: open_signed(altered(descriptor_message), distributor, b"bw1 descriptor"))
        refused(lambda: open_signed(descriptor_message, distributor, b"bw1 bundle"))
        row["detail"] = f"{len(descriptor_message)} B"

    with rows.row("cwt", cwt, "grant: Mac0 under the down key") as row:
        grant = open_mac(grant_message, walker.down(0), b"bw1 grant")
        assert grant[:5] == [1, 0, walker.name, walker.epoch, 0], grant[:5]
        assert grant[6:8] == opened["descriptor"][1:3]
        opened["grant"] = grant
        refused(lambda: open_mac(altered(grant_message), walker.down(0), b"bw1 grant"))
        refused(lambda: open_mac(grant_message, walker.down(1), b"bw1 grant"))
        row["detail"] = f"{len(grant_message)} B"

    with rows.row("cryptography", version("cryptography"), "frames: chain, AES-KW unwrap, AES-CTR, image digest") as row:
        frames = [bytes.fromhex(frame) for frame in walk["frames"]]
        image = open_content(frames, opened["descriptor"], opened["grant"], walker)
        assert image == bytes.fromhex(walked["image"]), "another image"
        row["detail"] = f"{len(frames)} frames, {len(image)} B"

    with rows.row("cwt", cwt, "reports and receipts: Mac0 under up and down keys"):
        for name in ("decrypted", "installed"):
            check_report(bytes.fromhex(walk[name]["report"]), bytes.fromhex(walk[name]["receipt"]), walker, opened["grant"])

    with rows.row("cwt", cwt, "fork head moves over the confirming report"):
        report = bytes.fromhex(walk["installed"]["report"])
        head = sha256(b"bw1 fork" + take("fork") + sha256(report))[:8]
        assert head == take("fork_after"), head.hex()

    with rows.row("cwt", cwt, "verdicts prove and nothing: bound to nonce and place"):
        prove = open_mac(cbor2.loads(take("again"))[0], walker.down(0), b"bw1 verdict")
        assert prove[:6] == [1, 5, walker.name, walker.epoch, 0, opened["request"][6]], prove
        asked = open_mac(bytes.fromhex(walk["nothing"]["request"]), walker.up(1), b"bw1 request/u")
        answered = cbor2.loads(bytes.fromhex(walk["nothing"]["answer"]))
        nothing = open_mac(answered[0], walker.down(1), b"bw1 verdict")
        assert nothing[:6] == [1, 1, walker.name, walker.epoch, 1, asked[6]] and nothing[7] is None, nothing

    with rows.row("cwt", cwt, "bundle: Sign1 by the distributor, descriptors inside verify"):
        bundle = cbor2.loads(open_signed(bytes.fromhex(walked["bundle"]), distributor, b"bw1 bundle"))
        assert bundle[3] == envelope
        for descriptor in bundle[4]:
            open_signed(descriptor, distributor, b"bw1 descriptor")

    with rows.row("cwt", cwt, "grant with shares for the next seed: Sign1 by the distributor"):
        signed = [bytes.fromhex(one["bytes"]) for one in walked["messages"] if one["type"] == "Grant-Or-Verdict-Msg"]
        signed = [message for message in signed if cbor2.loads(message).tag == 18]
        assert len(signed) == 1, f"{len(signed)} signed grants"
        grant = cbor2.loads(open_signed(signed[0], distributor, b"bw1 grant"))
        server, device = grant[11][3]
        for share in (server, device):
            ec.EllipticCurvePublicNumbers(
                int.from_bytes(share[-2], "big"), int.from_bytes(share[-3], "big"), ec.SECP256R1()
            ).public_key()

    with rows.row("pycose", pycose, "request, grant, reports, receipts, verdicts: the same MACs"):
        open_mac_by_pycose(request, walker.up(0), b"bw1 request/u")
        open_mac_by_pycose(grant_message, walker.down(0), b"bw1 grant")
        open_mac_by_pycose(cbor2.loads(take("again"))[0], walker.down(0), b"bw1 verdict")
        for name in ("decrypted", "installed"):
            report = bytes.fromhex(walk[name]["report"])
            open_mac_by_pycose(cbor2.loads(report)[-1], walker.up(0), report_aad(report))
            open_mac_by_pycose(bytes.fromhex(walk[name]["receipt"]), walker.down(0), b"bw1 receipt")
        refused(lambda: open_mac_by_pycose(altered(request), walker.up(0), b"bw1 request/u"))


def with_kid(cose_key):
    return COSEKey.new({**cose_key, 3: -9, 2: kid(cose_key)})


def check_envelope(envelope, author, walked):
    outer = cbor2.loads(envelope)
    assert outer.tag == 107, outer.tag
    digest, block = cbor2.loads(outer.value[2])
    # The digest is over the manifest with the head of its byte string.
    assert cbor2.loads(digest) == [-16, sha256(cbor2.dumps(outer.value[3]))], "manifest digest"
    assert cbor2.loads(digest)[1].hex() == walked["manifest"]
    open_signed(block, author, b"", detached=digest)
    refused(lambda: open_signed(block, author, b"", detached=altered(digest)))
    manifest = cbor2.loads(outer.value[3])
    assert manifest[16] == [-16, sha256(cbor2.dumps(outer.value[16]))], "severed payload-fetch"
    # The PEM that the author keeps is the key of the anchors.
    numbers = load_pem_public_key(bytes.fromhex(walked["author"])).public_numbers()
    assert numbers.x.to_bytes(32, "big") == author[-2] and numbers.y.to_bytes(32, "big") == author[-3]


def open_content(frames, descriptor, grant, walker):
    resource, right = descriptor[5][0], grant[8][0]
    content_digest, content_size = resource[2:4]
    algorithm, block, root = resource[8]
    assert algorithm == -16 and resource[1] == 1, resource[:3]
    content, expected = b"", root
    for frame in frames:
        assert sha256(frame) == expected, "a frame that the one before does not name"
        content, expected = content + frame[:-32], frame[-32:]
        assert len(frame) <= block + 32
    assert expected == bytes(32), "the last frame names another one"
    assert len(content) == content_size and sha256(content) == content_digest == right[1]
    component, _, installed, cipher, iv, (kw, wrapped) = right
    assert (component, cipher, kw) == (0, -65532, -5), (component, cipher, kw)
    key = aes_key_unwrap(walker.wrap(0), wrapped)
    decryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor()
    plain = decryptor.update(content) + decryptor.finalize()
    assert sha256(plain) == resource[4] == installed == resource[6]
    return plain


def report_aad(report):
    """The report's bytes before its last element."""
    reader = io.BytesIO(report)
    assert report[0] == 0x88, "eight elements"
    reader.read(1)
    decoder = cbor2.CBORDecoder(reader)
    for _ in range(7):
        decoder.decode()
    return b"bw1 report" + report[: reader.tell()]


def check_report(report, receipt, walker, grant):
    outer = cbor2.loads(report)
    assert outer[:5] == [1, walker.name, walker.epoch, 0, grant[5]], outer[:5]
    suit_report = open_mac(outer[-1], walker.up(0), report_aad(report))
    assert suit_report, "an empty SUIT_Report"
    refused(lambda: open_mac(outer[-1], walker.up(0), report_aad(report).replace(b"report", b"grant")))
    answer = open_mac(receipt, walker.down(0), b"bw1 receipt")
    assert answer[:5] == [1, walker.name, walker.epoch, 0, sha256(report)], answer
