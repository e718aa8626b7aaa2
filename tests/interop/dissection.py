"""tshark takes apart what went over the wire: CoAP, DTLS and MQTT, and nothing of it is malformed."""

import os
import re
import subprocess
import time


def version():
    said = subprocess.run(["tshark", "--version"], capture_output=True, text=True).stdout
    return re.search(r"(\d+\.\d+\.\d+)", said).group(1)


# tshark 4.0 calls an option malformed that it does not know: Request-Tag (RFC 9175), which libcoap sends, and the
# critical option that nobody knows.
MALFORMED = '_ws.malformed && !(coap.opt.name contains "Unknown Option")'


class Capture:
    """Listens on loopback from before the site is there: a record to a connection ID can only be taken apart by who has
    seen the handshake that says how long that is."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a run before has left would be taken for a sign that this one listens.
        path.unlink(missing_ok=True)
        self.path = path
        self.ports = {}
        self.process = subprocess.Popen(
            ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", "udp or tcp", "-w", path],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        self.await_file()

    def await_file(self):
        end = time.monotonic() + 20
        while not (self.path.exists() and self.path.stat().st_size):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"dumpcap does not listen: {self.process.stderr.read().strip()}")
            time.sleep(0.05)

    def knows(self, site):
        """Takes the site's ports: nothing else is looked at."""
        self.ports = {"coap": port(site.coap), "coaps": port(site.coaps), "mqtt": site.mqtt["port"]}

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)

    def packets(self, show, key=None):
        """Numbers of packets that a display filter lets through."""
        ports = self.ports
        command = ["tshark", "-r", self.path, "-Y", show, "-T", "fields", "-e", "frame.number"]
        for how in (f"udp.port=={ports['coap']},coap", f"udp.port=={ports['coaps']},dtls",
                    f"dtls.port=={ports['coaps']},coap", f"tcp.port=={ports['mqtt']},mqtt"):
            command += ["-d", how]
        if key:
            command += ["-o", f"dtls.psk:{key.hex()}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()


def port(address):
    return int(address.rsplit(":", 1)[1])


def may_capture():
    return os.geteuid() == 0


def check(rows, capture, decrypted):
    """`decrypted` names a device whose sessions are opened with its key."""
    known = version()
    name, key = decrypted
    for what, show, least in (("CoAP", "coap && !dtls", 200), ("DTLS", "dtls", 200), ("MQTT", "mqtt", 10)):
        with rows.row("tshark", known, f"{what}: a run without malformed packets") as row:
            count = len(capture.packets(show))
            assert count >= least, f"only {count} packets"
            malformed = capture.packets(f"({show}) && {MALFORMED}")
            assert not malformed, f"malformed: packets {', '.join(malformed[:10])}"
            row["detail"] = f"{count} packets"
    with rows.row("tshark", known, "CoAP inside DTLS, opened with a device's key") as row:
        inside = capture.packets("dtls && coap", key)
        assert len(inside) >= 50, f"only {len(inside)} packets were opened"
        malformed = capture.packets(f"dtls && coap && {MALFORMED}", key)
        assert not malformed, f"malformed: packets {', '.join(malformed[:10])}"
        row["detail"] = f"{len(inside)} packets of {name}"
