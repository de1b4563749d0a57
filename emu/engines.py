"""The two memory engines behind a memory model: idealised DDR banks (§3.5), or a DRAM controller (chapter 4).

Both take slices of memory events, return a status of `kernels.port`, and know their last event.
"""

import numpy as np

from .ddr import new_ddr
from .kernels import layout as at
from .kernels import timing as tm
from .kernels.ddr import LAST
from .kernels.port import Port
from .warm import compiling


class BankEngine:
    """DDR timing of §3.5 (`SimpleTiming`); `accesses` is the longest list of accesses of an event."""

    kernels = "timing"
    dram = None

    def __init__(self, port: Port, accesses: int):
        self._memory = tm.Memory(port, new_ddr(accesses))

    def run(self, events, count, shapes) -> int:
        """Run the first `count` events; a status."""
        return tm.timing_slice(events, count, shapes, self._memory)

    @property
    def last_event_ps(self) -> int:
        """Last event so far, pending precharges included (§3.1)."""
        return int(self._memory.ddr.q[LAST])

    @property
    def statistics(self):
        """None: the idealised banks count nothing of their own."""
        return None


class DramEngine:
    """DRAM of a description (`hbm2`, `ddr4` or a file) behind its FR-FCFS controller, in an ISA revision."""

    kernels = "timing_dram"

    def __init__(self, port: Port, dram: str, revision: str):
        # Only here: a run on idealised banks loads none of it.
        from .boards.dram_schema import load_dram
        from .dram import new_state
        from .kernels import timing_dram

        self.dram = load_dram(dram)
        self._kernel = timing_dram.timing_slice_dram
        self._memory = timing_dram.DramMemory(port, new_state(self.dram, revision))

    def run(self, events, count, shapes) -> int:
        """Run the first `count` events; a status."""
        return self._kernel(events, count, shapes, self._memory)

    @property
    def last_event_ps(self) -> int:
        """Last event so far, the last tick included (§4.9)."""
        return int(self._memory.dram.front[0].last_event)

    @property
    def statistics(self):
        """Statistics of §4.8, a msgspec struct."""
        from .dram import statistics

        return statistics(self.dram, self._memory.dram)


def warm_engine(engine, shapes) -> None:
    """Have an engine's kernel compiled, or loaded from the cache."""
    with compiling(engine.kernels):
        engine.run(np.zeros((1, at.MEV_WIDTH), dtype=np.int64), 0, shapes)
