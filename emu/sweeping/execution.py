"""Runs a study: points that the store lacks go to an engine, and what becomes of them goes to the store."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Iterator, Sequence

from ..errors import EmuError, UsageError
from .batches import Batches
from .engine import EngineOptions, Interrupted, Watcher
from .local import LocalEngine
from .points import Point
from .results import SweepResult, collect
from .specify import Specifier
from .store import Store
from .study import Study
from .worker import Outcome, Workshop

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
    if resume and not os.path.isdir(str(directory)):
        raise EmuError(f"store {directory}: not found, so that there is nothing to resume")
    store = Store(directory, watcher.said)
    if resume and not len(store):
        raise EmuError(f"store {directory}: holds no record, so that there is nothing to resume")
    store.forget_failures(all_kinds=retry)
    return store


def run_study(study: Study, engine: EngineOptions, store: Store, watcher: Watcher) -> SweepResult:
    """Run every point of a study that the store lacks.

    Returns
    -------
    SweepResult

    Raises
    ------
    EmuError
        The study makes no sense, the store cannot be written, or the cluster is gone. What was found until then is in
        the store.
    Interrupted
        Ctrl-C.
    """
    specifier = Specifier()
    points = specifier.points(study)
    run_points(points, specifier, engine, store, watcher)
    return collect(points, store, list(study.axes), study.varying)


def run_points(points: Sequence[Point], specifier: Specifier, options: EngineOptions, store: Store,
               watcher: Watcher) -> None:
    """Run the points that a store lacks; raises as `run_study`."""
    left = [point for point in points if point.id not in store]
    watcher.planned(len(points), len(points) - len(left))
    waiting = Batches(left, store.__contains__)
    intake = _Intake(store, watcher)
    try:
        with contextlib.ExitStack() as opened:
            for outcomes in _outcomes(waiting, specifier, options, store, watcher, opened):
                intake.take(outcomes)
    except KeyboardInterrupt:
        intake.write()
        raise Interrupted(sum(point.id in store for point in points), len(points)) from None
    except BaseException:
        with contextlib.suppress(EmuError):  # the first error is the one that is told
            intake.write()
        raise
    intake.write()
    if waiting.skipped:
        watcher.done(waiting.skipped, 0)


def _outcomes(waiting, specifier, options, store, watcher, opened) -> Iterator[list[Outcome]]:
    """Choose the engine: the first points run here, and tell whether the rest is worth a cluster."""
    if not len(waiting):
        return
    if options.scheduler is not None or options.workers:
        yield from _on_cluster(waiting, specifier, options, store, watcher, opened)
        return
    watcher.began("in this process")
    engine = opened.enter_context(LocalEngine(specifier.snapshots, store.builds))
    if options.workers == 0 or not _can_spread(len(waiting), watcher):
        yield from engine.outcomes(waiting)
        return
    yield from _while_small(engine, waiting)
    if len(waiting):
        yield from _on_cluster(waiting, specifier, options, store, watcher, opened)


def _while_small(engine, waiting) -> Iterator[list[Outcome]]:
    """Run points here until the rest would take longer than a small sweep."""
    began = time.perf_counter()
    ran = 0
    for outcomes in engine.outcomes(waiting):
        yield outcomes
        ran += len(outcomes)
        if ran > 1 and (time.perf_counter() - began) / ran * len(waiting) > SMALL_SWEEP_S:
            return


def _can_spread(points, watcher):
    """Tell whether there are CPUs and a library for processes of our own."""
    if points < 2 or len(os.sched_getaffinity(0)) < 2:
        return False
    if importlib.util.find_spec("distributed") is None:
        watcher.said("distributed is not installed (the extra `sweep`): points run in this process")
        return False
    return True


def _on_cluster(waiting, specifier, options, store, watcher, opened):
    from .cluster import open_cluster

    engine = opened.enter_context(open_cluster(options, specifier.snapshots, store.builds, watcher.said))
    watcher.began(f"on {engine.workers} worker{'s' * (engine.workers > 1)}")
    yield from engine.outcomes(waiting)


class _Intake:
    """Takes outcomes, and writes them to the store now and then."""

    def __init__(self, store: Store, watcher: Watcher):
        self._store, self._watcher = store, watcher
        self._lines: list[bytes] = []
        self._written = time.monotonic()

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes; write where enough have come, or the last were written long ago."""
        self._lines += [outcome.line for outcome in outcomes]
        self._watcher.done(len(outcomes), sum(outcome.is_failure for outcome in outcomes))
        if len(self._lines) >= WRITE_EACH or time.monotonic() - self._written > WRITE_EACH_S:
            self.write()

    def write(self) -> None:
        """Write what has come."""
        lines, self._lines = self._lines, []
        self._store.add(lines)
        self._store.refresh()
        self._written = time.monotonic()


def estimate_seconds(points: Sequence[Point], specifier: Specifier, store: Store) -> float:
    """Estimate how long the points that are left take in one process: two of them are run, and not kept.

    The first point of a program compiles and loads; what memories have in common is not foreseen.

    Returns
    -------
    float
        Seconds; 0 where none is left.
    """
    left = [point for point in points if point.id not in store]
    if not left:
        return 0.0
    programs = {point.group: point for point in left}
    workshop = Workshop(specifier.snapshots, store.builds)
    try:
        first = workshop.run(left[0].id, left[0].specification).seconds
        again = next((point for point in left[1:] if point.group == left[0].group), None)
        each = workshop.run(again.id, again.specification).seconds if again else first
    finally:
        workshop.close()
    return len(programs) * first + (len(left) - len(programs)) * each
