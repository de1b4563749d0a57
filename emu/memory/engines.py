"""The two memory engines behind a memory model: idealised DDR banks (§3.5), or a DRAM controller (chapter 4).

Both take slices of memory events, return a status of `kernels.memory.transfer`, and know their last event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..kernels import layout
from ..kernels.compiler.jit import bind
from ..kernels.memory import memo_table as mt
from ..kernels.memory import regimes as rg
from ..kernels.memory.transfer import Transfer
from ..kernels.simple import memo as simple_memo
from ..kernels.simple import timing as simple_timing
from ..kernels.simple.state import LAST_EVENT
from .simple import new_foreseen, new_simple_state

if TYPE_CHECKING:
    from ..boards.dram_schema import DramDescription
    from .foresight import DramForesight
    from .simple_foresight import SimpleForesight


MOST_FOLLOWED = 1 << 12  # accesses of the longest list of events that are timed while control runs


class MemoStatistics(msgspec.Struct, kw_only=True):
    """How often a remembered pattern answered; `cleared` counts how often the tables were full."""

    enabled: bool
    lookups: int
    hits: int
    patterns: int
    cleared: int


def memo_statistics(reg) -> MemoStatistics:
    """Take the counts from the registers of any memo: all begin with the same ones."""
    return MemoStatistics(enabled=bool(reg[mt.MEMO_ON]), lookups=int(reg[mt.MEMO_LOOKUPS]), hits=int(reg[mt.MEMO_HITS]),
                          patterns=int(reg[mt.MEMO_PATTERNS]), cleared=int(reg[mt.MEMO_CLEARED]))


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


class BoundEngine:
    """What all engines share: the kernel's call, laid out once for the descriptors of a run."""

    _bound: tuple = (None, None, None)  # kernel, descriptors, call

    def _call(self, kernel, descriptors, memory):
        if self._bound[0] is not kernel or self._bound[1] is not descriptors:
            self._bound = kernel, descriptors, bind(kernel, (), (descriptors, memory))
        return self._bound[2]


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


class DramEngine(BoundEngine):
    """DRAM of a description (or its name or file) behind its FR-FCFS controller, in an ISA revision."""

    def __init__(self, transfer: Transfer, dram: str | DramDescription, revision: str, memo: bool = True):
        # Only here: a run on idealised banks loads none of it.
        from ..boards.dram_schema import load_dram
        from ..kernels.dram import timing as dram_timing
        from .dram import new_memo, new_run, new_state
        from .foresight import no_answers, run_all

        self.dram = load_dram(dram) if isinstance(dram, str) else dram
        self._revision = revision
        self._kernel = dram_timing.follow_dram
        state = new_state(self.dram, revision, is_checked=isinstance(dram, str))
        room = new_run(state, transfer.addr, waits=len(transfer.addr))
        self._memory = dram_timing.DramMemory(transfer, state, room, new_memo(state, memo), no_answers())
        self._run_all = run_all

    def run(self, events, count, descriptors) -> int:
        """Run the first `count` events; a status."""
        return self._run_all(self._call(self._kernel, descriptors, self._memory), events, count)

    @property
    def can_follow(self) -> bool:
        """Whether its events can be timed while control runs: what is remembered is exact, nothing waits for a host."""
        transfer, memo = self._memory.transfer, self._memory.memo
        return bool(memo.reg[mt.MEMO_ON]) and int(transfer.regime.reg[rg.RG_CODE]) == rg.RESIDENT

    def follow(self, events: np.ndarray, descriptors: np.ndarray) -> DramForesight:
        """Time events from now on beside control (int64[:, MEV_WIDTH]: where control will put them)."""
        from .dram import new_memo, new_state
        from .foresight import DramForesight

        def new_memory():
            state = new_state(self.dram, self._revision, is_checked=True)
            return state, new_memo(state)

        return DramForesight(self._memory, new_memory, events, descriptors)

    @property
    def last_event_ps(self) -> int:
        """Last event so far, the last tick included (§4.9)."""
        return int(self._memory.dram.front[0].last_event)

    @property
    def memo(self) -> MemoStatistics:
        """What the memo did so far."""
        return memo_statistics(self._memory.memo.reg)

    @property
    def statistics(self):
        """Statistics of §4.8, a msgspec struct."""
        from .dram_statistics import statistics

        return statistics(self._memory.dram, self.dram, self._revision)


def warm_engine(engine, descriptors) -> None:
    """Have an engine's kernel compiled, or loaded from the cache."""
    engine.run(np.zeros((1, layout.MEV_WIDTH), dtype=np.int64), 0, descriptors)
