"""The real server with its devices, and our command line."""

import json
import pathlib
import subprocess


class Site:
    def __init__(self, binaries, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.binaries, self.folder = binaries, folder
        self.process = subprocess.Popen(
            [binaries / "examples/interop_site", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "site.log").open("w"), text=True,
        )
        self.await_word("ready")
        site = json.loads((folder / "site.json").read_text())
        self.http, self.token, self.data, self.mqtt = site["http"], site["token"], site["data"], site["mqtt"]
        self.coap, self.coaps, self.work = site["coap"], site["coaps"], site["folder"]
        self.short = site["short"]
        self.peers = {peer["name"]: peer for peer in site["peers"]}

    def await_word(self, word):
        said = self.process.stdout.readline().strip()
        if said != word:
            raise SystemExit(f"the site did not get {word}; see {self.folder}/site.log")

    def work_path(self):
        """Where keys, anchors and manifests are."""
        return pathlib.Path(self.work)

    def walk(self):
        self.process.stdin.write("walk\n")
        self.process.stdin.flush()
        self.await_word("walked")
        return json.loads((self.folder / "walk.json").read_text())

    def cli(self, *words):
        """Runs our command line and gives its JSON, or raises what it said."""
        command = [self.binaries / "bellwether", "--data", self.data, "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"bellwether {' '.join(map(str, words))}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def read(self, device, path):
        """Values of a path of a device, by path."""
        return {one["path"]: one["value"] for one in self.cli("device", "read", device, path)["values"]}

    def registered(self, device):
        return self.cli("device", "show", device)["registered"]

    def end_campaigns(self):
        """Cancels what the walk has launched: nothing is offered any more."""
        for campaign in self.cli("campaign", "list"):
            if campaign["state"] == "running":
                self.cli("campaign", "cancel", campaign["id"])

    def key(self, peer):
        return bytes.fromhex(self.peers[peer]["psk"])

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
