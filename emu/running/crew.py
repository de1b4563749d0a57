"""The data pass of a run, on one thread or several: the main thread leads a ring of chunks, others take pieces of them.

Threads meet in the kernel (`kernels.data.data`), where a piece is handed out in less than a microsecond.
"""

import ctypes
import functools

import numpy as np

from .. import isa
from ..kernels import layout
from ..kernels.compiler.atomics import IS_ATOMIC
from ..kernels.compiler.jit import bind, entry_of
from ..kernels.compiler.placement import Placement, zeros_apart
from ..kernels.data import plan as pl
from ..kernels.data.plan import ALONE, HELP, LEAD, plan_chunk
from ..machine.core import Machine, hand_state
from .run_errors import data_error
from .work import MOST_WORK, data_work, pieces
from .workers import Worker, heard

data_slice = entry_of("data.data", "data_slice")

LEAST_WORK = 1 << 18  # multiply-adds of an M_MM: smaller tiles travel between CPUs for longer than they are multiplied
SLOTS = 8  # chunks that are ready for data, at most
_NO_EVENTS = np.zeros((0, layout.EV_WIDTH), dtype=np.int64)


class Solo:
    """The thread that executes data events as control left them.

    Attributes
    ----------
    events : int64[length, EV_WIDTH]

    Parameters
    ----------
    machine : Machine
    length : int
        Events of a chunk, at most.
    """

    def __init__(self, machine: Machine, length: int):
        self._machine = machine
        self._work = data_work(machine.cfg, machine.descriptors)
        self.events = np.zeros((length, layout.EV_WIDTH), dtype=np.int64)

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._machine.data,))

    def prepare(self) -> None:
        """Load (or compile) the kernel."""
        self._call(_NO_EVENTS, 0, 0, ALONE, pl.NO_PLAN)

    def run(self, count: int) -> None:
        """Execute the first `count` events.

        Raises
        ------
        EmuError
            An operation has no kernel.
        """
        events = self.events
        for first, past, heavy in pieces(events[:count, 0], self._work):
            done = heard(heavy, self._call, events, first, past, ALONE, pl.NO_PLAN)
            if done < past:
                raise data_error(int(events[done, 0]))


def can_work_together(machine: Machine) -> bool:
    """Tell whether several threads may execute the data of a machine: no event is longer than a call may be.

    Returns
    -------
    bool
    """
    return IS_ATOMIC and int(data_work(machine.cfg, machine.descriptors).max()) <= MOST_WORK


def plan_call(machine: Machine, events: np.ndarray, plan: pl.Plan):
    """Bind the kernel that plans the next chunk of a ring.

    Returns
    -------
    callable
        Of the number of events and whether to share (0 or 1).
    """
    work = data_work(machine.cfg, machine.descriptors)
    return bind(plan_chunk, (events,), (plan, machine.cfg, machine.descriptors, work, MOST_WORK))


def prepare_plan(machine: Machine) -> None:
    """Load (or compile) the kernel that finds what several threads may do of a chunk."""
    plan_call(machine, _NO_EVENTS, pl.NO_PLAN._replace(shared=np.zeros(pl.SHARED_WIDTH, dtype=np.int64)))(0, 0)


class Crew:
    """The threads that execute data events, of a ring of chunks.

    Parameters
    ----------
    machine : Machine
        Of which `can_work_together`.
    length : int
        Events of a chunk, at most.
    workers : list of Worker
        Those that may help, one at least. The first does when it is told, the others all the time.
    """

    slots = SLOTS

    def __init__(self, machine: Machine, length: int, workers: list[Worker]):
        self._machine = machine
        self._length = length
        self.shares = bool(data_work(machine.cfg, machine.descriptors)[isa.M_MM] >= LEAST_WORK)
        rows = SLOTS * length
        self._events = np.zeros((rows, layout.EV_WIDTH), dtype=np.int64)
        self._shared = zeros_apart(pl.SHARED_WIDTH, np.int64)
        self._plan = pl.Plan(
            segments=np.zeros((rows, pl.SEG_WIDTH), dtype=np.int64),
            pieces=np.zeros((rows, pl.PIECE_WIDTH), dtype=np.int64),
            counts=zeros_apart(SLOTS, np.int64),
            shared=self._shared,
        )
        shared = self._shared
        shared[pl.LAST], shared[pl.IS_CLEAR], shared[pl.CPU] = pl.FOREVER, 1, -1
        for at, name in ((pl.YIELD, "sched_yield"), (pl.SLEEP, "usleep"), (pl.WHERE, "sched_getcpu")):
            shared[at] = _address_of(name)
        self._helper = _Helper(machine)
        self._others = [(worker, _Helper(machine)) for worker in workers[1:]] if self.shares else []
        self._follows = False

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._machine.data,))

    @functools.cached_property
    def _plan_call(self):
        return plan_call(self._machine, self._events, self._plan)

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        self._call(_NO_EVENTS, 0, 0, ALONE, pl.NO_PLAN)
        self._helper.prepare()
        _ = self._plan_call

    @property
    def ready(self) -> int:
        """Chunks that were planned."""
        return int(self._shared[pl.READY])

    @property
    def led(self) -> int:
        """Chunks that are done."""
        return int(self._shared[pl.LED])

    @property
    def rows_written(self) -> int:
        """Row behind the highest that chunks which were planned write, about."""
        return int(self._shared[pl.ROWS_WRITTEN])

    @property
    def has_room(self) -> bool:
        """Whether there is a slot for the next chunk."""
        return self.ready - self.led < SLOTS

    @property
    def is_dismissed(self) -> bool:
        """Whether nobody leads any more."""
        return self.led == pl.GIVEN_UP

    def next_events(self) -> np.ndarray:
        """Tell where control may write the events of the next chunk: int64[length, EV_WIDTH]."""
        first = self.ready % SLOTS * self._length
        return self._events[first : first + self._length]

    def plan(self, count: int) -> None:
        """Find what threads may do side by side of the first `count` of the next events; they may be led then."""
        self._plan_call(count, int(self.shares))

    def end(self) -> None:
        """Let no chunk follow those that are planned."""
        self._shared[pl.LAST] = self._shared[pl.READY]

    def reopen(self) -> None:
        """Let chunks follow; the other threads begin to help."""
        self._shared[pl.LAST] = pl.FOREVER
        if not self._follows:
            self._follows = True
            for worker, helper in self._others:
                worker.help(functools.partial(self._follow, worker, helper))

    def _follow(self, worker, helper):
        placement = Placement()
        while not self.is_dismissed:
            self.keep_off(placement, worker)
            helper.help(self._events, -1, pl.FOREVER, self._plan)

    def lead(self, turns: int, most: int) -> int:
        """Execute the chunks that are planned, in order; others are waited for as many turns.

        Returns
        -------
        int
            STARVED, PAUSED (the work was more than `most`) or OVER, of `kernels.data.data`.

        Raises
        ------
        EmuError
            An operation has no kernel.
        """
        told = self._call(self._events, turns, most, LEAD, self._plan)
        if told < 0:
            raise data_error(int(self._events[-1 - told, 0]))
        return told

    def help(self, ready: int, led: int) -> None:
        """Run pieces on the first worker until so many chunks are led, or other than so many are planned."""
        self._helper.help(self._events, ready, led, self._plan)

    def keep_off(self, placement: Placement, worker: Worker) -> None:
        """Have a worker leave the CPU of the thread that leads."""
        cpu = int(self._shared[pl.CPU])
        if cpu >= 0:
            placement.keep_off((worker.native_id,), cpu)

    def dismiss(self) -> None:
        """Let no thread wait for a chunk that nobody will lead any more."""
        self._shared[pl.LED] = pl.GIVEN_UP


class _Helper:
    """A thread's accumulators and scratch of its own; it shares the SRAMs with the main thread."""

    def __init__(self, machine):
        self._state = hand_state(machine.data)

    @functools.cached_property
    def _call(self):
        return bind(data_slice, (), (self._state,))

    def prepare(self):
        """Load the kernel."""
        self._call(_NO_EVENTS, 0, 0, ALONE, pl.NO_PLAN)

    def help(self, events, ready, led, plan):
        """Run pieces of a ring of chunks."""
        self._call(events, ready, led, HELP, plan)


def _address_of(name):
    """Address of a function of the C library, 0 where it is not there."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0
