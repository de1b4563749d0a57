"""The data pass of a run, on one thread or several: the main thread leads a chunk, others take pieces of it.

Threads meet in the kernel (`kernels.data.data`), where a piece is handed out in less than a microsecond; handing one
over in Python takes fifty. So each thread makes one call a chunk, and comes when its other work is done.
"""

import ctypes
from collections.abc import Callable, Iterator

import numpy as np

from ..kernels import layout
from ..kernels.compiler.atomics import IS_ATOMIC
from ..kernels.compiler.jit import bind
from ..kernels.data import plan as pl
from ..kernels.data.data import ALONE, HELP, LEAD, data_slice
from ..kernels.data.plan import plan_chunk
from ..machine.core import Machine, hand_state
from .run_errors import data_error
from .work import MOST_WORK, data_work, pieces
from .workers import Worker, heard

LEAST_PIECE = 1 << 17  # units of `work`: of a piece that is handed out
LEAST_GROUP = 1 << 18  # of a group: less is done sooner by one thread


class Buffer:
    """Data events of a chunk and how they are handed out; control may fill one while data works on another.

    Parameters
    ----------
    length : int
        Events it holds.
    is_planned : bool
        Whether several threads may work on it.
    """

    def __init__(self, length: int, is_planned: bool):
        self.events = np.zeros((length, layout.EV_WIDTH), dtype=np.int64)
        planned = length if is_planned else 0
        self._segments = np.zeros((planned, pl.SEG_WIDTH), dtype=np.int64)
        self._pieces = np.zeros((planned, pl.PIECE_WIDTH), dtype=np.int64)
        self.segments = 0
        self.clear_plan()

    def clear_plan(self) -> None:
        """Begin the plan of the next chunk; threads that are late keep the counters of the last one."""
        self.plan = pl.Plan(self._segments, self._pieces, np.zeros(pl.SHARED_WIDTH, dtype=np.int64))

    def calls(self) -> Iterator[tuple[int, int]]:
        """Cut the segments into runs of at most MOST_WORK, or of one; yields (first, past)."""
        sums = np.cumsum(self._segments[: self.segments, pl.SEG_WORK])
        first, done = 0, 0
        while first < self.segments:
            past = max(first + 1, int(np.searchsorted(sums, done + MOST_WORK, side="right")))
            yield first, past
            first, done = past, int(sums[past - 1])


class Crew:
    """The threads that execute data events.

    Parameters
    ----------
    machine : Machine
    workers : list of Worker
        Those that may help.
    """

    def __init__(self, machine: Machine, workers: list[Worker]):
        self._machine = machine
        self._work = data_work(machine.cfg, machine.descriptors)
        can_share = IS_ATOMIC and int(self._work.max()) <= MOST_WORK
        self._helpers = [_Helper(worker, hand_state(machine.data)) for worker in workers] if can_share else []
        self._limits = np.zeros(pl.LIMITS, dtype=np.int64)
        self._limits[pl.LEAST_PIECE], self._limits[pl.LEAST_GROUP] = LEAST_PIECE, LEAST_GROUP
        self._limits[pl.MOST_GROUP] = MOST_WORK
        self._yield_at = _address_of("sched_yield") if self._helpers else 0
        self._is_clear = 1
        self._led: Buffer | None = None
        self._call: Callable | None = None
        self._nothing = Buffer(0, False)

    @property
    def shares(self) -> bool:
        """Whether other threads help."""
        return bool(self._helpers)

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        self._call = bind(data_slice, (), (self._machine.data,))
        self._call(self._nothing.events, 0, 0, ALONE, self._nothing.plan)
        if self.shares:
            self.prepare_plan()

    def prepare_plan(self) -> None:
        """Load (or compile) the kernel that plans."""
        self._plan(self._nothing, 0)

    def plan(self, buffer: Buffer, count: int) -> None:
        """Find what threads may do side by side in the first `count` events of a buffer, the next of the run."""
        if not self.shares:
            return
        buffer.clear_plan()
        shared = buffer.plan.shared
        shared[pl.IS_CLEAR], shared[pl.YIELD] = self._is_clear, self._yield_at
        self._plan(buffer, count)
        self._is_clear = int(shared[pl.IS_CLEAR])

    def _plan(self, buffer, count):
        machine = self._machine
        buffer.segments = plan_chunk(buffer.events, count, machine.cfg, machine.descriptors, self._work, self._limits,
                                     buffer.plan)

    def ask_for_help(self, buffer: Buffer) -> None:
        """Have the others take pieces of a planned buffer, each once it is free."""
        if buffer.plan.shared[pl.PIECES]:
            for helper in self._helpers:
                helper.help(buffer)

    def run(self, buffer: Buffer, count: int) -> None:
        """Execute the first `count` events of a buffer.

        Raises
        ------
        EmuError
            An operation has no kernel.
        """
        if self._call is None:
            self.prepare()
        if not self.shares:
            self._run_in_order(buffer.events[:count])
            return
        self._led = buffer
        for first, past in buffer.calls():
            done = self._call(buffer.events, first, past, LEAD, buffer.plan)
            if done < 0:
                raise data_error(int(buffer.events[-1 - done, 0]))
        self._led = None

    def _run_in_order(self, events):
        """Execute events one after the other."""
        for first, past, heavy in pieces(events[:, 0], self._work):
            done = heard(heavy, self._call, events, first, past, ALONE, self._nothing.plan)
            if done < past:
                raise data_error(int(events[done, 0]))

    def give_up(self) -> None:
        """Let no thread wait for a chunk that nobody leads any more."""
        if self._led is not None:
            self._led.plan.shared[pl.GIVEN_UP] = 1


class _Helper:
    """A worker with accumulators and scratch of its own, which shares the SRAMs with the main thread."""

    def __init__(self, worker, state):
        self._worker = worker
        self._state = state
        self._call: Callable | None = None

    def help(self, buffer):
        """Take pieces of a buffer once the worker is free."""
        events, plan = buffer.events, buffer.plan
        self._worker.help(lambda: self._help(events, plan))

    def _help(self, events, plan):
        if self._call is None:
            self._call = bind(data_slice, (), (self._state,))
        self._call(events, 0, 0, HELP, plan)


def _address_of(name):
    """Address of a function of the C library, 0 where it is not there."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0
