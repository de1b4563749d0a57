"""Which points travel together: batches of few programs, as large as what was measured says (docs/scale.md)."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Hashable, Iterable

from .points import Point

TARGET_S = 1.0  # that a batch should take
MOST_POINTS = 5000  # of a batch
WORKERS_A_SECOND = 100  # batches that a client can hand out and take in each second, with room to spare


class Batches:
    """Points that wait, by program, and how large a batch of each program should be.

    Parameters
    ----------
    points : iterable of Point
    is_known : callable
        Told the hash of a point before it is handed out: whether somebody else has run it meanwhile.
    target_s : float
        Seconds that a batch should take.

    Attributes
    ----------
    skipped : int
        Points that were known.
    """

    def __init__(self, points: Iterable[Point], is_known: Callable[[str], bool] = lambda identity: False,
                 target_s: float = TARGET_S):
        self._is_known = is_known
        self.skipped = 0
        self._waiting: dict[str, collections.deque[Point]] = {}
        self._alone: collections.deque[Point] = collections.deque()
        self._target = target_s
        self._cost: dict[str, float] = {}  # seconds a point of a group, the last counting most
        self._first: float | None = None  # seconds of the first point of a group, which compiles and loads
        self._begun: set[str] = set()
        self._last: dict[Hashable, str] = {}  # group of a worker's last batch
        self._left = 0
        for point in points:
            self._waiting.setdefault(point.group, collections.deque()).append(point)
            self._left += 1

    def __len__(self) -> int:
        return self._left

    def take(self, worker: Hashable, workers: int) -> list[Point]:
        """Take the next batch for a worker: of the program that it ran last, then of others that nobody has begun.

        Parameters
        ----------
        workers : int
            How many share the rest.

        Returns
        -------
        list of Point
            Empty where none wait.
        """
        if self._alone:
            self._left -= 1
            return [self._alone.popleft()]
        batch: list[Point] = []
        seconds = max(self._target, workers / WORKERS_A_SECOND)
        # The rest is shared evenly, so that no worker has a long batch when the others are done.
        most = max(1, min(MOST_POINTS, math.ceil(self._left / (2 * workers))))
        while len(batch) < most and seconds > 0 and (group := self._choose(worker)) is not None:
            cost = self._expected(group)
            if cost is None and batch:
                break
            room = most - len(batch)
            size = 1 if cost is None or group not in self._cost else max(1, min(room, int(seconds / max(cost, 1e-6))))
            batch += self._take_of(group, worker, size)
            seconds -= size * (self._target if cost is None else cost)
        return batch

    def _take_of(self, group, worker, size):
        """Take points of a program; those that somebody else has run meanwhile are left out."""
        self._last[worker] = group
        self._begun.add(group)
        waiting = self._waiting[group]
        taken = [waiting.popleft() for _ in range(min(size, len(waiting)))]
        if not waiting:
            del self._waiting[group]
        self._left -= len(taken)
        batch = [point for point in taken if not self._is_known(point.id)]
        self.skipped += len(taken) - len(batch)
        return batch

    def _expected(self, group):
        """Seconds that a point of a program will take; None where nothing is known yet."""
        return self._cost.get(group, self._first)

    def _choose(self, worker):
        last = self._last.get(worker)
        if last in self._waiting:
            return last
        fresh = next((group for group in self._waiting if group not in self._begun), None)
        return fresh or max(self._waiting, key=lambda group: len(self._waiting[group]), default=None)

    def measured(self, group: str, seconds: float) -> None:
        """Learn what a point took."""
        before = self._cost.get(group)
        if before is None:
            self._first = seconds if self._first is None else (self._first + seconds) / 2
        # What the first point of a program takes, compiling included, must not make the second batch small.
        self._cost[group] = seconds if before is None or seconds < before else (before + seconds) / 2

    def again_alone(self, points: Iterable[Point]) -> None:
        """Put points back that a worker died with; each comes in a batch of its own, before all others."""
        for point in points:
            self._alone.append(point)
            self._left += 1
