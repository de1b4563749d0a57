"""Two threads for a DRAM: one times events while the other is control, and then answers lists ahead of their time.

`kernels.dram.foresight` says how.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.compiler.jit import bind
from ..kernels.compiler.placement import zeros_apart
from ..kernels.dram import answers as an
from ..kernels.dram import timing as dram_timing
from ..kernels.dram.foresight import Foreseer
from ..kernels.dram.state import BANKS, NONE
from ..kernels.dram.timing import DramMemory
from ..kernels.memory import following as fo
from ..kernels.memory import memo_table as mt
from ..kernels.memory import transfer as tr
from .arrays import take_words
from .following import SharedBatch

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
    return an.Foresight(zeros_apart(an.F_WIDTH), np.full(events, NONE), text, arena)


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


class DramForesight(SharedBatch):
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
        shared = zeros_apart(fo.SHARED_WIDTH)
        addr = zeros_apart(len(memory.transfer.addr))
        row = zeros_apart(len(memory.dram.channels) * BANKS)
        self._foreseer = Foreseer(shared, self.answers, memo, state, addr, row)
        own = memory._replace(answers=self.answers)
        self._give = give = bind(dram_timing.give_dram, (), (shared,))
        follow = bind(dram_timing.follow_dram, (shared, events), (descriptors, own))
        super().__init__(shared, follow, lambda count, state: give(count, state, 0, 0))
        self._foresee = bind(dram_timing.foresee_dram, (events,), (descriptors, self._foreseer))

    def warm(self) -> None:
        """Have the kernels compiled, or loaded from the cache."""
        self._give(0, fo.ENDED, 0, 0)
        self._follow(0)
        self._foresee(0, 0, 0)

    def begin(self) -> None:
        """Begin with a batch, while no `run` is at work; drops what was found where there is little room for more."""
        memo = self._foreseer.memo
        if memo.reg[mt.MEMO_USED] > len(memo.arena) // 2 or memo.reg[mt.MEMO_PATTERNS] > len(memo.table) // 4:
            self._forget()
        self.answers.at[:] = NONE
        self.answers.reg[an.F_USED] = 0
        self._foreseer.row[:] = self._dram.channels["open_row"].ravel()
        self._shared[:] = 0

    def _forget(self):
        """Drop what was found, while nobody may take an answer that was given."""
        memo = self._foreseer.memo
        memo.table[:] = 0
        memo.reg[mt.MEMO_USED] = memo.reg[mt.MEMO_PATTERNS] = 0
        self.answers.reg[an.F_USED] = 0

    def finish(self, count: int, between: Callable[[], None]) -> int:
        """Answer events of a batch of `count` ahead of the thread that follows, then wait for it.

        Returns
        -------
        int
            How many are timed. The other thread may still be in the event behind these, but begins no other.
        """
        first = self._give(count, fo.ENDED, 0, 0)
        while 0 <= first < count:
            between()
            first = self._foresee(first, count, WINDOWS)
            if first < 0 and self._wait(count, -first) >= -first:
                self._forget()
                first = self.done
        done = self._wait(count, count)
        if done < count:
            self._give(count, fo.STOPPED, 0, 0)
        return done

    def _wait(self, count, until):
        """Wait until the other thread is done with `until` of `count` events, or with no other one for long.

        Returns how many it is done with.
        """
        before = self.done
        while (done := self._give(count, fo.ENDED, until, LAST_PATIENCE)) < until and done > before:
            before = done
        return done
