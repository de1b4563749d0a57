"""The serial timeline of a run, instruction by instruction (spec §7.5, §7.11)."""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...program.decode import Program

STATUS = "legacy_functional_observed"
MEMORY_OPS = [op.id for op in isa.OPS if op.type == "memory"]


class SerialPass:
    """Counts the serial time of what a run executes; takes the place of a `ScoreboardPass`.

    Parameters
    ----------
    program : Program
    period_ps : int
        Picoseconds of a core cycle.
    on_placed : callable, optional
        As for `ScoreboardPass`.

    Attributes
    ----------
    count, total_ps, most_ps, cycles : int64[NUM_OPS]
        Of each operation: instructions, their time, the longest, and their whole cycles as events show them.
    """

    def __init__(self, program: Program, period_ps: int, on_placed=None):
        self.program = program
        self.period_ps = period_ps
        self.now_ps = 0
        self.count, self.total_ps, self.most_ps, self.cycles = np.zeros((4, isa.NUM_OPS), dtype=np.int64)
        self._on_placed = on_placed
        self._is_memory = np.isin(np.arange(isa.NUM_OPS), MEMORY_OPS)

    def prepare(self) -> None:
        """Do nothing: no kernel is used."""

    def place(self, executed: np.ndarray, count: int, events: np.ndarray) -> None:
        """Add the instructions `executed[:count]`; arguments as for `ScoreboardPass.place`."""
        pcs = executed[:count, layout.TR_PC]
        ops = self.program.table[pcs, layout.OP_ID]
        took = self.program.table[pcs, layout.OP_COST]
        memory = np.flatnonzero(self._is_memory[ops])
        took[memory] = events[: len(memory), layout.MEV_TOOK]
        after = self.now_ps + np.cumsum(took)
        before = after - took
        first, last = before // self.period_ps, after // self.period_ps
        np.add.at(self.count, ops, 1)
        np.add.at(self.total_ps, ops, took)
        np.maximum.at(self.most_ps, ops, took)
        np.add.at(self.cycles, ops, last - first)
        if count:
            self.now_ps = int(after[-1])
        if self._on_placed is not None:
            self._on_placed(pcs, _placed(first, last), events)

    def finish(self) -> None:
        """Do nothing: every slice is complete in itself."""


def _placed(first, last):
    """Rows of PLACED_* columns of instructions that are issued, accepted and started in the same cycle."""
    placed = np.zeros((len(first), sl.PLACED_WIDTH), dtype=np.int64)
    for column in (sl.PLACED_ISSUE, sl.PLACED_ACCEPTED, sl.PLACED_START):
        placed[:, column] = first
    placed[:, sl.PLACED_RESULT] = placed[:, sl.PLACED_COMPLETION] = last
    placed[:, sl.PLACED_OWNER] = sl.NONE
    return placed
