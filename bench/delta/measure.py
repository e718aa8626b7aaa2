"""Runs a command and says what it took: processor time, not time on the wall, so that a busy machine matters little."""

import os
import resource
import subprocess
import tempfile


class Failed(Exception):
    """A command that ended otherwise than well; the text has the last line it said."""


def run(command):
    """Runs a command; returns its output, processor seconds, and the peak of its memory in bytes.

    The peak is never below this process's own, since the system counts a new process from its parent's memory.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=said, preexec_fn=limit)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        if child.returncode != 0:
            lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            ended = f"status {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
            raise Failed(f"{ended}: {lines[-1][:200]}")
        return out.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def limit():
    """Ends whatever takes longer than any of them should for the largest images."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))


CPU_S_MAX = 1800
