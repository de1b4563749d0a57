"""The data pass of a run, on one thread or several: the main thread leads a chunk, others take pieces of it.

Threads meet in the kernel (`kernels.data.data`), where a piece is handed out in less than a microsecond; handing one
over in Python takes fifty. So each thread makes one call a chunk, and comes when its other work is done.
"""

import ctypes
import functools

import numpy as np

from .. import isa
from ..kernels import layout
from ..kernels.compiler.atomics import IS_ATOMIC
from ..kernels.compiler.jit import bind
from ..kernels.data import plan as pl
from ..kernels.data.data import ALONE, LEAD, data_slice
from ..kernels.data.plan import plan_chunk
from ..machine.core import Machine, hand_state
from ..machine.lazy_arrays import zeros_apart
from .run_errors import data_error
from .work import MOST_WORK, data_work, pieces
from .workers import Worker, heard

LEAST_WORK = 1 << 18  # multiply-adds of an M_MM: smaller tiles travel between CPUs for longer than they are multiplied
_NO_EVENTS = np.zeros((0, layout.EV_WIDTH), dtype=np.int64)


class DataChunk:
    """Data events of a chunk and how they are handed out; control may fill one while data works on another.

    Attributes
    ----------
    events : int64[length, EV_WIDTH]
    count : int
        How many there are.
    plan : Plan
    segments : int
        How many the plan has.
    """

    def __init__(self, length: int, crew: np.ndarray | None):
        self.events = np.zeros((length, layout.EV_WIDTH), dtype=np.int64)
        self.plan = pl.NO_PLAN
        if crew is not None:
            self.plan = pl.Plan(np.zeros((length, pl.SEG_WIDTH), dtype=np.int64),
                                np.zeros((length, pl.PIECE_WIDTH), dtype=np.int64), pl.NO_PLAN.shared, crew)
        self.count = self.segments = 0


class Crew:
    """The threads that execute data events.

    Parameters
    ----------
    machine : Machine
    length : int
        Events of a chunk, at most.
    workers : list of Worker
        Those that may help.
    """

    def __init__(self, machine: Machine, length: int, workers: list[Worker]):
        self._machine = machine
        self._length = length
        self._work = data_work(machine.cfg, machine.descriptors)
        can_share = IS_ATOMIC and self._work[isa.M_MM] >= LEAST_WORK and int(self._work.max()) <= MOST_WORK
        self._helpers = [_Helper(worker, hand_state(machine.data)) for worker in workers] if can_share else []
        self._counters: np.ndarray | None = None
        if self._helpers:
            self._counters = zeros_apart(pl.CREW_WIDTH, np.int64)
            self._counters[pl.YIELD] = _address_of("sched_yield")
        self._chunks, self._is_clear = 0, 1

    def new_chunk(self) -> DataChunk:
        """Make room for a chunk.

        Returns
        -------
        DataChunk
        """
        return DataChunk(self._length, self._counters)

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._machine.data,))

    @functools.cached_property
    def _plan_call(self):
        return bind(plan_chunk, (), (self._machine.cfg, self._work, MOST_WORK))

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        self._call(_NO_EVENTS, 0, 0, ALONE, pl.NO_PLAN)
        if self._helpers:
            self.prepare_plan()

    def prepare_plan(self) -> None:
        """Load (or compile) the kernel that plans."""
        self._plan_call(_NO_EVENTS, 0, pl.NO_PLAN)

    def plan(self, chunk: DataChunk, count: int) -> None:
        """Find what threads may do side by side of the first `count` events of the run's next chunk."""
        chunk.count = count
        if not self._helpers:
            return
        self._chunks += 1
        shared = zeros_apart(pl.SHARED_WIDTH, np.int64)  # a thread that is late looks at those of an earlier chunk
        shared[pl.NUMBER], shared[pl.IS_CLEAR] = self._chunks, self._is_clear
        chunk.plan = chunk.plan._replace(shared=shared)
        chunk.segments = self._plan_call(chunk.events, count, chunk.plan)
        self._is_clear = int(shared[pl.IS_CLEAR])

    def ask(self, part: int, chunk: DataChunk) -> None:
        """Have the others play a part in a chunk, HELP or AWAIT, each once it is free."""
        for helper in self._helpers:
            helper.ask(part, chunk.events, chunk.plan)

    def run(self, chunk: DataChunk) -> None:
        """Execute the events of a chunk, on all threads that are free.

        Raises
        ------
        EmuError
            An operation has no kernel.
        """
        if not self._helpers:
            self._run_in_order(chunk)
            return
        for first, past in _calls(chunk.plan.segments[: chunk.segments, pl.SEG_WORK]):
            done = self._call(chunk.events, first, past, LEAD, chunk.plan)
            if done < 0:
                raise data_error(int(chunk.events[-1 - done, 0]))

    def _run_in_order(self, chunk):
        events = chunk.events
        for first, past, heavy in pieces(events[: chunk.count, 0], self._work):
            done = heard(heavy, self._call, events, first, past, ALONE, chunk.plan)
            if done < past:
                raise data_error(int(events[done, 0]))

    def dismiss(self) -> None:
        """Let no thread wait for a chunk that nobody will lead any more."""
        if self._counters is not None:
            self._counters[pl.LED] = pl.GIVEN_UP


class _Helper:
    """A worker with accumulators and scratch of its own, which shares the SRAMs with the main thread."""

    def __init__(self, worker, state):
        self._worker = worker
        self._state = state

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._state,))

    def ask(self, part, events, plan):
        """Play a part in a chunk once the worker is free."""
        self._worker.help(lambda: self._play(part, events, plan))

    def _play(self, part, events, plan):
        self._call(events, 0, 0, part, plan)


def _calls(work):
    """Cut segments of so much work into runs of at most MOST_WORK, or of one; yields (first, past)."""
    sums = np.cumsum(work)
    first, done = 0, 0
    while first < len(sums):
        past = max(first + 1, int(np.searchsorted(sums, done + MOST_WORK, side="right")))
        yield first, past
        first, done = past, int(sums[past - 1])


def _address_of(name):
    """Address of a function of the C library, 0 where it is not there."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0
