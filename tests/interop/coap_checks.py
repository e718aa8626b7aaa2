"""Other people's CoAP clients against the real server: block-wise both ways, over UDP and DTLS, and odd input."""

import asyncio
import re
import subprocess
from importlib.metadata import version

import aiocoap
from aiocoap.error import NetworkError, TimeoutError as CoapTimeout
from aiocoap.numbers import ContentFormat
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import OpaqueOption

LINK_FORMAT = 40
# Larger than two blocks of the largest size, so that Block1 is needed.
OBJECTS = ",".join(['</>;rt="oma.lwm2m"', "</1/0>", "</3/0>"] + [f"</{30_000 + n}/0>" for n in range(200)])


def libcoap_version(tool):
    said = subprocess.run([tool, "-V"], capture_output=True, text=True)
    found = re.search(r"v(\d+\.\d+\.\d+\w*)", said.stdout + said.stderr)
    return found.group(1) if found else "?"


class Libcoap:
    """One build of coap-client."""

    def __init__(self, kind, uri, login=()):
        self.tool, self.uri, self.login = f"coap-client-{kind}", uri, list(login)

    def run(self, *words, path="", wait=20):
        command = [self.tool, "-B", str(wait), *self.login, *words, self.uri + path]
        return subprocess.run(command, capture_output=True, timeout=wait + 20)

    def code(self, *words, path=""):
        """Response codes that the client shows of itself, the last one first."""
        done = self.run("-v", "7", *words, path=path)
        found = re.findall(rb"c:([245]\.\d\d)", done.stdout + done.stderr)
        if not found:
            raise AssertionError((done.stdout + done.stderr)[-200:].decode(errors="replace"))
        return found[-1].decode()


def check(rows, site, walked, scratch):
    content = b"".join(bytes.fromhex(frame) for frame in walked["walker"]["frames"])
    path = "/" + walked["walker"]["location"].lstrip("/")
    (scratch / "objects").write_text(OBJECTS)
    plain = Libcoap("notls", f"coap://{site.coap}")
    libcoap(rows, plain, "UDP", content, path, scratch, "libcoap-plain-1")
    with rows.row(plain.tool, libcoap_version(plain.tool), "UDP: lost datagrams are sent again") as row:
        out = scratch / "lost"
        plain.run("-l", "2,5", "-o", out, path=path, wait=60)
        assert out.read_bytes() == content
        row["detail"] = "the 2nd and 5th datagram lost"
    name = fit_for_a_command_line(site)
    for kind in ("openssl", "gnutls"):
        secured = Libcoap(kind, f"coaps://{site.coaps}", ["-u", name, "-k", site.key(name)])
        libcoap(rows, secured, "DTLS-PSK", content, path, scratch, name)
        with rows.row(secured.tool, libcoap_version(secured.tool), "DTLS-PSK: a wrong key gets nothing, the right one then does"):
            wrong = Libcoap(kind, f"coaps://{site.coaps}", ["-u", name, "-k", "a wrong key"])
            done = wrong.run(path="/nothing", wait=5)
            assert b"4.04" not in done.stdout + done.stderr, "an answer under a wrong key"
            assert secured.code(path="/nothing") == "4.04"
    asyncio.run(aiocoap_rows(rows, site, content, path))


def fit_for_a_command_line(site):
    """coap-client takes its key as an argument, which ends at a zero byte."""
    for name in site.peers:
        if name.startswith("libcoap-") and site.peers[name]["security"] == "psk" and 0 not in site.key(name):
            return name
    raise SystemExit("every key has a zero byte; run it again")


def libcoap(rows, client, over, content, path, scratch, name):
    known = libcoap_version(client.tool)
    with rows.row(client.tool, known, f"{over}: reads a frame resource by Block2") as row:
        out = scratch / f"{client.tool}-frames"
        client.run("-o", out, path=path)
        assert out.read_bytes() == content, f"{out.stat().st_size} B instead of {len(content)}"
        row["detail"] = f"{len(content)} B"
    with rows.row(client.tool, known, f"{over}: reads it in blocks of 256"):
        out = scratch / f"{client.tool}-small"
        client.run("-b", "0,256", "-o", out, path=path)
        assert out.read_bytes() == content, f"{out.stat().st_size} B instead of {len(content)}"
    with rows.row(client.tool, known, f"{over}: registers with a payload by Block1") as row:
        query = f"/rd?ep={name}&lt=300&lwm2m=1.1&b=U"
        upload = ["-m", "post", "-t", str(LINK_FORMAT), "-f", scratch / "objects", "-b", "256"]
        code = client.code(*upload, path=query)
        assert code == "2.01", code
        row["detail"] = f"{len(OBJECTS)} B"
    with rows.row(client.tool, known, f"{over}: unknown options, critical 4.02, elective ignored"):
        assert client.code("-O", "65001,x", path=path) == "4.02"
        assert client.code("-O", "65000,x", path="/nothing") == "4.04"
    with rows.row(client.tool, known, f"{over}: wrong method, unknown path, garbage as a request"):
        assert client.code("-m", "delete", path="/rd/nothing") == "4.04"
        assert client.code("-m", "get", path="/nothing") == "4.04"
        assert client.code("-m", "post", "-t", "65100", "-e", "garbage", path="/u") == "4.00"


async def aiocoap_rows(rows, site, content, path):
    known = version("aiocoap")
    with rows.row("aiocoap", known, "UDP: Block2, Block1, unknown critical option") as row:
        context = await aiocoap.Context.create_client_context()
        try:
            await aiocoap_case(context, f"coap://{site.coap}", content, path, "aiocoap-plain-1")
        finally:
            await context.shutdown()
        row["detail"] = f"{len(content)} B down, {len(OBJECTS)} B up"
    # tinydtls as it is packaged takes keys of 16 bytes at most, and the server gives keys of 32.
    short, key = site.short, bytes.fromhex(site.short["psk"])
    with rows.row("aiocoap + tinydtls", known, "DTLS-PSK, key of 16 B, our shard: Block2, Block1") as row:
        context = await secured(short["coaps"], short["name"], key)
        try:
            await short_case(context, f"coaps://{short['coaps']}", bytes.fromhex(short["content"]))
        finally:
            await context.shutdown()
        row["detail"] = f"DTLSSocket {version('DTLSSocket')}"
    with rows.row("aiocoap + tinydtls", known, "DTLS-PSK: a wrong key gets nothing"):
        await silence(short["coaps"], short["name"], b"another key")
    with rows.row("aiocoap + tinydtls", known, "DTLS-PSK: its alert in the handshake hurts nobody else"):
        await silence(site.coaps, "aiocoap-1", site.key("aiocoap-1"))
        name = fit_for_a_command_line(site)
        other = Libcoap("openssl", f"coaps://{site.coaps}", ["-u", name, "-k", site.key(name)])
        assert other.code(path="/nothing") == "4.04"


async def silence(coaps, name, key):
    """No answer comes."""
    context = await secured(coaps, name, key)
    try:
        request = context.request(aiocoap.Message(code=aiocoap.GET, uri=f"coaps://{coaps}/nothing"))
        answer = await asyncio.wait_for(request.response, 8)
        raise AssertionError(f"an answer: {answer.code}")
    except (asyncio.TimeoutError, NetworkError, CoapTimeout):
        pass
    finally:
        await context.shutdown()


async def secured(coaps, name, key):
    context = await aiocoap.Context.create_client_context()
    psk = {"dtls": {"psk": {"hex": key.hex()}, "client-identity": {"ascii": name}}}
    context.client_credentials.load_from_dict({f"coaps://{coaps}/*": psk})
    return context


async def short_case(context, uri, content):
    ask = lambda message: asyncio.wait_for(context.request(message).response, 30)
    got = await ask(aiocoap.Message(code=aiocoap.GET, uri=uri + "/x"))
    assert got.code == aiocoap.CONTENT and got.payload == content, f"{got.code}, {len(got.payload)} B"
    put = await ask(aiocoap.Message(code=aiocoap.POST, uri=uri + "/x", payload=OBJECTS.encode()))
    assert put.payload == str(len(OBJECTS)).encode(), put.payload


async def aiocoap_case(context, uri, content, path, name):
    ask = lambda message: asyncio.wait_for(context.request(message).response, 30)
    got = await ask(aiocoap.Message(code=aiocoap.GET, uri=uri + path))
    assert got.code == aiocoap.CONTENT and got.payload == content, f"{got.code}, {len(got.payload)} B"
    register = f"{uri}/rd?ep={name}&lt=300&lwm2m=1.1&b=U"
    message = aiocoap.Message(code=aiocoap.POST, uri=register, payload=OBJECTS.encode())
    message.opt.content_format = ContentFormat(LINK_FORMAT)
    created = await ask(message)
    assert created.code == aiocoap.CREATED, created.code
    strange = aiocoap.Message(code=aiocoap.GET, uri=uri + path)
    strange.opt.add_option(OpaqueOption(OptionNumber(65001), b"x"))
    refused = await ask(strange)
    assert refused.code == aiocoap.BAD_OPTION, refused.code
    gone = await ask(aiocoap.Message(code=aiocoap.DELETE, uri=f"{uri}/{'/'.join(created.opt.location_path)}"))
    assert gone.code == aiocoap.DELETED, gone.code
