"""Sets other people's code upon the real server and prints a table; see docs/interop.md.

Usage: run.py PROJECT BINARIES TOOLS, as scripts/interop.sh does.
"""

import argparse
import pathlib
import sys

import cddl_checks
import coap_checks
import cose_checks
import delta_checks
import dissection
import documents
import lwm2m_checks
import manifest_checks
from rows import Rows
from server_site import Site


def main():
    words = argparse.ArgumentParser()
    words.add_argument("project", type=pathlib.Path)
    words.add_argument("binaries", type=pathlib.Path)
    words.add_argument("tools", type=pathlib.Path)
    asked = words.parse_args()
    scratch = asked.tools / "run"
    capture = dissection.Capture(scratch / "run.pcapng") if dissection.may_capture() else None
    rows, site = Rows(), Site(asked.binaries, scratch)
    if capture:
        capture.knows(site)
    try:
        walked = site.walk()
        cose_checks.check(rows, walked)
        cddl_checks.check(rows, walked, asked.project)
        manifest_checks.check(rows, site, scratch)
        coap_checks.check(rows, site, walked, scratch)
        lwm2m_checks.check(rows, site, asked.tools, scratch)
        documents.check(rows, site, asked.tools, scratch)
        delta_checks.check(rows, asked.binaries, scratch)
        if capture:
            capture.stop()
            name = coap_checks.fit_for_a_command_line(site)
            dissection.check(rows, capture, (name, site.key(name)))
        else:
            with rows.row("tshark", dissection.version(), "a run without malformed packets"):
                raise AssertionError("only root may listen; run: sudo make interop")
    finally:
        if capture:
            capture.stop()
        site.close()
    rows.write(asked.tools / "report.json")
    failed = rows.failed()
    print(f"\n{len(rows.rows)} rows, {len(failed)} failed. The report: {asked.tools / 'report.json'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
