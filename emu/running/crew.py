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
from ..kernels.data.data import ALONE, AWAIT, HELP, LEAD, data_slice
from ..kernels.data.plan import plan_chunk
from ..machine.core import Machine, hand_state
from ..machine.lazy_arrays import zeros_apart
from .run_errors import data_error
from .work import MOST_WORK, data_work, pieces
from .workers import Worker, heard

LEAST_WORK = 1 << 18  # multiply-adds of an M_MM: smaller tiles travel between CPUs for longer than they are multiplied


class Crew:
    """The threads that execute data events, and the chunk they work on.

    Parameters
    ----------
    machine : Machine
    length : int
        Events of a chunk, at most.
    workers : list of Worker
        Those that may help.

    Attributes
    ----------
    events : int64[length, EV_WIDTH]
        Events of the chunk.
    """

    def __init__(self, machine: Machine, length: int, workers: list[Worker]):
        self._machine = machine
        self._work = data_work(machine.cfg, machine.descriptors)
        self.events = np.zeros((length, layout.EV_WIDTH), dtype=np.int64)
        can_share = IS_ATOMIC and self._work[isa.M_MM] >= LEAST_WORK and int(self._work.max()) <= MOST_WORK
        self._helpers = [_Helper(worker, hand_state(machine.data)) for worker in workers] if can_share else []
        self._plan = self._new_plan(length) if self._helpers else pl.NO_PLAN
        self._chunks, self._is_clear = 0, 1
        self._count = self._segments = 0  # of this chunk

    def _new_plan(self, length):
        plan = pl.Plan(
            np.zeros((length, pl.SEG_WIDTH), dtype=np.int64), np.zeros((length, pl.PIECE_WIDTH), dtype=np.int64),
            pl.NO_PLAN.shared, zeros_apart(pl.CREW_WIDTH, np.int64),
        )
        plan.crew[pl.YIELD] = _address_of("sched_yield")
        return plan

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._machine.data,))

    @functools.cached_property
    def _plan_call(self):
        return bind(plan_chunk, (), (self._machine.cfg, self._work, MOST_WORK))

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        self._call(self.events, 0, 0, ALONE, self._plan)
        if self._helpers:
            self.prepare_plan()

    def prepare_plan(self) -> None:
        """Load (or compile) the kernel that plans."""
        self._plan_call(self.events, 0, pl.NO_PLAN)

    def plan(self, count: int) -> None:
        """Find what threads may do side by side of the first `count` events of the chunk, and have them begin."""
        self._count = count
        if not self._helpers:
            return
        self._chunks += 1
        shared = zeros_apart(pl.SHARED_WIDTH, np.int64)  # a thread that is late looks at those of an earlier chunk
        shared[pl.NUMBER], shared[pl.IS_CLEAR] = self._chunks, self._is_clear
        self._plan = self._plan._replace(shared=shared)
        self._segments = self._plan_call(self.events, count, self._plan)
        self._is_clear = int(shared[pl.IS_CLEAR])
        self._ask(HELP)

    def _ask(self, part):
        """Have the others play a part in this chunk, each once it is free."""
        for helper in self._helpers:
            helper.ask(part, self.events, self._plan)

    def run(self) -> None:
        """Execute the events of the chunk, on all threads that are free.

        Raises
        ------
        EmuError
            An operation has no kernel.
        """
        if not self._helpers:
            self._run_in_order(self._count)
            return
        self._ask(AWAIT)
        for first, past in _calls(self._plan.segments[: self._segments, pl.SEG_WORK]):
            done = self._call(self.events, first, past, LEAD, self._plan)
            if done < 0:
                raise data_error(int(self.events[-1 - done, 0]))

    def _run_in_order(self, count):
        for first, past, heavy in pieces(self.events[:count, 0], self._work):
            done = heard(heavy, self._call, self.events, first, past, ALONE, self._plan)
            if done < past:
                raise data_error(int(self.events[done, 0]))

    def dismiss(self) -> None:
        """Let no thread wait for a chunk that nobody will lead any more."""
        if self._helpers:
            self._plan.crew[pl.LED] = pl.GIVEN_UP


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
