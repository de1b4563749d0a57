"""Multiply-adds of the matrix instructions (spec §1.4)."""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.layout import OP_ID

BROADCAST = ("M_BMM", "M_BTMM", "M_BMV", "M_BTMV")  # one tile against all heads of a row


def multiply_adds_of(table: np.ndarray, cfg: np.ndarray) -> np.ndarray:
    """Count the multiply-adds of one execution of each word.

    Parameters
    ----------
    table : int64[words, OP_WIDTH]
        Decoded program.
    cfg : int64[CFG_WIDTH]
        Geometry of the run.

    Returns
    -------
    int64[words]
        0 for everything but products.
    """
    mlen, blen = int(cfg[layout.CFG_MLEN]), int(cfg[layout.CFG_BLEN])
    heads = int(cfg[layout.CFG_HLEN]) * int(cfg[layout.CFG_BROADCAST])  # terms of all heads of a row
    of_op = np.zeros(isa.NUM_OPS, dtype=np.int64)
    for mnemonic, count in (
        ("M_MM", blen * blen * mlen), ("M_TMM", blen * blen * mlen), ("M_MV", blen * mlen), ("M_TMV", blen * mlen),
        ("M_BMM", mlen * mlen * heads), ("M_BTMM", mlen * mlen * heads), ("M_BMV", mlen * heads),
        ("M_BTMV", mlen * heads),
    ):
        of_op[isa.BY_MNEMONIC[mnemonic].id] = count
    return of_op[table[:, OP_ID]]


def broadcast_words(table: np.ndarray) -> np.ndarray:
    """Tell which words are broadcast products, whose cycles are those of MLEN x MLEN multipliers (spec §9.4).

    Returns
    -------
    bool[words]
    """
    return np.isin(table[:, OP_ID], [isa.BY_MNEMONIC[mnemonic].id for mnemonic in BROADCAST])
