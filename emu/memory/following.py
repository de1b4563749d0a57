"""Tell a thread that follows control what to do: what the followers of both memories share (`memory.interfaces`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.memory import following as fo

PATIENCE = 1 << 15  # turns that the thread which follows waits for events: about a millisecond


class SharedBatch:
    """The half of a `memory.interfaces.Follower` that is counters of a batch, and the thread that goes by them.

    Parameters
    ----------
    shared : int64[SHARED_WIDTH]
        Of `kernels.memory.following`.
    follow : callable
        Times events until it has waited for so many turns.
    tell : callable
        Notes how many events are given, and the state of the batch.
    """

    def __init__(self, shared: np.ndarray, follow: Callable[[int], object], tell: Callable[[int, int], object]):
        self._shared = shared
        self._follow = follow
        self._tell = tell
        self.is_over = True

    def give(self, count: int) -> None:
        """Give the first `count` events of the batch."""
        self._tell(count, fo.OPEN)

    def run(self) -> None:
        """Time events as they are given; set `is_over` to False before."""
        try:
            self._follow(PATIENCE)
        finally:
            self.is_over = True

    @property
    def has_begun(self) -> bool:
        """Whether a `run` of this batch has begun to wait for events."""
        return bool(self._shared[fo.FOLLOWS])

    def stop(self) -> None:
        """Have `run` end with the event that it is in."""
        self._tell(int(self._shared[fo.GIVEN]), fo.STOPPED)

    @property
    def done(self) -> int:
        """Events of the batch that are timed."""
        return int(self._shared[fo.DONE])
