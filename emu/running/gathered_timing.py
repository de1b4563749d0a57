"""Memory events of a run without data, gathered into large batches: a second thread can answer those ahead of time.

On the idealised banks the second thread times them while control runs (`followed_timing`).
"""

from collections.abc import Callable

import numpy as np

from ..kernels import layout
from ..kernels.compiler.atomics import IS_ATOMIC
from ..kernels.compiler.placement import most_threads
from ..memory.interfaces import FollowingEngine, ForeseeingEngine, MemoryModel
from ..memory.models import RegimeModel
from .followed_timing import MOST_IN_SLICE, FollowedTiming

MOST_EVENTS = 1 << 13


def default_threads(memory: MemoryModel) -> int:
    """Choose how many threads a run without data has that was not told: two where its memory has use for them.

    Returns
    -------
    int
    """
    if _following(memory) is not None:
        return 2
    if _foreseeing(memory) is None:
        return 1
    from ..memory.foresight import default_threads as threads_of_dram

    return threads_of_dram()


def _foreseeing(memory) -> ForeseeingEngine | None:
    """The engine of a memory, if its events can be answered ahead of their time."""
    engine = memory.engine
    return engine if isinstance(engine, ForeseeingEngine) and engine.can_foresee else None


def _following(memory) -> RegimeModel | None:
    """The memory with a `FollowingEngine`, if its events can be timed while control runs.

    Nobody may stand before the engine who wants to see the events, and threads that wait for each other need two CPUs.
    """
    engine = memory.engine
    if not IS_ATOMIC or most_threads() < 2 or not isinstance(memory, RegimeModel):
        return None
    return memory if isinstance(engine, FollowingEngine) and engine.can_follow else None


class GatheredTiming:
    """Events that control is done with and timing is not.

    Attributes
    ----------
    slice : int
        Instructions of a slice of control, at most.

    Parameters
    ----------
    engine : ForeseeingEngine
        `close` ends its second thread.
    advance : callable
        Times events (int64[n, MEV_WIDTH], n).
    """

    slice = MOST_IN_SLICE

    def __init__(self, engine: ForeseeingEngine, advance: Callable[[np.ndarray, int], None]):
        self._advance = advance
        self._engine = engine
        self._events = np.zeros((MOST_EVENTS, layout.MEV_WIDTH), dtype=np.int64)
        self._count = 0
        self._engine.foresee()

    def prepare(self) -> None:
        """Load nothing: `MemoryModel.warm` does."""

    def take(self, events: np.ndarray) -> None:
        """Copy events of a slice of control; times those before where there is no more room."""
        if self._count + len(events) > MOST_EVENTS:
            self.flush()
        if len(events) > MOST_EVENTS:
            self._advance(events, len(events))
            return
        self._events[self._count : self._count + len(events)] = events
        self._count += len(events)

    def flush(self) -> None:
        """Time all events that were taken. Raises what timing raises."""
        count, self._count = self._count, 0
        if count:
            self._advance(self._events, count)

    def close(self) -> None:
        """End the second thread."""
        self._engine.close()


def gather(
    memory: MemoryModel, threads: int, advance: Callable[[np.ndarray, int], None]
) -> GatheredTiming | FollowedTiming | None:
    """Gather the events of a run that has several threads, if its memory has use for that.

    Returns
    -------
    GatheredTiming or FollowedTiming or None
    """
    if threads == 1:
        return None
    following = _following(memory)
    if following is not None:
        try:
            return FollowedTiming(following.follow, advance)
        except RuntimeError:  # no more threads here
            return None
    engine = _foreseeing(memory)
    return None if engine is None else GatheredTiming(engine, advance)
