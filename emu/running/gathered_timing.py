"""Memory events of a run without data, gathered into large batches: a second thread can answer those ahead of time."""

from collections.abc import Callable

import numpy as np

from ..kernels import layout
from ..memory.interfaces import ForeseeingEngine, MemoryModel

MOST_EVENTS = 1 << 13


def default_threads(memory: MemoryModel) -> int:
    """Choose how many threads a run without data has that was not told: two where a DRAM can be foreseen, else one.

    Returns
    -------
    int
    """
    if _foreseeing(memory) is None:
        return 1
    from ..memory.foresight import default_threads as threads_of_dram

    return threads_of_dram()


def _foreseeing(memory) -> ForeseeingEngine | None:
    """The engine of a memory, if its events can be answered ahead of their time."""
    engine = memory.engine
    return engine if isinstance(engine, ForeseeingEngine) and engine.can_foresee else None


class GatheredTiming:
    """Events that control is done with and timing is not.

    Parameters
    ----------
    engine : ForeseeingEngine
        `close` ends its second thread.
    advance : callable
        Times events (int64[n, MEV_WIDTH], n).
    """

    def __init__(self, engine: ForeseeingEngine, advance: Callable[[np.ndarray, int], None]):
        self._advance = advance
        self._engine = engine
        self._events = np.zeros((MOST_EVENTS, layout.MEV_WIDTH), dtype=np.int64)
        self._count = 0
        self._engine.foresee()

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


def gather(memory: MemoryModel, threads: int, advance: Callable[[np.ndarray, int], None]) -> GatheredTiming | None:
    """Gather the events of a run that has several threads, if its memory can be foreseen.

    Returns
    -------
    GatheredTiming or None
    """
    engine = _foreseeing(memory) if threads > 1 else None
    return None if engine is None else GatheredTiming(engine, advance)
