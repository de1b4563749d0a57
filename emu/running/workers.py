"""Threads of a run: jobs in order on a thread of its own, or a kernel that Ctrl-C must not wait for."""

import contextlib
import ctypes
import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class _Job(NamedTuple):
    """A call on a worker; nobody waits for one that `is_help`, and it raises nothing."""

    call: Callable[[], object]
    is_help: bool


class Placement:
    """Keeps this thread on its CPU and its workers off it, until it is released.

    Threads of a run wake each other often, and Linux may let the one that wakes up wait behind the other, though
    another CPU is idle. Where the system does not say which CPU it is, or allows one alone, nothing is done.
    """

    def __init__(self):
        self._before: set[int] = set()
        self.others: set[int] = set()
        try:
            allowed, cpu = os.sched_getaffinity(0), ctypes.CDLL(None).sched_getcpu()
            if cpu in allowed and len(allowed) > 1:
                os.sched_setaffinity(0, {cpu})
                self._before, self.others = allowed, allowed - {cpu}
        except (OSError, AttributeError, TypeError):  # not on this system
            return

    def release(self) -> None:
        """Let this thread run where it could before."""
        if self._before:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._before)
            self._before = set()


class Worker:
    """Runs jobs in order on a thread of its own; `join` hands on what the first that failed raised.

    Parameters
    ----------
    cpus : set of int
        Where the thread may run; empty leaves it to the system.
    """

    def __init__(self, cpus: Iterable[int] = ()):
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._pending = 0
        self._warnings = np.geterr()  # of the thread that made it, where `execute` has turned some off
        threading.Thread(target=self._loop, args=(set(cpus),), daemon=True).start()

    def _loop(self, cpus):
        failed = False
        if cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cpus)
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


class Claim(Generic[T]):
    """A call that is made once, by whichever thread comes first."""

    def __init__(self, call: Callable[[], T]):
        self._call = call
        self._taken = threading.Lock()
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None

    def offer(self) -> None:
        """Make the call, unless another thread has begun it."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._result.append(self._call())
        except BaseException as raised:  # for the thread that takes the result
            self._error = raised
        self._done.set()

    def take(self) -> T:
        """Make the call or wait for it; raises what it raised.

        Returns
        -------
        object
            What the call returned.
        """
        self.offer()
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]


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
