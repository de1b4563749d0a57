"""ffn.activation of the vision encoder: GELU in its tanh form, with one exponential (spec §9.1)."""

from __future__ import annotations

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation

from .rows import each_row

_C = -2 * 0.7978845608  # times x + 0.044715 x³ it is the argument of the exponential
_A = 0.044715


def gelu(b: Builder, constants: Constants, x: Activation, *, rows: int, scratch: int) -> None:
    """Replace x by x / (1 + exp(c · (x + a · x³))) in `rows` rows of each column block.

    `scratch` is the element address of a row.
    """
    together = rows == x.rows
    for number, value in enumerate((_C * _A, _C, 1.0), 1):
        b.emit("S_LD_FP", number, 0, constants.address(value))
    with b.register(x.address) as row, b.register(scratch) as t, b.loop(1 if together else x.blocks):
        with each_row(b, rows * x.blocks if together else rows, (row, x.vlen), unroll=8):
            b.emit("V_MUL_VV", t, row, row)
            b.emit("V_MUL_VF", t, t, 1)
            b.emit("V_ADD_VF", t, t, 2)
            b.emit("V_MUL_VV", t, t, row)
            b.emit("V_EXP_V", t, t)
            b.emit("V_ADD_VF", t, t, 3)
            b.emit("V_RECI_V", t, t)
            b.emit("V_MUL_VV", row, row, t)
        if not together:
            b.advance(row, (x.rows - rows) * x.vlen)
