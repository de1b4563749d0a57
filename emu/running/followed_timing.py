"""Timing of a run without data on the idealised banks: it follows control on a thread of its own.

Nothing is handed from thread to thread in Python while control runs: waking a thread takes as long as some hundred
events. Kernels agree by counters (`kernels.simple.foresight`).
"""

import time
from collections.abc import Callable

import numpy as np

from ..kernels import layout
from ..kernels.compiler.placement import Placement
from ..memory.interfaces import Follower
from .workers import Worker

MOST_EVENTS = 1 << 13
FIRST_SLICE = 1 << 15  # instructions after which control gives what it has
MOST_IN_SLICE = 1 << 18
MOST_START_S = 0.002  # until the other thread waits for events; no matter if it takes longer
FEW = 64  # events of a slice that should have been longer: each costs the time of some ten events


class FollowedTiming:
    """Events of a batch, which timing runs while control gives more.

    Attributes
    ----------
    slice : int
        Instructions of the next slice of control, at most.

    Parameters
    ----------
    follow : callable
        Makes the `Follower` of an array of events.
    advance : callable
        Times events (int64[n, MEV_WIDTH], n) that the other thread has not. Raises what timing raises.

    Raises
    ------
    RuntimeError
        No thread can be started.
    """

    def __init__(self, follow: Callable[[np.ndarray], Follower], advance: Callable[[np.ndarray, int], None]):
        self._advance = advance
        self._events = np.zeros((MOST_EVENTS, layout.MEV_WIDTH), dtype=np.int64)
        self._count = 0
        self.slice = FIRST_SLICE
        self._is_open = False  # whether a batch is begun
        self._placement = Placement()
        self._worker = Worker()
        self._follower = follow(self._events)

    def prepare(self) -> None:
        """Load (or compile) the kernels; the other thread begins to wait for events."""
        self._follower.warm()
        self._begin()
        self._keep_off()
        self._start()
        # It takes Python's lock to begin: control, which would wait for that, has not begun yet.
        latest = time.perf_counter() + MOST_START_S
        while not self._follower.has_begun and time.perf_counter() < latest:
            time.sleep(0)

    def _keep_off(self):
        """Have the other thread leave the CPU of this one."""
        self._placement.keep_off((self._worker.native_id,))

    def _begin(self):
        """Begin with a batch, if none is begun."""
        if not self._is_open:
            self._worker.join()
            self._follower.begin()
            self._is_open = True

    def _start(self):
        """Have the other thread follow, if it does not."""
        if self._follower.is_over:
            self._worker.join()
            self._follower.is_over = False
            self._worker.start(self._follower.run)

    def take(self, events: np.ndarray) -> None:
        """Give events of a slice of control to timing; ends the batch before where there is no more room."""
        if len(events) < FEW:
            self.slice = min(4 * self.slice, MOST_IN_SLICE)
        if len(events) == 0:
            return
        if len(events) > MOST_EVENTS:
            self.rest()
            self._advance(events, len(events))
            return
        if self._count + len(events) > MOST_EVENTS:
            self.flush()
        self._begin()
        self._events[self._count : self._count + len(events)] = events
        self._count += len(events)
        self._keep_off()
        self._follower.give(self._count)
        self._start()

    def flush(self) -> None:
        """Time all events that were taken. Raises what timing raises."""
        count, self._count = self._count, 0
        if count == 0:
            return
        if self._follower.done < count:
            self._start()
        done = self._follower.finish(count, self._keep_off)
        self._is_open = False
        if done < count:
            self._worker.join()
            done = self._follower.done
            self._advance(self._events[done:], count - done)

    def rest(self) -> None:
        """Time all events that were taken, and have the other thread leave the memory until events are taken again.

        Even a thread that waits for events is at work on the memory: it settles what is pending when it gives up.
        """
        self.flush()
        if self._is_open:
            self._follower.stop()
            self._is_open = False
        self._worker.join()

    def close(self) -> None:
        """End the other thread."""
        if self._is_open:
            self._follower.stop()
        self._worker.stop()
