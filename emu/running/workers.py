"""Threads of a run: jobs in order on a thread of its own, or a kernel that Ctrl-C must not wait for."""

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class _Job(NamedTuple):
    """A call on a worker; nobody waits for one that `is_help`, and it raises nothing."""

    call: Callable[[], object]
    is_help: bool


def _this_cpu():
    """The CPU that this thread runs on, None where the system does not say."""
    try:
        return ctypes.CDLL(None).sched_getcpu()
    except (OSError, AttributeError, TypeError):
        return None


def _leave(cpu):
    """Keep this thread off a CPU, if it may use others.

    Linux may let a thread that wakes up wait behind the one that woke it, though another CPU is idle.
    """
    try:
        others = os.sched_getaffinity(0) - {cpu}
        if others:
            os.sched_setaffinity(0, others)
    except (OSError, AttributeError):  # not on this system
        return


class Worker:
    """Runs jobs in order on a thread of its own; `join` hands on what the first that failed raised."""

    def __init__(self):
        self._jobs = queue.SimpleQueue()
        self._done = queue.SimpleQueue()
        self._pending = 0
        self._warnings = np.geterr()  # of the thread that made it, where `execute` has turned some off
        threading.Thread(target=self._loop, args=(_this_cpu(),), daemon=True).start()

    def _loop(self, elsewhere):
        failed = False
        _leave(elsewhere)
        while (job := self._jobs.get()) is not None:
            error = None
            try:
                if not failed or job.is_help:
                    with np.errstate(**self._warnings):
                        job.call()
            except BaseException as raised:  # handed to the thread that waits
                error, failed = raised, True
            if not job.is_help:
                self._done.put(error)

    def start(self, job: Callable[[], object]) -> None:
        """Begin a job once those before are done; none begins after one that failed."""
        self._jobs.put(_Job(job, False))
        self._pending += 1

    def help(self, job: Callable[[], object]) -> None:
        """Begin a job that `join` does not wait for, once those before are done."""
        self._jobs.put(_Job(job, True))

    def join(self, left: int = 0) -> None:
        """Wait until at most `left` of the jobs that were started are not done; raises what one of them raised."""
        while self._pending > left:
            error = self._done.get()
            self._pending -= 1
            if error is not None:
                raise error

    def stop(self) -> None:
        """End the thread once its jobs are done."""
        self._jobs.put(None)


class Inline:
    """A worker that runs every job at once, on the calling thread."""

    def start(self, job: Callable[[], object]) -> None:
        """Run a job."""
        job()

    def join(self, left: int = 0) -> None:
        """Wait for nothing."""


def heard(heavy: bool, call: Callable, *arguments):
    """Call a kernel; a heavy one on a thread of its own, because Ctrl-C ends waiting but no kernel.

    Returns
    -------
    object
        What the call returned.
    """
    if not heavy or threading.current_thread() is not threading.main_thread():
        return call(*arguments)
    try:
        worker = Worker()
    except RuntimeError:  # no more threads here
        return call(*arguments)
    found: list = []
    try:
        worker.start(lambda: found.append(call(*arguments)))
        worker.join()
    finally:
        worker.stop()
    return found[0]
