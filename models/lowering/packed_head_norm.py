"""q/k norm of heads that share rows: RMSNorm over head_dim of each head (spec §9.1).

V_RED_SUM cannot sum one section of a row (§1.5), so a row of ones and zeros cuts a head's squares out first.
"""

from __future__ import annotations

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation

from .rows import EPSILON, each_row


def packed_head_norm(b: Builder, constants: Constants, x: Activation, sections: Activation, weight: Activation, *,
                     rows: int, slots: int, width: int, epsilon: float, scratch: int) -> None:
    """Divide each head of `rows` rows by its root mean square, up to √width, and multiply by `weight`, in place.

    Row i of `sections` is 1 in the lanes of slot i and 0 elsewhere; padding lanes of `x` are 0.
    """
    with b.register(x.address) as row, b.register(scratch) as squares, b.register() as section, b.register() as mask:
        for slot in range(slots):
            b.set(row, x.address)
            b.set(section, sections.at(0, slot))
            b.set(mask, 1 << slot)
            b.emit("C_SET_V_MASK_REG", mask)
            with each_row(b, rows, (row, x.vlen)):
                b.emit("V_MUL_VV", squares, row, row)
                b.emit("V_MUL_VV", squares, squares, section)
                constants.load(b, 1, 2, width * epsilon, EPSILON)
                b.emit("V_RED_SUM", 1, squares)
                b.emit("S_SQRT_FP", 1, 1)
                b.emit("S_RECI_FP", 1, 1)
                b.emit("V_MUL_VF", row, row, 1, 1)
                if slot == slots - 1:
                    b.set(section, weight.address)
                    b.emit("V_MUL_VV", row, row, section)
                    b.set(section, sections.at(0, slot))
