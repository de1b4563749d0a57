"""Control, timing and data of a run side by side, the slices of control in a ring between them.

The main thread runs the data of one slice after the other and stays in the kernel as long as there are any. A worker
runs control ahead of it, where no address depends on data, and timing; what is left of its time it spends on data,
too. Where the worker is late, the main thread runs the next slice of control itself, or timing of the oldest.

    main     control 0 | data 0 | data 1      | data 2 ...
    worker               control 1 | control 2 | timing 0 | control 3 | products of data 2 ...

Kernels find each other's work by counters (`kernels.data.plan`). A hand-over in Python would cost a slice some fifty
microseconds on each side: the lock of Python changes hands, and a thread that sleeps is woken.
"""

import collections
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels import status as st
from ..kernels.compiler.placement import Placement
from ..kernels.data.plan import FOREVER, OVER, PAUSED
from ..kernels.limits import TIME_LIMIT
from .crew import Crew
from .workers import Worker

BEHIND = 8  # slices that timing may be behind by: one that holds little for data may hold much for timing
HURRY = 4  # from so many on the worker leaves control to the main thread
TURNS = 2000  # of waiting for control in the kernel, less than a millisecond
FIRST_SLICES = (512, 2048)  # instructions: data begins early


class Chunk(NamedTuple):
    """What control hands to timing and to the timeline.

    Attributes
    ----------
    mem_events : int64[CHUNK, MEV_WIDTH]
    executed : int64[OBSERVED_SLICE, TR_WIDTH]
        Each executed instruction; empty without a timeline.
    """

    mem_events: np.ndarray
    executed: np.ndarray


class Slice(NamedTuple):
    """What control left behind a slice of instructions.

    Attributes
    ----------
    status : int
        Of `kernels.status`.
    chunk : Chunk
        Its memory events and executed instructions, `mem_events` and `executed` of them.
    events, mem_events, executed : int
        How many data events, memory events and instructions there are.
    pc, so_far, delta, compute : int
        Word index behind it, instructions so far, compute picoseconds since the last memory event and in all.
    """

    status: int
    chunk: Chunk
    events: int
    mem_events: int
    executed: int
    pc: int
    so_far: int
    delta: int
    compute: int

    @property
    def has_failed(self) -> bool:
        """Whether an instruction was illegal, or simulated time passes its limit."""
        return self.status >= st.FIRST_ERROR or self.compute > TIME_LIMIT

    def goes_on(self, limit: int | None) -> bool:
        """Tell whether another slice follows where `limit` instructions are executed."""
        return not self.has_failed and self.status != st.DONE and (limit is None or self.so_far < limit)


class Pipeline:
    """The slices of a run, in order.

    Parameters
    ----------
    control : callable
        Runs the next slice of control, of at most so many instructions (or None) and up to as many of the whole run,
        into given events (int64[length, EV_WIDTH]).
    timing : callable
        Does what follows control in a slice, except data.
    crew : Crew
        Runs the data.
    worker : Worker
    touch : callable
        Has the rows of the vector SRAM before a given one occupy memory; data soon needs them.
    is_ahead : bool
        Whether control may be ahead of data.
    """

    def __init__(self, control: Callable[[np.ndarray, int | None, int | None], Slice], timing: Callable[[Slice], None],
                 crew: Crew, worker: Worker, touch: Callable[[int], None], is_ahead: bool):
        self._control = control
        self._timing = timing
        self._crew = crew
        self._worker = worker
        self._touch = touch
        self._rows = 0
        self._is_ahead = is_ahead
        self._placement = Placement()
        self._turn = threading.Lock()  # whoever holds it runs the next slice of control
        self._timer = threading.Lock()  # and this one, timing of the oldest slice
        self._room = threading.Semaphore(BEHIND)
        self._untimed: collections.deque[Slice] = collections.deque()
        self._last: Slice | None = None
        self._limit: int | None = None
        self._is_done = True  # data and timing of all that control may do
        self._is_over = True  # control
        self._has_failed = False  # the worker
        self._first = list(FIRST_SLICES)

    def step(self, limit: int | None, most: int) -> Slice | None:
        """Run slices to the end of the run or of `limit` instructions, but data of hardly more work than `most`.

        Returns
        -------
        Slice or None
            The last one; what stands in it is not done if it failed. None: there is more to do.

        Raises
        ------
        EmuError
            What timing or data raises.
        """
        if self._is_done:
            if self._last is not None and not self._last.goes_on(limit):
                return self._last
            self._limit, self._is_over, self._is_done = limit, False, False
            self._crew.reopen()
            self._worker.start(self._assist)
            self._advance()
        turns = 0
        while (told := self._crew.lead(turns, most)) != OVER:
            if told == PAUSED:
                return None
            if self._has_failed:
                self._worker.join()
            turns = 0 if self._advance() or self._time() else TURNS
        self._worker.join()
        self._is_done = True
        return self._last

    def _advance(self) -> bool:
        """Run the next slice of control; False where the other thread does, there is no room for it, or it is over."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._is_over or not self._crew.has_room or not self._room.acquire(blocking=False):
                return False
            most = self._first.pop(0) if self._first else None
            found = self._last = self._control(self._crew.next_events(), most, self._limit)
            if found.has_failed:
                self._room.release()
            else:
                self._untimed.append(found)
                self._crew.plan(found.events)
            if not found.goes_on(self._limit):
                self._is_over = True
                self._crew.end()
            return True
        finally:
            self._turn.release()

    def _time(self) -> bool:
        """Do what follows control in the oldest slice; False where the other thread does, or there is none."""
        if not self._timer.acquire(blocking=False):
            return False
        try:
            if not self._untimed:
                return False
            try:
                self._timing(self._untimed.popleft())
            finally:
                self._room.release()
            return True
        finally:
            self._timer.release()

    def _assist(self):
        """Be the worker, until timing and data are done."""
        try:
            crew = self._crew
            while not crew.is_dismissed:
                crew.keep_off(self._placement, self._worker)
                if self._is_ahead and len(self._untimed) < HURRY and self._advance():
                    if crew.rows_written > self._rows:
                        self._rows = crew.rows_written
                        self._touch(self._rows)
                    continue
                ready, is_over = crew.ready, self._is_over  # in this order: what comes now ends the wait below
                if self._untimed:
                    if not self._time():  # the main thread does, and will lead or run control then
                        crew.help(ready, crew.led + 1)
                elif not is_over:
                    has_to_wait = not self._is_ahead or crew.has_room  # for the main thread, which runs control
                    crew.help(ready, FOREVER if has_to_wait else ready - crew.slots + 1)
                elif crew.led < crew.ready:
                    crew.help(crew.ready, crew.ready)
                else:
                    return
        except BaseException:
            self._has_failed = True
            raise
