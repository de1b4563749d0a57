"""norm: rows divided by their root mean square, up to the factor √columns that folds into what follows."""

from __future__ import annotations

import contextlib

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation

from .rows import EPSILON, each_row

_FIXED = 6  # column blocks whose addresses get registers of their own


def rms_norm(
    b: Builder, constants: Constants, x: Activation, out: Activation, *, rows: int, width: int, epsilon: float,
    scratch: int, weight: Activation | None = None,
) -> None:
    """Write x / √(Σ x² + width · ε), the RMSNorm without its factor √width, times `weight` where that is given.

    Padding columns of `x` must be 0.

    Parameters
    ----------
    rows : int
        Rows to do, from the first on.
    width : int
        Columns the mean counts.
    scratch : int
        Element address of two rows.
    weight : Activation or None
        One row, √width folded in.
    """
    vlen = x.vlen
    with contextlib.ExitStack() as stack:
        lend = stack.enter_context
        sums, square = lend(b.register(scratch)), lend(b.register(scratch + vlen))
        to, row = lend(b.registers(2))
        fixed = lend(b.registers(x.blocks if x.blocks <= _FIXED else 1))
        x_step, out_step = lend(b.step(x.block_step)), lend(b.step(out.block_step))
        scale = lend(b.register()) if weight else None
        walk = lend(b.register()) if x.blocks > _FIXED or weight else None
        for block, register in enumerate(fixed):
            b.set(register, x.at(block))
        b.set(row, out.address)
        with each_row(b, rows, (row, vlen), *((register, vlen) for register in fixed), unroll=1):
            _sum_squares(b, x, fixed, walk, x_step, sums, square)
            constants.load(b, 1, 2, width * epsilon, EPSILON)
            b.emit("V_RED_SUM", 1, sums)
            b.emit("S_SQRT_FP", 1, 1)
            b.emit("S_RECI_FP", 1, 1)
            _scale(b, x, fixed, walk, x_step, (row, to, out_step), weight, scale)


def _sum_squares(b, x, fixed, walk, x_step, sums, square):
    """Add the squares lane by lane: one reduction a row instead of one a block."""
    b.emit("V_MUL_VV", sums, fixed[0], fixed[0])
    if len(fixed) == x.blocks:
        for block in fixed[1:]:
            b.emit("V_MUL_VV", square, block, block)
            b.emit("V_ADD_VV", sums, sums, square)
        return
    b.advance(walk, x_step, fixed[0])
    with b.loop(x.blocks - 1, unroll=8):
        b.emit("V_MUL_VV", square, walk, walk)
        b.emit("V_ADD_VV", sums, sums, square)
        b.advance(walk, x_step)


def _scale(b, x, fixed, walk, x_step, target, weight, scale):
    """Multiply every block by f1, and by its part of the weight."""
    row, to, out_step = target
    if weight:
        b.set(scale, weight.address)

    def one(source, out):
        b.emit("V_MUL_VF", out, source, 1)
        if weight:
            b.emit("V_MUL_VV", out, out, scale)
            b.advance(scale, weight.block_step)

    if len(fixed) == x.blocks:
        one(fixed[0], row)
        for number, block in enumerate(fixed[1:]):
            b.advance(to, out_step, row if number == 0 else to)
            one(block, to)
        return
    b.set(walk, fixed[0])
    b.set(to, row)
    with b.loop(x.blocks, unroll=8):
        one(walk, to)
        b.advance(walk, x_step)
        b.advance(to, out_step)
