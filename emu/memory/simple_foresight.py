"""Two threads for the idealised banks: one times events while the other is control, and then foresees values.

`kernels.simple.foresight` says how.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.compiler.jit import bind
from ..kernels.memory import following as fo
from ..kernels.simple import foreseen as fs
from ..kernels.simple import foresight as kernels
from ..kernels.simple.memo import KEY_WIDTH
from ..kernels.simple.timing import SimpleMemory
from .following import SharedBatch
from .simple import new_foreseen, new_simple_state

LAST_PATIENCE = 1 << 16  # turns that control waits at the end


def _new_table():
    table = new_foreseen(fs.SLOTS, fs.ARENA)
    table.reg[fs.F_ON], table.reg[fs.F_USED] = 1, 1
    return table


class SimpleForesight(SharedBatch):
    """A `memory.interfaces.Follower`.

    Parameters
    ----------
    memory : SimpleMemory
        Of the timing pass.
    events : int64[:, MEV_WIDTH]
        Where control puts the events of a batch.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]

    Attributes
    ----------
    memory : SimpleMemory
        The same, which looks for foreseen values.
    """

    def __init__(self, memory: SimpleMemory, events: np.ndarray, descriptors: np.ndarray):
        accesses = len(memory.transfer.addr)
        foreseen, told = _new_table(), _new_table()
        addr, link, wait = (np.zeros(accesses, dtype=np.int64) for _ in range(3))
        self.memory = memory._replace(foreseen=foreseen, told=told)
        shared = np.zeros(fo.SHARED_WIDTH, dtype=np.int64)
        self._foreseer = kernels.Foreseer(shared, foreseen, told, new_simple_state(accesses), addr, link,
                                          wait, np.zeros(KEY_WIDTH, dtype=np.int64))
        follow = bind(kernels.follow, (events,), (descriptors, self.memory, shared))
        self._give = bind(kernels.give, (), (shared,))
        super().__init__(shared, follow, self._give)
        self._foresee = bind(kernels.foresee, (events,), (descriptors, self._foreseer))

    def warm(self) -> None:
        """Have the kernels compiled, or loaded from the cache."""
        self._follow(0)
        self._give(0, fo.OPEN)
        self._foresee(0, 0)

    def begin(self) -> None:
        """Begin with a batch, while no `run` is at work; drops foreseen values where there is little room for more."""
        self._shared[:] = 0
        for table in (self._foreseer.foreseen, self._foreseer.told):
            used, patterns = table.reg[fs.F_USED], table.reg[fs.F_PATTERNS]
            if used > len(table.arena) // 2 or patterns > len(table.slots) // 4:
                table.slots[:] = 0
                table.reg[fs.F_USED], table.reg[fs.F_PATTERNS] = 1, 0

    def finish(self, count: int, between: Callable[[], None]) -> int:
        """Foresee a batch of `count` events from the last one back, then wait for the thread that follows.

        Returns
        -------
        int
            How many are timed. The other thread may still be in the event behind these, but begins no other.
        """
        self._give(count, fo.ENDED)
        between()
        return self._foresee(count, LAST_PATIENCE)
