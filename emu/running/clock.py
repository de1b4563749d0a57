"""Durations of executed instructions, from their costs and the memory events among them."""

import numpy as np

from .. import isa
from ..kernels import layout
from ..program.decode import Program


class Clock:
    """Serial durations of executed instructions, slice after slice.

    Parameters
    ----------
    program : Program
    memory_ps : int
        Completion of the last memory event before the first slice.
    """

    def __init__(self, program: Program, memory_ps: int = 0):
        self._table = program.table
        self._is_memory = np.array([op is not None and op.type == "memory" for op in isa.BY_ID])
        self._done = memory_ps

    def durations(self, executed: np.ndarray, events: np.ndarray) -> np.ndarray:
        """Find how long each instruction of a slice took.

        Parameters
        ----------
        executed : int64[n, TR_WIDTH]
        events : int64[m, MEV_WIDTH]
            Memory events of the slice, done by now.

        Returns
        -------
        int64[n]
            Picoseconds.
        """
        words = executed[:, layout.TR_PC]
        found = self._table[words, layout.OP_COST].copy()
        done = events[:, layout.MEV_DONE]
        before = np.concatenate(([self._done], done[:-1]))[: len(done)]
        found[self._is_memory[self._table[words, layout.OP_ID]]] = done - before - events[:, layout.MEV_DELTA]
        if len(done):
            self._done = int(done[-1])
        return found
