"""Both documents of the interface against their specifications, by other people's validators."""

import json
import subprocess
import urllib.request
from importlib.metadata import version

from openapi_spec_validator import validate


def fetch(site, name):
    request = urllib.request.Request(
        f"http://{site.http}/v1/{name}", headers={"Authorization": f"Bearer {site.token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def check(rows, site, tools, scratch):
    with rows.row("openapi-spec-validator", version("openapi-spec-validator"), "GET /v1/openapi.json is OpenAPI") as row:
        document = fetch(site, "openapi.json")
        validate(document)
        row["detail"] = f"OpenAPI {document['openapi']}, {len(document['paths'])} paths"
    package = tools / "node/node_modules/@asyncapi/parser/package.json"
    with rows.row("@asyncapi/parser", json.loads(package.read_text())["version"], "GET /v1/asyncapi.json is AsyncAPI") as row:
        document = fetch(site, "asyncapi.json")
        path = scratch / "asyncapi.json"
        path.write_text(json.dumps(document))
        command = ["node", tools / "node/asyncapi.js", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        row["detail"] = f"AsyncAPI {document['asyncapi']}, {len(document['channels'])} channels"
