"""The memory engines behind a memory model: a DRAM controller (chapter 4), and what it shares with the idealised banks.

Those (§3.5) are in `simple_engine`: a run imports one of the two alone. Both take slices of memory events, return a
status of `kernels.memory.transfer`, and know their last event.
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

if TYPE_CHECKING:
    from ..boards.dram_schema import DramDescription
    from .foresight import DramForesight


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


class BoundEngine:
    """What all engines share: the kernel's call, laid out once for the descriptors of a run."""

    _bound: tuple = (None, None, None)  # kernel, descriptors, call

    def _call(self, kernel, descriptors, memory):
        if self._bound[0] is not kernel or self._bound[1] is not descriptors:
            self._bound = kernel, descriptors, bind(kernel, (), (descriptors, memory))
        return self._bound[2]


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
