"""Rows of the interop table: one peer, one case, done or not."""

import contextlib
import json
import time
import traceback


class Rows:
    """Collects rows and prints each as it ends."""

    def __init__(self):
        self.rows = []

    @contextlib.contextmanager
    def row(self, peer, version, case):
        """Runs one case; what it raises fails the row, what it puts into `detail` is shown."""
        row = {"peer": peer, "version": version, "case": case, "ok": False, "detail": ""}
        began = time.monotonic()
        try:
            yield row
            row["ok"] = True
        except Exception as error:  # whatever a peer's library raises is a failed row
            text = "".join(traceback.format_exception_only(error)).strip()
            row["detail"] = " ".join(text.split())[:DETAIL_MAX]
            row["traceback"] = traceback.format_exc()
        row["seconds"] = round(time.monotonic() - began, 2)
        self.rows.append(row)
        self.show(row)

    def show(self, row):
        mark = "ok    " if row["ok"] else "FAILED"
        print(f"{mark} {row['peer']:<22} {row['version']:<12} {row['case']:<58} {row['detail']}", flush=True)

    def failed(self):
        return [row for row in self.rows if not row["ok"]]

    def write(self, path):
        path.write_text(json.dumps({"rows": self.rows, "failed": len(self.failed())}, indent=1) + "\n")


# A line of a wide terminal; the whole trace is in the report.
DETAIL_MAX = 300
