"""Who times the memory events of a run without data: a second thread does, while control runs (`followed_timing`)."""

from collections.abc import Callable

import numpy as np

from ..kernels.compiler.atomics import IS_ATOMIC
from ..kernels.compiler.placement import most_threads
from ..memory.interfaces import FollowingEngine, MemoryModel
from ..memory.models import RegimeModel
from .followed_timing import FollowedTiming


def default_threads(memory: MemoryModel) -> int:
    """Choose how many threads a run without data has that was not told: two where its memory has use for them.

    Returns
    -------
    int
    """
    return 1 if _following(memory) is None else 2


def _following(memory) -> RegimeModel | None:
    """The memory with a `FollowingEngine`, if its events can be timed while control runs.

    Nobody may stand before the engine who wants to see the events, and threads that wait for each other need two CPUs.
    """
    engine = memory.engine
    if not IS_ATOMIC or most_threads() < 2 or not isinstance(memory, RegimeModel):
        return None
    return memory if isinstance(engine, FollowingEngine) and engine.can_follow else None


def gather(
    memory: MemoryModel, threads: int, advance: Callable[[np.ndarray, int], None]
) -> FollowedTiming | None:
    """Gather the events of a run that has several threads, if its memory has use for that.

    Returns
    -------
    FollowedTiming or None
    """
    following = _following(memory) if threads > 1 else None
    if following is None:
        return None
    try:
        return FollowedTiming(following.follow, advance)
    except RuntimeError:  # no more threads here
        return None
