"""The scoreboard pass of a run: slices of executed instructions in, the timeline out (spec §7.6)."""

import numpy as np

from ...config.settings import Settings
from ...errors import EmuError
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...kernels.hardware.scoreboard.timeline import scoreboard_end, scoreboard_slice
from ...program.decode import Program
from .rules import Rules, new_scoreboard


class ScoreboardPass:
    """Places what a run executes.

    Parameters
    ----------
    rules : Rules
    program : Program
    settings : Settings
    period_ps : int
        Picoseconds of a core cycle.
    trace_capacity : int
        Instructions of a slice whose placement is kept for `on_placed`; 0 keeps none.
    on_placed : callable, optional
        Called after each slice with (word index of each instruction, its row of PLACED_* columns, the memory events
        of the slice); the arrays are used again.
    words : int
        As for `new_scoreboard`.
    """

    def __init__(self, rules: Rules, program: Program, settings: Settings, period_ps: int, trace_capacity=0,
                 on_placed=None, words=0):
        self.rules = rules
        self.program = program
        self.tracked = sl.tracked_ops()
        self.state = new_scoreboard(rules, settings, period_ps, trace_capacity, words)
        self._on_placed = on_placed

    def prepare(self) -> None:
        """Have the kernels compiled, or loaded from the cache."""
        executed, events = (np.zeros((1, width), dtype=np.int64) for width in (layout.TR_WIDTH, layout.MEV_WIDTH))
        self._slice(executed, 0, events)
        scoreboard_end(self.state)

    def place(self, executed: np.ndarray, count: int, events: np.ndarray) -> None:
        """Place `executed[:count]` (int64[n, TR_WIDTH], as control recorded them).

        `events` are the memory events of the slice after timing (int64[n, MEV_WIDTH]).

        Raises
        ------
        EmuError
            An instruction for which the timing file has no cost.
        """
        reg = self.state.reg
        reg[sl.SB_AT] = reg[sl.SB_AT_EVENT] = 0
        while (status := self._slice(executed, count, events)) == sl.PENDING_FULL:
            self._grow()
        if status == sl.NO_COST:
            pc = int(reg[sl.SB_PC])
            raise EmuError(f"pc={pc} {self.program.text(pc)}: timing {self.rules.timing.source} has no cost for it")
        if self._on_placed is not None:
            self._on_placed(executed[:count, layout.TR_PC], self.state.placed[:count], events)

    def _slice(self, executed, count, events):
        return scoreboard_slice(self.program.table, executed, count, self.tracked, events, self.state)

    def _grow(self):
        """Double the lists of pending writes."""
        matrix, vector = (np.concatenate((rows, np.zeros_like(rows)))
                          for rows in (self.state.matrix_pending, self.state.vector_pending))
        self.state = self.state._replace(matrix_pending=matrix, vector_pending=vector)

    def finish(self) -> None:
        """Close the unions of intervals; the reports are final then."""
        scoreboard_end(self.state)

    @property
    def makespan_cycles(self) -> int:
        """Core cycles until the last completion."""
        return int(self.state.reg[sl.SB_MAKESPAN])

    @property
    def latency_ps(self) -> int:
        """Picoseconds until the last completion (§7.6)."""
        return self.makespan_cycles * int(self.state.dims[sl.DIM_PERIOD])
