"""What a sweep is told about where points run, and whom it tells how it goes."""

from __future__ import annotations

import msgspec

from ..errors import UsageError
from ..inputs.words import shown

LEAST_MEMORY = 200 << 20  # bytes of a worker: what it takes for itself is about 140 MiB
MOST_WORKERS = 1024  # processes of a local cluster


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where points run.

    Attributes
    ----------
    scheduler : str or None
        Address of the scheduler of a running cluster, such as `tcp://host:8786`.
    workers : int or None
        Processes of a local cluster, at most `MOST_WORKERS`, and no more are started than there are points; 0: this
        process; None: as many as there are CPUs, where the study is worth it.
    memory_limit : int or None
        Bytes that a worker may use, at least `LEAST_MEMORY`; one that exceeds them is ended, and its points run again.
    """

    scheduler: str | None = None
    workers: int | None = None
    memory_limit: int | None = None

    def __post_init__(self):
        for name, value in (("workers", self.workers), ("memory_limit", self.memory_limit)):
            if value is not None and (type(value) is not int or value < 0):
                raise UsageError(f"{name}: found {shown(value)}, expected an integer of at least 0")
        if self.workers is not None and self.workers > MOST_WORKERS:
            raise UsageError(f"workers: found {self.workers}, expected at most {MOST_WORKERS}")
        if self.memory_limit is not None and self.memory_limit < LEAST_MEMORY:
            raise UsageError(f"memory limit of a worker: found {self.memory_limit} bytes, expected at least"
                             f" {LEAST_MEMORY} (200M): it takes 140 MiB for itself")
        if self.scheduler is not None and (not isinstance(self.scheduler, str) or not self.scheduler.strip()):
            raise UsageError(f"scheduler: found {shown(self.scheduler)}, expected an address such as tcp://host:8786")
        if self.scheduler is not None and (self.workers is not None or self.memory_limit is not None):
            raise UsageError("--scheduler: not with --workers or --memory-limit, which are for a cluster of our own")
        if self.workers == 0 and self.memory_limit is not None:
            raise UsageError("--memory-limit: needs worker processes, not --workers 0")


class Watcher:
    """Is told how a sweep goes; this one does not care."""

    def planned(self, points: int, stored: int) -> None:
        """The sweep has so many points, of which the store has some."""

    def began(self, where: str) -> None:
        """Points run now: in this process, or on so many workers."""

    def done(self, points: int, failures: int) -> None:
        """So many more points are done."""

    def said(self, line: str) -> None:
        """Something happened that the user should know."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a sweep; `stored` of `points` are in the store, which is whole."""

    def __init__(self, stored: int, points: int):
        super().__init__()
        self.stored, self.points = stored, points
