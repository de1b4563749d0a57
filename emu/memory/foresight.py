"""Two threads for a DRAM: one times events while the other is control, and then answers lists ahead of their time.

`kernels.dram.foresight` says how.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.compiler.jit import bind
from ..kernels.dram import answers as an
from ..kernels.dram import timing as dram_timing
from ..kernels.dram.foresight import Foreseer
from ..kernels.dram.state import BANKS, NONE
from ..kernels.dram.timing import DramMemory
from ..kernels.memory import following as fo
from ..kernels.memory import memo_table as mt
from ..kernels.memory import transfer as tr
from .arrays import take_words, words_apart

PATIENCE = 1 << 15  # turns that the thread which follows waits for events: about a millisecond
LAST_PATIENCE = 1 << 18  # turns in which it is done with an event, while control waits for it
WINDOWS = 1  # that are answered before Ctrl-C is heard: some milliseconds


def no_answers() -> an.Foresight:
    """Make answers for a timing pass without foresight: there are none.

    Returns
    -------
    Foresight
    """
    nothing = np.zeros(1, dtype=np.int64)
    return _new_answers(1, nothing, nothing)


def _new_answers(events, text, arena):
    return an.Foresight(words_apart(an.F_WIDTH), np.full(events, NONE), text, arena)


def run_all(call, events: np.ndarray, count: int) -> int:
    """Run the first `count` events on this thread alone; `call` is `follow_dram` for a memory.

    Returns
    -------
    int
        A status of `kernels.memory.transfer`.
    """
    shared = np.zeros(fo.SHARED_WIDTH, dtype=np.int64)
    shared[fo.GIVEN], shared[fo.STATE] = count, fo.ENDED
    return tr.TIMING_OK if call(shared, events, 0) == count else tr.TIME_OVERFLOW


class DramForesight:
    """A `memory.interfaces.Follower`.

    Parameters
    ----------
    memory : DramMemory
        Of the timing pass.
    new_memory : callable
        Gives a DramState and a DramMemo, both unused, of the same description.
    events : int64[:, MEV_WIDTH]
        Where control puts the events of a batch.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]

    Attributes
    ----------
    answers : Foresight
        What was found so far in the batch.
    """

    def __init__(self, memory: DramMemory, new_memory, events: np.ndarray, descriptors: np.ndarray):
        state, memo = new_memory()
        self._dram = memory.dram
        self.answers = _new_answers(len(events), take_words(an.MOST_TEXT), memo.arena)
        self.answers.reg[an.F_ON] = 1
        self._shared = words_apart(fo.SHARED_WIDTH)
        addr = words_apart(len(memory.transfer.addr))
        row = words_apart(len(memory.dram.channels) * BANKS)
        self._foreseer = Foreseer(self._shared, self.answers, memo, state, addr, row)
        own = memory._replace(answers=self.answers)
        self._follow = bind(dram_timing.follow_dram, (self._shared, events), (descriptors, own))
        self._give = bind(dram_timing.give_dram, (), (self._shared,))
        self._foresee = bind(dram_timing.foresee_dram, (events,), (descriptors, self._foreseer))
        self.is_over = True

    def warm(self) -> None:
        """Have the kernels compiled, or loaded from the cache."""
        self._give(0, fo.ENDED, 0)
        self._follow(0)
        self._foresee(0, 0, 0)

    def begin(self) -> None:
        """Begin with a batch, while no `run` is at work; drops what was found where there is little room for more."""
        memo, answers = self._foreseer.memo, self.answers
        if memo.reg[mt.MEMO_USED] > len(memo.arena) // 2 or memo.reg[mt.MEMO_PATTERNS] > len(memo.table) // 4:
            memo.table[:] = 0
            memo.reg[mt.MEMO_USED] = memo.reg[mt.MEMO_PATTERNS] = 0
        answers.at[:] = NONE
        answers.reg[an.F_USED] = 0
        self._foreseer.row[:] = self._dram.channels["open_row"].ravel()
        self._shared[:] = 0

    def give(self, count: int) -> None:
        """Give the first `count` events of the batch."""
        self._give(count, fo.OPEN, 0)

    def run(self) -> None:
        """Time events as they are given; set `is_over` to False before."""
        try:
            self._follow(PATIENCE)
        finally:
            self.is_over = True

    @property
    def has_begun(self) -> bool:
        """Whether a `run` of this batch has begun to wait for events."""
        return bool(self._shared[fo.FOLLOWS])

    def stop(self) -> None:
        """Have `run` end with the event that it is in."""
        self._give(int(self._shared[fo.GIVEN]), fo.STOPPED, 0)

    @property
    def done(self) -> int:
        """Events of the batch that are timed."""
        return int(self._shared[fo.DONE])

    def finish(self, count: int, between: Callable[[], None]) -> int:
        """Answer events of a batch of `count` ahead of the thread that follows, then wait for it.

        Returns
        -------
        int
            How many are timed. The other thread may still be in the event behind these, but begins no other.
        """
        before = self._give(count, fo.ENDED, 0)
        first = before
        while first < count:
            between()
            first = self._foresee(first, count, WINDOWS)
        while (done := self._give(count, fo.ENDED, LAST_PATIENCE)) < count:
            if done == before:
                self._give(count, fo.STOPPED, 0)
                break
            before = done
        return done
