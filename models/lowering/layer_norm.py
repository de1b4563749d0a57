"""norm, post_norm: rows minus their mean, divided by their deviation, up to the factor √columns (spec §9.1)."""

from __future__ import annotations

import contextlib

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation

from .rows import EPSILON

_UNROLL = 8


def layer_norm(
    b: Builder, constants: Constants, x: Activation, out: Activation, *, rows: int, width: int, epsilon: float,
    scratch: int, columns: Activation | None = None, weight: Activation | None = None, bias: Activation | None = None,
) -> None:
    """Write (x − mean) / √(Σ (x − mean)² + width · ε), times `weight` and plus `bias` where given.

    In two passes: the mean first, then the squares of the difference. Padding columns of `x` must be 0; those of `out`
    are 0.

    Parameters
    ----------
    scratch : int
        Element address of two rows.
    columns : Activation or None
        A row of ones in the columns of the last block that count.
    weight, bias : Activation or None
        One row each, √width folded into the weight.
    """
    vlen = x.vlen
    share = constants.address(1 / width)
    with contextlib.ExitStack() as stack:
        lend = stack.enter_context
        sums, square = lend(b.register(scratch)), lend(b.register(scratch + vlen))
        source, row = lend(b.register(x.address)), lend(b.register(out.address))
        walk, to = lend(b.registers(2))
        factor = lend(b.register())
        with b.loop(rows):
            _mean(b, x, source, walk, sums, square, share)
            b.set(walk, source)
            b.set(to, row)
            b.emit("V_SUB_VV", sums, sums, sums)
            with b.loop(x.blocks, unroll=_UNROLL):
                b.emit("V_SUB_VF", to, walk, 1, 0, 0)
                b.advance(walk, x.block_step)
                b.advance(to, out.block_step)
            if columns:
                b.advance(to, -out.block_step)
                b.set(factor, columns.address)
                b.emit("V_MUL_VV", to, to, factor)
            b.set(to, row)
            with b.loop(x.blocks, unroll=_UNROLL):
                b.emit("V_MUL_VV", square, to, to)
                b.emit("V_ADD_VV", sums, sums, square)
                b.advance(to, out.block_step)
            constants.load(b, 2, 3, width * epsilon, EPSILON)
            b.emit("V_RED_SUM", 2, sums)
            b.emit("S_SQRT_FP", 2, 2)
            b.emit("S_RECI_FP", 2, 2)
            _scale(b, out, row, to, factor, walk, weight, bias)
            b.advance(source, vlen)
            b.advance(row, vlen)


def _mean(b, x, source, walk, sums, square, share):
    """f1 ← the mean of the row at `source`."""
    b.set(walk, source)
    b.emit("V_SUB_VV", sums, walk, walk)  # a finite row minus itself
    with b.loop(x.blocks, unroll=_UNROLL):
        b.emit("V_ADD_VV", sums, sums, walk)
        b.advance(walk, x.block_step)
    b.emit("S_ADD_FP", 1, 0, 0)
    b.emit("V_RED_SUM", 1, sums)
    b.emit("S_LD_FP", 2, 0, share)
    b.emit("S_MUL_FP", 1, 1, 2)


def _scale(b, out, row, to, factor, offset, weight, bias):
    """Multiply every block by f2, and by its part of the weight, plus that of the bias."""
    b.set(to, row)
    if weight:
        b.set(factor, weight.address)
        b.set(offset, bias.address)
    with b.loop(out.blocks, unroll=_UNROLL):
        b.emit("V_MUL_VF", to, to, 2)
        if weight:
            b.emit("V_MUL_VV", to, to, factor)
            b.emit("V_ADD_VV", to, to, offset)
            b.advance(factor, weight.block_step)
            b.advance(offset, bias.block_step)
        b.advance(to, out.block_step)
