"""Keeps memory that a run has freed for the next run of the process.

A run allocates some tens of MiB. The C library gives large arrays back to the system when they are freed, and the next
run has to get every page anew: one access to it costs a microsecond or, on a virtual machine, several. That was up to
half of a short run. So from the second run of a process on, freed memory stays with it; with a benchmark or a sweep,
from the first.
"""

import ctypes
import os
import sys

KEPT = 256 << 20  # bytes of freed memory, at most
LARGE = 32 << 20  # arrays of so many bytes are given back at once, the most that the C library lets us ask for
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


class _Process:
    runs = 0
    is_told = False


def begin_run() -> None:
    """Count a run of this process; with the second one, `keep_freed_memory`."""
    _Process.runs += 1
    if _Process.runs == 2:
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Tell the C library to keep what is freed, for a process that will run one program after another.

    Nothing is told where the user has chosen (`MALLOC_TRIM_THRESHOLD_` and the like, `GLIBC_TUNABLES`), or where the C
    library is not glibc.
    """
    if _Process.is_told or not sys.platform.startswith("linux") or _has_chosen(os.environ):
        return
    _Process.is_told = True
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, KEPT)


def _has_chosen(environ):
    return any(name in environ for name in _CHOSEN) or "glibc.malloc." in environ.get("GLIBC_TUNABLES", "")
