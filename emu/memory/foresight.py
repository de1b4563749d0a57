"""A second thread for DRAM timing: it answers lists of memory events ahead of their time (`kernels.dram.foresight`).

A batch of events is cut into parts, and parts into windows. In each window the timing pass goes from the first part on
and the other thread from the last part back, until they meet. Then the timing pass finds the rest of the window
answered, and the other thread is in the next window. Which parts are answered changes no figure.
"""

from __future__ import annotations

import queue
import threading

import numpy as np

from ..kernels import layout
from ..kernels.compiler.jit import bind
from ..kernels.compiler.placement import Placement, most_threads
from ..kernels.dram import answers as an
from ..kernels.dram import timing as dram_timing
from ..kernels.dram.foresight import Foreseer
from ..kernels.dram.state import BANKS, NONE, DramState
from ..kernels.limits import ACCESS_BYTES
from ..kernels.memory import memo_table as mt
from ..kernels.memory.transfer import TIMING_OK

PART = 4096  # accesses of a part, about
WINDOW = 16  # parts of a window
LEAST = 4 * PART  # accesses of a batch that is worth it
THREADS = 2  # of a run without data that was not told how many


def default_threads() -> int:
    """Choose how many threads time a DRAM without data: two where this process may use two CPUs.

    Returns
    -------
    int
    """
    return min(THREADS, most_threads())


def no_answers() -> an.Foresight:
    """Make answers for a timing pass without foresight: there are none.

    Returns
    -------
    Foresight
    """
    return _new_answers(1, 1, np.zeros(1, dtype=np.int64))


def _new_answers(events, text, arena):
    reg, text = np.zeros(an.F_WIDTH, dtype=np.int64), np.zeros(text, dtype=np.int64)
    return an.Foresight(reg, np.full(events, NONE), text, arena)


def accesses_of(descriptors: np.ndarray) -> np.ndarray:
    """Count the accesses of a transfer by DMA descriptor, about.

    Returns
    -------
    int64[NUM_DESCRIPTORS]
    """
    blocks = -(-descriptors[:, [layout.DESC_ROW_BYTES, layout.DESC_SCALE_BYTES]] // ACCESS_BYTES)
    return np.maximum(1, descriptors[:, layout.DESC_ROWS] * blocks.sum(axis=1))


class Foresight:
    """The thread, and what it works on.

    Parameters
    ----------
    dram : DramState
        Of the timing pass.
    new_memory : callable
        Gives a DramState and a DramMemo, both unused, of the same description.
    accesses : int
        Of the longest list.
    """

    def __init__(self, dram: DramState, new_memory, accesses: int):
        self._dram = dram
        state, memo = new_memory()
        self.answers = _new_answers(an.MOST_EVENTS, an.MOST_TEXT, memo.arena)
        addr, row = np.zeros(accesses, dtype=np.int64), np.zeros(len(dram.channels) * BANKS, dtype=np.int64)
        self._foreseer = Foreseer(self.answers, memo, state, addr, row)
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._warnings = np.geterr()  # of the thread that made it, where `execute` has turned some off
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._placement = Placement()
        self._at = 0  # part that the timing pass works on
        self._answered: list[bool] = []
        self._call = (None, None, None)  # descriptors, their accesses, call

    def _start(self):
        """Start the thread, if there can be one.

        Returns
        -------
        bool
        """
        if self._thread is None:
            thread = threading.Thread(target=self._loop, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads here: every list is timed without answers
                return False
            self._thread = thread
        return True

    def _loop(self):
        while (job := self._jobs.get()) is not None:
            try:
                with np.errstate(**self._warnings):
                    job()
            except BaseException as raised:  # handed to the thread that times
                self._error = raised
            finally:
                self._idle.set()

    def close(self):
        """End the thread once it is done."""
        self._at = an.MOST_EVENTS
        if self._thread is not None:
            self._jobs.put(None)

    def warm(self, descriptors: np.ndarray) -> None:
        """Have the kernel compiled, or loaded from the cache, and the thread started."""
        self._start()
        self._call_of(descriptors)[1](np.zeros((1, layout.MEV_WIDTH), dtype=np.int64), 0, 0)

    def _call_of(self, descriptors):
        """The accesses of a transfer by descriptor, and the kernel's call."""
        if self._call[0] is not descriptors:
            call = bind(dram_timing.foresee_dram, (), (descriptors, self._foreseer))
            self._call = descriptors, accesses_of(descriptors), call
        return self._call[1:]

    def run(self, events: np.ndarray, count: int, descriptors: np.ndarray, timing) -> int:
        """Run a batch: `timing(events, count)` runs events in order.

        Returns
        -------
        int
            Its first status that is not `TIMING_OK`, or that.
        """
        bounds = self._parts(events[:count], descriptors)
        if count > an.MOST_EVENTS or len(bounds) < 3 or not self._start():
            return timing(events, count)
        self._keep_off()
        self._begin(events, bounds, descriptors)
        status = TIMING_OK
        try:
            for first, past, last in self._slices(bounds):
                self._keep_off()
                self.answers.reg[an.F_FIRST], self.answers.reg[an.F_HOLD] = first, int(not last)
                status = timing(events[first:], past - first)
                if status != TIMING_OK:
                    break
        finally:
            self._at = len(bounds)
            self.answers.reg[[an.F_READY, an.F_FIRST, an.F_HOLD]] = 0
        if self._error is not None:
            raise self._error
        return status

    def _keep_off(self):
        """Keep the thread off this one's CPU."""
        if self._thread is not None:
            self._placement.keep_off((self._thread.native_id,))

    def _parts(self, events, descriptors):
        """First events of the parts, and the number of events at the end."""
        sums = np.cumsum(self._call_of(descriptors)[0][events[:, layout.MEV_DESCRIPTOR]])
        if len(sums) == 0 or sums[-1] < LEAST:
            return [0]
        cuts = np.searchsorted(sums, np.arange(PART, sums[-1], PART), side="left") + 1
        return [0, *(int(cut) for cut in np.unique(cuts) if cut < len(events)), len(events)]

    def _begin(self, events, bounds, descriptors):
        """Let the thread begin with a batch."""
        self._idle.wait()
        memo, answers = self._foreseer.memo, self.answers
        if memo.reg[mt.MEMO_USED] > len(memo.arena) // 2 or memo.reg[mt.MEMO_PATTERNS] > len(memo.table) // 4:
            memo.table[:] = 0
            memo.reg[mt.MEMO_USED] = memo.reg[mt.MEMO_PATTERNS] = 0
        answers.at[: len(events)] = NONE
        answers.reg[an.F_USED] = 0
        self._foreseer.row[:] = self._dram.channels.open_row.ravel()
        self._at = 0
        self._answered = [False] * len(bounds)
        call = self._call_of(descriptors)[1]
        self._idle.clear()
        self._jobs.put(lambda: self._foresee(call, events, bounds))

    def _foresee(self, call, events, bounds):
        """Answer parts, on the other thread."""
        parts = len(bounds) - 1
        for window in range(0, parts, WINDOW):
            for part in range(min(window + WINDOW, parts) - 1, window - 1, -1):
                if part <= self._at:
                    break
                if call(events, bounds[part], bounds[part + 1]) < bounds[part + 1]:
                    return
                self._answered[part] = True

    def _slices(self, bounds):
        """Take parts in order, answered ones in one piece: (first event, past the last, whether it is the last)."""
        part, parts = 0, len(bounds) - 1
        while part < parts:
            self._at = part
            past = part + 1
            ready = self._answered[part]
            while ready and past < parts and self._answered[past]:
                past += 1
            self._at = past - 1
            self.answers.reg[an.F_READY] = ready
            yield bounds[part], bounds[past], past == parts
            part = past
