"""The part of a trace that a replay has at hand: batches that are not complete yet, and some that follow.

Memory is bounded by it and not by the trace. It holds at least the accesses that wait: it grows where a trace asks for
more at a time than the memory serves, or where a single batch is larger.
"""

from typing import Any, NamedTuple

import numpy as np

from ..kernels.dram import event_queue as eq
from ..kernels.dram import open_loop as ol
from ..kernels.dram import state as ds
from ..kernels.limits import NEVER
from .dram import new_open_run, new_run

ROOM = 1 << 15  # accesses, and batches, that a window has room for at first


class Batches(NamedTuple):
    """Some batches of a trace, whole ones, in order.

    Attributes
    ----------
    kind, at : int64[m]
        As `event_queue.TASK` has them.
    size : int64[m]
        Accesses of each.
    address, write : int64[n]
        Byte addresses (u64 bit patterns); 1 for a write.
    """

    kind: np.ndarray
    at: np.ndarray
    size: np.ndarray
    address: np.ndarray
    write: np.ndarray


class Completions(NamedTuple):
    """What became of the accesses that a window let go of, in the order of the trace: int64[n] each, as in `Replay`."""

    address: np.ndarray
    write: np.ndarray
    issue_ps: np.ndarray
    accept_ps: np.ndarray
    done_ps: np.ndarray


NOTHING = Completions(*(np.zeros(0, dtype=np.int64) for _ in Completions._fields))


def together(parts: list[Completions]) -> Completions:
    """Join parts that follow each other, at least one."""
    if len(parts) == 1:
        return parts[0]
    return Completions(*(np.concatenate(values) for values in zip(*parts, strict=True)))


class Window:
    """Batches at hand, the `event_queue.Run` that holds them and the `open_loop.OpenRun` that some are run in.

    Parameters
    ----------
    state : DramState
        Unused memory.
    room : int
        Accesses, and batches, that there is room for at first.
    """

    def __init__(self, state: ds.DramState, room: int = ROOM):
        self._state = state
        self._parts = int(state.config[0].sub_requests)
        self.run: Any = new_run(state, np.zeros(room, dtype=np.int64), room)  # of records
        self.work = new_open_run(room)
        self.run.loop["loaded"] = self.run.loop["whole"] = 0
        self._count = 0  # accesses at hand

    def room(self) -> int:
        """Return how many accesses, and batches, may be loaded.

        At least half the window is free: it grows where what waits leaves less, so that moving it costs little.
        """
        used = max(self._count, int(self.run.loop[0].loaded))
        if 2 * used > len(self.run.address):
            self._grow(used)
        return len(self.run.address) - used

    def load(self, some: Batches) -> None:
        """Take more batches in hand, behind those there are."""
        first, batch = self._count, int(self.run.loop[0].loaded)
        if len(some.address) > len(self.run.address) - first or len(some.kind) > len(self.run.task) - batch:
            self._grow(max(first + len(some.address), batch + len(some.kind)))
        run, last = self.run, first + len(some.address)
        run.address[first:last] = some.address
        run.access[first:last] = 0
        run.access.write[first:last] = some.write
        run.sub_request[first * self._parts : last * self._parts] = 0
        task = run.task[batch : batch + len(some.kind)]
        task[:] = 0
        task.front = ds.NONE
        task.kind, task.at = some.kind, some.at
        task.stop = first + np.cumsum(some.size)
        task.start = task.stop - some.size
        self._count = last
        run.loop[0].loaded = batch + len(some.kind)

    def end(self) -> None:
        """Say that no batch follows."""
        self.run.loop[0].whole = 1

    def take_complete(self) -> Completions:
        """Let go of the batches that are complete, up to the first that is not; the kernel must stand between calls."""
        run, batches = self.run, self._complete()
        accesses = int(run.task[batches - 1].stop) if batches else 0
        done = run.access[:accesses]
        found = Completions(run.address[:accesses].copy(), done.write.astype(np.int64), done.issue.copy(),
                            done.accept.copy(), done.done.copy())
        if batches:
            self._drop(batches, accesses)
        return found

    def _complete(self):
        """Batches from the first on that are complete."""
        loop = self.run.loop[0]
        in_events = loop.replay_stop != loop.replay_batch and loop.replay_access == ds.NONE
        begun = int(loop.core_batch if in_events else loop.replay_batch)
        waiting = np.flatnonzero(self.run.task.left[:begun])
        return int(waiting[0]) if len(waiting) else begun

    def _drop(self, batches, accesses):
        """Number batches and accesses anew without the first ones, of which nothing is left to do."""
        run, loop, transfers = self.run, self.run.loop[0], accesses * self._parts
        loaded, count = int(loop.loaded) - batches, self._count - accesses
        run.address[:count] = run.address[accesses : self._count]
        run.access[:count] = run.access[accesses : self._count]
        run.sub_request[: count * self._parts] = run.sub_request[transfers : self._count * self._parts]
        run.task[:loaded] = run.task[batches : int(loop.loaded)]
        some = run.access[:count]
        _lower(some.owner, batches)
        _lower(some.after, accesses)
        _lower(run.sub_request.after[: count * self._parts], transfers)
        task = run.task[:loaded]
        task.start -= accesses
        task.stop -= accesses
        _lower(task.front, accesses)
        _lower(task.back, accesses)
        _lower(run.timer[: int(loop.timers), 2], accesses)
        loop.loaded, self._count = loaded, count
        for name in ("core_batch", "core_stop", "replay_batch", "replay_stop"):
            loop[name] -= batches
        loop.core_joined = max(int(loop.core_joined) - batches, 0)
        loop.core_access -= accesses
        for name in ("holder", "lock_front", "lock_back", "return_front", "return_back"):
            _lower(loop[name], transfers)
        self._lower_ready(batches)
        _lower_tags(self._state, transfers)

    def _lower_ready(self, batches):
        """Renumber the tasks of the run queue; what a complete batch's task still has there does nothing."""
        loop, ready = self.run.loop[0], self.run.ready
        places = np.arange(int(loop.ready_head), int(loop.ready_tail)) & (len(ready) - 1)
        tasks = ready[places]
        ready[places] = np.where(tasks < 0, tasks, np.where(tasks < batches, eq.NOBODY, tasks - batches))

    def _grow(self, needed):
        """Move to a run with at least twice the room."""
        old = self.run
        size = max(needed, 2 * len(old.address))
        self.run, self.work = new_run(self._state, np.zeros(size, dtype=np.int64), size), new_open_run(size)
        for name in ("loop", "address", "access", "sub_request", "task", "timer"):
            values = getattr(old, name)
            getattr(self.run, name)[: len(values)] = values
        _move_ready(self.run, old)


class OpenWindow:
    """Single accesses at hand that begin at instants of their own, and the `open_loop.OpenRun` that holds them.

    Parameters
    ----------
    state : DramState
        Unused memory.
    room : int
        Accesses that there is room for at first.
    """

    def __init__(self, state: ds.DramState, room: int = ROOM):
        self._state = state
        self.run: Any = new_open_run(room)
        loop = self.run.loop[0]
        loop.core_due, loop.retry_due[:] = NEVER, NEVER
        loop.holder[:] = loop.first_attempt[:] = ds.NONE
        self.run.ready[0], loop.ready_tail = ol.CORE, 1

    def room(self) -> int:
        """Return how many accesses may be loaded: half the window at least, as for a `Window`."""
        used = int(self.run.loop[0].loaded)
        if 2 * used > len(self.run.address):
            self._grow()
        return len(self.run.address) - used

    def load(self, time: np.ndarray, address: np.ndarray, write: np.ndarray) -> None:
        """Take more accesses in hand, no more than there is room for."""
        run, first = self.run, int(self.run.loop[0].loaded)
        last = first + len(time)
        run.time[first:last], run.address[first:last], run.write[first:last] = time, address, write
        run.left[first:last] = self._state.config[0].sub_requests
        run.done[first:last] = 0
        run.loop[0].loaded = last

    def end(self) -> None:
        """Say that no access follows."""
        self.run.loop[0].whole = 1

    def take_complete(self) -> Completions:
        """Let go of the accesses whose end is known, up to the first whose is not."""
        run, loaded = self.run, int(self.run.loop[0].loaded)
        waiting = run.left[:loaded] != 0
        done = int(waiting.argmax()) if waiting.any() else loaded
        found = Completions(run.address[:done].copy(), run.write[:done].astype(np.int64), run.time[:done].copy(),
                            run.accept[:done].copy(), run.done[:done].copy())
        if done:
            self._drop(done)
        return found

    def _drop(self, count):
        """Number accesses anew without the first ones, of which nothing is left to do."""
        run, loop = self.run, self.run.loop[0]
        loaded = int(loop.loaded)
        for values in (run.time, run.address, run.write, run.left, run.accept, run.done):
            values[: loaded - count] = values[count:loaded]
        for name in ("loaded", "begun", "polled"):
            loop[name] -= count
        _lower(loop.holder, count)
        places = np.arange(int(loop.ready_head), int(loop.ready_tail)) & (len(run.ready) - 1)
        tasks = run.ready[places]
        run.ready[places] = np.where(tasks < 0, tasks, np.where(tasks < count, ol.NOBODY, tasks - count))
        _lower_tags(self._state, count)

    def _grow(self):
        """Move to a run with twice the room."""
        old = self.run
        self.run = new_open_run(2 * len(old.address))
        for name in ("loop", "time", "address", "write", "left", "accept", "done"):
            values = getattr(old, name)
            getattr(self.run, name)[: len(values)] = values
        _move_ready(self.run, old)


def _move_ready(run, old):
    """Copy the run queue of another run into a larger one."""
    places = np.arange(int(run.loop[0].ready_head), int(run.loop[0].ready_tail))
    run.ready[places & (len(run.ready) - 1)] = old.ready[places & (len(old.ready) - 1)]


def _lower_tags(state, by):
    """Lower what the channels know requests by."""
    state.channels.request[:, :, :, ds.REQ_TAG] -= by
    state.channels.active_request[:, :, ds.REQ_TAG] -= by


def _lower(numbers, by):
    """Lower the numbers of an array that are not negative."""
    numbers -= (by * (numbers >= 0)).astype(numbers.dtype)
