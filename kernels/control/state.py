"""The arrays of the control pass, and what fills them before a run: nothing that is compiled."""

from typing import NamedTuple

import numpy as np

NO_LIMIT = np.iinfo(np.int64).max  # CTL_LIMIT_AT where no loop is active

# Rows of the scratch array `affine`, int64[AFFINE_ROWS, REGISTERS + 1]: a column for each register, one for constants.
# A register's value is that of its root at the start of the iteration, plus its offset (`loop_skip`).
REGISTERS = 16
ROOT, OFFSET, STEP = range(3)
AFFINE_ROWS = 3


class ControlState(NamedTuple):
    """Arrays of the control pass.

    Attributes
    ----------
    ctl : int64[CTL_WIDTH]
        Geometry, program counter, registers, counters (`CFG_*`, `CTL_*`).
    gp : int64[16]
        u32 registers, a view of `ctl`.
    hbm : int64[16]
        u64 address registers (bit patterns), a view of `ctl`.
    int_sram : int64[1024]
        u32 words.
    loops : int64[slots, LOOP_WIDTH]
        Loop stack, linked from CTL_TOP_LOOP on.
    counts : int64[words]
        How often each word was executed.
    trace : int64[capacity, TR_WIDTH]
        Every executed instruction of the slice with its registers; empty when nobody asked.
    affine : int64[AFFINE_ROWS, 17]
        Room of `loop_skip`.
    """

    ctl: np.ndarray
    gp: np.ndarray
    hbm: np.ndarray
    int_sram: np.ndarray
    loops: np.ndarray
    counts: np.ndarray
    trace: np.ndarray
    affine: np.ndarray


def new_affine():
    """Build the scratch array of `skip_loop`: every register is its own root and stays as it is.

    Returns
    -------
    int64[AFFINE_ROWS, REGISTERS + 1]
    """
    affine = np.zeros((AFFINE_ROWS, REGISTERS + 1), dtype=np.int64)
    affine[ROOT] = np.arange(REGISTERS + 1)
    return affine
