"""Other people's LwM2M clients, unchanged: they register, update, are read and leave."""

import json
import queue
import re
import socket
import subprocess
import threading
import time


class Device:
    """A client in a process of its own that says in a line what came of each step."""

    def __init__(self, command, log):
        self.log = log
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def await_line(self, word, within=40):
        """Waits for a line that begins so; one that tells of a failure ends it."""
        end = time.monotonic() + within
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not {word} within {within} s; see {self.log}") from None
            assert not line.startswith("failed"), line
            if line.startswith(word):
                return line

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def leave(self):
        self.process.stdin.close()
        self.await_line("deregistered")
        self.process.wait(timeout=20)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Relay:
    """Carries datagrams between a client and the server, and changes its own port towards the server when it is told:
    what a NAT does that has forgotten."""

    def __init__(self, server):
        self.server = address(server)
        self.inner = udp()
        self.outer, self.client, self.carried_back = udp(), None, 0
        threading.Thread(target=self.out, daemon=True).start()
        self.start_back()

    def start_back(self):
        threading.Thread(target=self.back, args=(self.outer,), daemon=True).start()

    def out(self):
        while True:
            data, self.client = self.inner.recvfrom(65_536)
            self.outer.sendto(data, self.server)

    def back(self, outer):
        while True:
            data, _ = outer.recvfrom(65_536)
            # What comes to the port of before is lost.
            if outer is self.outer:
                self.carried_back += 1
                self.inner.sendto(data, self.client)

    def rebind(self):
        self.outer = udp()
        self.start_back()

    def at(self):
        return f"127.0.0.1:{self.inner.getsockname()[1]}"


def udp():
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    return bound


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def check(rows, site, tools, scratch):
    node(rows, site, tools, scratch)
    leshan(rows, site, tools, scratch, "leshan-plain-1", f"coap://{site.coap}", "-", "-", "UDP")
    key = site.peers["leshan-psk-1"]["psk"]
    leshan(rows, site, tools, scratch, "leshan-psk-1", f"coaps://{site.coaps}", key, "-", "DTLS-PSK")
    in_queue_mode(rows, site, tools, scratch)
    with_cid(rows, site, tools, scratch)


def walk(rows, peer, version, over, site, name, device, read):
    """The steps of every client, a row each; after one that failed the rest would say nothing."""
    with rows.row(peer, version, f"{over}: registers"):
        device.await_line("registered")
        assert site.registered(name), "the server does not know it"
    with rows.row(peer, version, f"{over}: is read") as row:
        row["detail"] = read(site, name)
    with rows.row(peer, version, f"{over}: is offered an update that it can't take") as row:
        row["detail"] = refused_offer(site, name)
    with rows.row(peer, version, f"{over}: updates its registration"):
        before = site.registered(name)
        device.say("update")
        device.await_line("updated")
        assert before and site.registered(name), "the server has forgotten it"
    with rows.row(peer, version, f"{over}: is read after the update") as row:
        row["detail"] = read(site, name)
    with rows.row(peer, version, f"{over}: de-registers"):
        device.leave()
        assert not site.registered(name), "the server still has it"


def refused_offer(site, name, within=20):
    """Waits until a client without object 5 has answered an offer, and gives how its story tells that."""
    end = time.monotonic() + within
    while True:
        standing = site.cli("device", "explain", name)["standing"]
        assert any("it is registered" in line for line in standing), standing
        told = [line for line in standing if "to the manifest" in line]
        if told:
            return re.search(r"the device answered .* to the manifest", told[0]).group(0)
        assert time.monotonic() < end, standing
        time.sleep(0.1)


def node(rows, site, tools, scratch):
    version = json.loads((tools / "node/node_modules/lwm2m-node-lib/package.json").read_text())["version"]
    host, port = address(site.coap)
    script = tools / "node/device.js"
    device = Device(["node", script, host, str(port), "node-1"], scratch / "node.log")

    def read(site, name):
        assert site.read(name, "/3/0/0") == {"/3/0/0": "Telefonica"}
        assert site.read(name, "/3/0/9") == {"/3/0/9": 95}
        return "/3/0/0, /3/0/9 as text without a format"

    try:
        walk(rows, "lwm2m-node-lib", version, "UDP", site, "node-1", device, read)
    finally:
        device.kill()


def leshan_device(tools, scratch, name, uri, key, cid, *more):
    jars = f"{tools}/leshan/target/leshan-device-1.jar:{tools}/leshan/target/libs/*"
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", jars, "Device", uri, name, key, cid, *more]
    return Device(command, scratch / f"{name}.log")


def leshan_version(tools):
    jar = next((tools / "leshan/target/libs").glob("leshan-client-core-*.jar"))
    return re.search(r"core-(.*)\.jar", jar.name).group(1)


def read_leshan(site, name):
    assert site.read(name, "/3/0/0") == {"/3/0/0": "Eclipse"}
    whole = site.read(name, "/3/0")
    assert whole["/3/0/1"] == "Leshan" and whole["/3/0/2"] == "4711", whole
    servers = site.read(name, "/1")
    assert servers["/1/0/1"] == 300, servers
    try:
        site.read(name, "/3/0/99")
    except AssertionError as error:
        assert "4.04" in str(error), error
    else:
        raise AssertionError("/3/0/99 was read")
    formats = site.cli("device", "read", name, "/3/0")["content_format"]
    return f"/3/0 ({len(whole)} values), /1, in format {formats}; 4.04 for /3/0/99"


def leshan(rows, site, tools, scratch, name, uri, key, cid, over):
    device = leshan_device(tools, scratch, name, uri, key, cid)
    try:
        walk(rows, "Leshan client", leshan_version(tools), over, site, name, device, read_leshan)
    finally:
        device.kill()


def in_queue_mode(rows, site, tools, scratch):
    """It says that it sleeps, as LwM2M 1.1 has it; that client itself never does."""
    name = "leshan-plain-1"
    device = leshan_device(tools, scratch, name, f"coap://{site.coap}", "-", "-", "queue")
    try:
        with rows.row("Leshan client", leshan_version(tools), "UDP in queue mode: registers, and is read while awake") as row:
            device.await_line("registered")
            queue = site.cli("device", "show", name)["queue_mode"]
            left = queue["until"] - time.time()
            assert not queue["asleep"] and 60 < left < 95, queue
            read_leshan(site, name)
            row["detail"] = "awake for 93 s"
            device.leave()
    finally:
        device.kill()


def with_cid(rows, site, tools, scratch):
    """Behind a NAT that forgets: with a connection id the session goes on, without a handshake and a registration."""
    name, version = "leshan-cid-1", leshan_version(tools)
    # Each contact brings a device the offer of a running campaign, and here datagrams are counted.
    site.end_campaigns()
    relay = Relay(site.coaps)
    key = site.peers[name]["psk"]
    device = leshan_device(tools, scratch, name, f"coaps://{relay.at()}", key, "4")
    try:
        with rows.row("Leshan client", version, "DTLS-PSK with CID: registers and is read") as row:
            registered = device.await_line("registered")
            row["detail"] = read_leshan(site, name)
        with rows.row("Leshan client", version, "DTLS-PSK with CID: goes on behind another port of the NAT") as row:
            before = site.registered(name)
            relay.rebind()
            carried = relay.carried_back
            device.say("update")
            updated = device.await_line("updated")
            assert updated.split()[1] == registered.split()[1], "another registration"
            after = site.registered(name)
            assert after != before, "the server still has the old address"
            datagrams = relay.carried_back - carried
            assert datagrams == 1, f"{datagrams} datagrams came back: more than the answer to the update"
            read_leshan(site, name)
            row["detail"] = f"{before} to {after}, one datagram back, then read"
        with rows.row("Leshan client", version, "DTLS-PSK with CID: de-registers"):
            device.leave()
            assert not site.registered(name), "the server still has it"
    finally:
        device.kill()
