"""Runs a study: points that the store lacks go to an engine, and what becomes of them goes to the store."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import EmuError, UsageError
from .batches import Batches
from .engine import EngineOptions, Interrupted, Watcher
from .local import LocalEngine
from .points import Point
from .results import Row, SweepResult, collect
from .specify import Specifier
from .store import Store
from .study import Study
from .worker import Outcome, Workshop

if TYPE_CHECKING:
    from .cluster import ClusterEngine

SMALL_SWEEP_S = 5.0  # what less than this takes is not worth processes of its own
WRITE_EACH_S = 2.0  # records wait no longer for the store
WRITE_EACH = 500


def open_store(directory: str | None, resume: bool, retry: bool, watcher: Watcher) -> Store:
    """Open the store of a sweep.

    Parameters
    ----------
    resume : bool
        It has to be there, with a record at least.
    retry : bool
        Points that failed are run again; those whose workers died are in any case.

    Returns
    -------
    Store

    Raises
    ------
    EmuError
        It cannot be read, or there is nothing to resume.
    """
    if resume and directory is None:
        raise UsageError("--resume needs --store DIR")
    if retry and directory is None:
        raise UsageError("--retry-failed needs --store DIR")
    if resume and not os.path.isdir(str(directory)):
        raise EmuError(f"store {directory}: not found, so that there is nothing to resume")
    store = Store(directory, watcher.said)
    if resume and not len(store):
        raise EmuError(f"store {directory}: holds no record, so that there is nothing to resume")
    store.forget_failures(all_kinds=retry)
    return store


def run_study(study: Study, engine: EngineOptions, store: Store, watcher: Watcher,
              check: Callable[[SweepResult], None] = lambda rows: None) -> SweepResult:
    """Run every point of a study that the store lacks.

    Parameters
    ----------
    check : callable
        Called before the first point runs, with what is `planned`; it raises `UsageError` for what cannot be shown.

    Returns
    -------
    SweepResult

    Raises
    ------
    EmuError
        The study makes no sense, the store or a build cannot be written, or the cluster is gone. What was found
        until then is in the store.
    Interrupted
        Ctrl-C.
    """
    specifier = Specifier()
    points = specifier.points(study)
    check(planned(points, study))
    run_points(points, specifier, engine, store, watcher)
    return collect(points, store, list(study.axes), study.varying)


def planned(points: Sequence[Point], study: Study) -> SweepResult:
    """Make the rows of points that have not run: values and no figures.

    Returns
    -------
    SweepResult
    """
    return SweepResult([Row(id=point.id, values=point.values) for point in points], list(study.axes), study.varying)


def run_points(points: Sequence[Point], specifier: Specifier, options: EngineOptions, store: Store,
               watcher: Watcher) -> None:
    """Run the points that a store lacks; raises as `run_study`."""
    left = sum(point.id not in store for point in points)
    watcher.planned(len(points), len(points) - left)
    try:
        with Session(specifier, options, store, watcher, left) as session:
            session.run(points)
    except KeyboardInterrupt:
        raise Interrupted(sum(point.id in store for point in points), len(points)) from None


class Session:
    """Context that runs points of a study on one engine, opened when it is needed.

    Parameters
    ----------
    specifier : Specifier
        Of the points; it knows their inputs when the first of them runs.
    expected : int
        How many points will come in all: whether they are worth worker processes.
    """

    def __init__(self, specifier: Specifier, options: EngineOptions, store: Store, watcher: Watcher, expected: int):
        self._specifier, self._options, self._store, self._watcher = specifier, options, store, watcher
        self._left = expected
        self._seconds = 0.0
        self._ran = 0
        self._local: LocalEngine | None = None
        self._cluster: ClusterEngine | None = None
        self._opened = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._opened.close()

    def run(self, points: Iterable[Point]) -> None:
        """Run the points that the store lacks; what is done is in the store, also where this is ended.

        Raises
        ------
        EmuError
            The store cannot be written, or the cluster is gone.
        """
        waiting = Batches((point for point in points if point.id not in self._store), self._store.__contains__)
        intake = _Intake(self._store, self._watcher)
        try:
            while len(waiting):
                for outcomes in self._engine(len(waiting)).outcomes(waiting):
                    self._count(outcomes)
                    intake.take(outcomes)
                    if self._cluster is None and self._is_worth_it():
                        break
        except BaseException:
            with contextlib.suppress(EmuError):  # the first error is the one that is told
                intake.write()
            raise
        intake.write()
        if waiting.skipped:
            self._watcher.done(waiting.skipped, 0)

    def _count(self, outcomes):
        self._ran += len(outcomes)
        self._left -= len(outcomes)
        self._seconds += sum(outcome.seconds for outcome in outcomes)

    def _is_worth_it(self):
        """Tell whether what is left would take this process longer than a small sweep."""
        if self._options.workers == 0 or self._ran < 2 or not self._left:
            return False
        return self._seconds / self._ran * self._left > SMALL_SWEEP_S and _can_spread(self._watcher)

    def _engine(self, waiting) -> LocalEngine | ClusterEngine:
        """Open what points run on: workers where they are asked for, or worth it."""
        if self._cluster is not None:
            return self._cluster
        wanted = self._options.scheduler is not None or bool(self._options.workers)
        if wanted or (waiting and self._is_worth_it()):
            from .cluster import open_cluster

            self._cluster = self._opened.enter_context(open_cluster(
                self._options, max(1, self._left), self._specifier.snapshots, self._store.builds, self._watcher.said))
            count = self._cluster.workers
            self._watcher.began(f"on {count} worker{'s' * (count > 1)}")
            return self._cluster
        if self._local is None:
            self._local = self._opened.enter_context(LocalEngine(self._specifier.snapshots, self._store.builds))
            self._watcher.began("in this process")
        return self._local


_told: set[str] = set()


def _can_spread(watcher):
    """Tell whether there are CPUs and a library for processes of our own."""
    if len(os.sched_getaffinity(0)) < 2:
        return False
    if importlib.util.find_spec("distributed") is None:
        if "distributed" not in _told:
            watcher.said("distributed is not installed (the extra `sweep`): points run in this process")
            _told.add("distributed")
        return False
    return True


class _Intake:
    """Takes outcomes, and writes them to the store now and then."""

    def __init__(self, store: Store, watcher: Watcher):
        self._store, self._watcher = store, watcher
        self._told: set[str] = set()
        self._lines: list[bytes] = []
        self._written = -math.inf  # what comes first is written at once: a store that cannot be is told early

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes, none at times; write where enough have come, or the last were written long ago."""
        self._lines += [outcome.line for outcome in outcomes]
        for line in (line for outcome in outcomes for line in outcome.warnings):
            if line not in self._told:  # several workers may find the same
                self._told.add(line)
                self._watcher.said(line)
        if outcomes:
            self._watcher.done(len(outcomes), sum(outcome.is_failure for outcome in outcomes))
        due = len(self._lines) >= WRITE_EACH or time.monotonic() - self._written > WRITE_EACH_S
        if due and self._lines:
            self.write()

    def write(self) -> None:
        """Write what has come."""
        lines, self._lines = self._lines, []
        self._store.add(lines)
        self._store.refresh()
        self._written = time.monotonic()


def estimate_seconds(points: Sequence[Point], specifier: Specifier, store: Store) -> float:
    """Estimate how long the points that are left take in one process: three of them are run, and not kept.

    The first loads everything, the second is the first of another program, the third another of the first program.
    What memories have in common is not foreseen, nor that programs differ in size.

    Returns
    -------
    float
        Seconds; 0 where none is left.
    """
    left = [point for point in points if point.id not in store]
    if not left:
        return 0.0
    programs = {point.group: point for point in reversed(left)}
    last = next(iter(programs.values()))  # of the study's last program
    again = next((point for point in left[1:] if point.group == left[0].group), None)
    workshop = Workshop(specifier.snapshots, store.builds)
    try:
        first = workshop.run(left[0].id, left[0].specification).seconds
        other = workshop.run(last.id, last.specification).seconds if len(programs) > 1 else 0.0
        each = workshop.run(again.id, again.specification).seconds if again else 0.0
    finally:
        workshop.close()
    return first + (len(programs) - 1) * other + (len(left) - len(programs)) * each
