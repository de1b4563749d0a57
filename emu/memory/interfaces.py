"""The two interfaces of memory timing: an engine turns accesses into picoseconds, a model stands in front of it."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class MemoryEngine(Protocol):
    """What times lists of 64-byte accesses."""

    @property
    def dram(self) -> Any:
        """The `DramDescription`; None for the idealised banks."""

    @property
    def last_event_ps(self) -> int:
        """Last event so far, housekeeping included (§3.1)."""

    @property
    def statistics(self) -> Any:
        """A msgspec struct; None where the engine counts nothing of its own."""

    @property
    def memo(self) -> Any:
        """A `MemoStatistics`."""

    def run(self, events: np.ndarray, count: int, descriptors: np.ndarray) -> int:
        """Run the first `count` of int64[:, MEV_WIDTH] events; returns a status of `kernels.memory.transfer`."""


class Follower(Protocol):
    """What times the events of a batch on one thread, while control still gives more of them on another."""

    def warm(self) -> None:
        """Have the kernels compiled, or loaded from the cache."""

    def begin(self) -> None:
        """Begin with a batch, of which there are no events yet."""

    def give(self, count: int) -> None:
        """Give the first `count` events of the batch."""

    def run(self) -> None:
        """Time events as they are given, on the thread that follows, until all are done or none comes for long."""

    is_over: bool  # whether no `run` is at work; False is set by who starts one

    @property
    def has_begun(self) -> bool:
        """Whether a `run` of this batch has begun to wait for events."""

    def stop(self) -> None:
        """Have `run` end with the event that it is in."""

    @property
    def done(self) -> int:
        """Events of the batch that are timed."""

    def finish(self, count: int, between: Callable[[], None]) -> int:
        """Help with a batch of `count` events, of which no more come; returns how many are timed.

        `between` is called before, and now and then while that lasts.
        """


@runtime_checkable
class FollowingEngine(MemoryEngine, Protocol):
    """An engine that can time events while control runs."""

    @property
    def can_follow(self) -> bool:
        """Whether it can for the memory that it is."""

    def follow(self, events: np.ndarray, descriptors: np.ndarray) -> Follower:
        """Time events from now on beside control (int64[:, MEV_WIDTH]: where control will put them)."""


@runtime_checkable
class MemoryModel(Protocol):
    """What decides about each access before an engine times it (§3.6 - §3.10), and counts."""

    regime: str
    engine: MemoryEngine

    @property
    def now_ps(self) -> int:
        """Completion of the last memory event."""

    @property
    def last_event_ps(self) -> int:
        """Last event so far, housekeeping included (§3.1)."""

    @property
    def bytes_read(self) -> int:
        """Bytes of all reads, 64 an access."""

    @property
    def bytes_written(self) -> int:
        """Bytes of all writes, 64 an access."""

    @property
    def statistics(self) -> Any:
        """A msgspec struct with the property `line`."""

    @property
    def link_busy_ps(self) -> int:
        """Time that transfers over the host link took."""

    def warm(self) -> None:
        """Have the kernel compiled, or loaded from the cache."""

    def advance(self, events: np.ndarray, count: int) -> None:
        """Run the first `count` memory events; raises `EmuError` where simulated time passes its limit."""

    def warnings(self) -> list[str]:
        """List what the user should know, one line each."""
