"""The memory engine of the idealised DDR banks (spec §3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..kernels.memory import memo_table as mt
from ..kernels.memory import regimes as rg
from ..kernels.memory.transfer import Transfer
from ..kernels.simple import memo as simple_memo
from ..kernels.simple import timing as simple_timing
from ..kernels.simple.state import LAST_EVENT
from .engines import BoundEngine, MemoStatistics, memo_statistics
from .simple import new_foreseen, new_simple_state

if TYPE_CHECKING:
    from .simple_foresight import SimpleForesight

MOST_FOLLOWED = 1 << 12  # accesses of the longest list of events that are timed while control runs


def new_simple_memo(enabled: bool, key: int = simple_memo.KEY_WIDTH) -> simple_memo.SimpleMemo:
    """Build an empty memo of the idealised banks, with `key` words for the present key."""
    reg = np.zeros(mt.MEMO_WIDTH, dtype=np.int64)
    reg[mt.MEMO_ON] = int(enabled)
    return simple_memo.SimpleMemo(
        reg=reg,
        table=np.zeros((simple_memo.SLOTS, mt.ENTRY_WIDTH), dtype=np.int64),
        arena=np.zeros(simple_memo.ARENA, dtype=np.int64),
        key=np.zeros(key, dtype=np.int64),
    )


class SimpleEngine(BoundEngine):
    """DDR timing of §3.5 (`SimpleTiming`); `accesses` is the longest list of accesses of an event."""

    dram = None

    def __init__(self, transfer: Transfer, accesses: int, memo: bool = True):
        state, remembered, nothing = new_simple_state(accesses), new_simple_memo(memo), new_foreseen(1, 1)
        self._memory = simple_timing.SimpleMemory(transfer, state, remembered, nothing, nothing)

    def run(self, events, count, descriptors) -> int:
        """Run the first `count` events; a status."""
        return self._call(simple_timing.timing_slice, descriptors, self._memory)(events, count)

    @property
    def can_follow(self) -> bool:
        """Whether its events can be timed while control runs: the memo is on, and nothing waits for a host.

        Nor may lists be so long that a wait for the other thread is deaf to Ctrl-C for more than a second.
        """
        transfer, memo = self._memory.transfer, self._memory.memo
        is_exact = bool(memo.reg[mt.MEMO_ON]) and int(transfer.regime.reg[rg.RG_CODE]) == rg.RESIDENT
        return is_exact and len(transfer.addr) <= MOST_FOLLOWED

    def follow(self, events: np.ndarray, descriptors: np.ndarray) -> SimpleForesight:
        """Time events from now on beside control (int64[:, MEV_WIDTH]: where control will put them)."""
        from .simple_foresight import SimpleForesight

        foresight = SimpleForesight(self._memory, events, descriptors)
        self._memory, self._bound = foresight.memory, BoundEngine._bound
        return foresight

    @property
    def last_event_ps(self) -> int:
        """Last event so far, pending precharges included (§3.1)."""
        return int(self._memory.state.queues[LAST_EVENT])

    @property
    def statistics(self):
        """None: the idealised banks count nothing of their own."""
        return None

    @property
    def memo(self) -> MemoStatistics:
        """What the memo did so far."""
        return memo_statistics(self._memory.memo.reg)
