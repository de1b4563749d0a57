"""Where the threads of a run go, and what they write: apart, or they slow each other down."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Iterable

import numpy as np

LINES = 128  # bytes: a cache line and the one that is fetched with it


@functools.cache
def _this_cpu() -> Callable[[], int] | None:
    """The C library's function that tells the CPU of the thread that calls it; None where there is none."""
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError, TypeError):
        return None


def most_threads() -> int:
    """Count the CPUs that this process may use: threads that wait for each other need one each.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def zeros_apart(shape: int | tuple[int, ...], dtype=np.int64) -> np.ndarray:
    """Make a small array of zeros that shares no cache line with anything else.

    What one thread writes all the time would slow down another that reads its neighbour.

    Returns
    -------
    np.ndarray
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(-(-size // LINES) * LINES + LINES, dtype=np.uint8)
    skipped = -room.ctypes.data % LINES
    return room[skipped : skipped + size].view(dtype).reshape(shape)


class Placement:
    """Keeps helping threads off the CPU that the leading thread is on, wherever that goes.

    They wake each other often, and Linux may let the one that wakes up wait behind the other, for milliseconds, though
    another CPU is idle. The leading thread itself is left alone. Nothing is done where the system does not say which
    CPU it is, or allows one alone.
    """

    def __init__(self):
        self._allowed: set[int] = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()
        self._call = _this_cpu() if len(self._allowed) > 1 else None
        self._cpu = -1

    def keep_off(self, threads: Iterable[int | None], cpu: int | None = None) -> None:
        """Have threads (their native numbers) leave a CPU, if it is not that of the call before.

        It is the one of the calling thread unless one is given.
        """
        if self._call is None:
            return
        cpu = self._call() if cpu is None else cpu
        if cpu == self._cpu:
            return
        self._cpu = cpu
        others = self._allowed - {cpu}
        for thread in threads:
            if thread is not None and others:
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(thread, others)
