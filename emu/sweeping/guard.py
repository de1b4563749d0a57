"""Keeps the worker processes of a sweep, as a process of its own: they end with the sweep, in whatever way it ends.

    python guard.py FOLDER COMMAND...

Starts COMMAND in a session of its own, waits until standard input ends, which it does when the process that holds its
other end ends, and ends everything in that session. A word on standard input first asks for an end in good order.
Removes FOLDER, where the workers have their files. Imports nothing of the product: it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

LOOK_EACH_S = 0.5  # for workers that ended by themselves
PATIENCE_S = 5  # for an end in good order
DYING_S = 1  # that processes which were killed may take to be gone


def guard(folder: str, command: list[str]) -> int:
    """Run a command until it or standard input ends; returns the exit status, that of the command where it ended."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True)
    word = b""
    try:
        while child.poll() is None:
            if select.select([0], [], [], LOOK_EACH_S)[0]:
                word = os.read(0, 16)
                break
    finally:
        _end(child, bool(word))
        shutil.rmtree(folder, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child, in_good_order):
    """End every process of the child's session."""
    if in_good_order and child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    until = time.monotonic() + DYING_S
    while _has_members(child.pid) and time.monotonic() < until:
        time.sleep(0.01)


def _has_members(group):
    """Whether there is a process of a group, dying ones included."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1], sys.argv[2:]))
