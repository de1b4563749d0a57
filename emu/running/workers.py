"""Threads of a run: jobs in order on a thread of its own, or a kernel that Ctrl-C must not wait for."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class _Job(NamedTuple):
    """A call on a worker; nobody waits for one that `is_help`, and it raises nothing."""

    call: Callable[[], object]
    is_help: bool


def _loop(jobs, done, warnings):
    """Run jobs until there is None; `warnings` are those of the thread that made this one."""
    failed = False
    while (job := jobs.get()) is not None:
        error = None
        try:
            if not failed or job.is_help:
                with np.errstate(**warnings):
                    job.call()
        except BaseException as raised:  # handed to the thread that waits
            error, failed = raised, True
        is_help = job.is_help
        job = None  # it may hold the worker, which ends this thread when nobody holds it
        if not is_help:
            done.put(error)


class Worker:
    """Runs jobs in order on a thread of its own; `join` hands on what the first that failed raised.

    Attributes
    ----------
    native_id : int or None
        The system's number of the thread.
    """

    def __init__(self):
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._pending = 0
        thread = threading.Thread(target=_loop, args=(self._jobs, self._done, np.geterr()), daemon=True)
        thread.start()
        self.native_id = thread.native_id

    def __del__(self):
        self.stop()  # whoever made it may have been interrupted before it could

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
