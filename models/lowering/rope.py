"""attn.rope: rotary positions for the rows of all heads, x · cos + rotate_half(x) · sin (spec §9.1)."""

from __future__ import annotations

import contextlib

from plena_emu.models.builder import Builder
from plena_emu.models.machine import Activation, HbmTensor, Machine, ceil_div

from .linear import TileRun, linear


class RopeTables:
    """Where cos and sin lie: one row a position and column block of a head; `step` is 0 for a single position."""

    def __init__(self, cos: Activation, sin: Activation):
        self.cos, self.sin = cos, sin


def rope_by_product(
    b: Builder, machine: Machine, x: Activation, rotated: Activation, rotation: HbmTensor, tables: RopeTables, *,
    rows: int, rows_per_table: int, partial: int,
) -> None:
    """Rotate by the product with `rotation`, whose columns hold −x₂ and x₁.

    Parameters
    ----------
    x, rotated : Activation
        One row a head (or row of packed heads) and token, one column block a part of the head.
    rows : int
        Rows to do.
    rows_per_table : int
        Rows after which the tables start again; 1 takes the same row for all.
    """
    groups = ceil_div(rows, machine.blen)
    run = TileRun(count=x.blocks, column=0, column_step=machine.mlen, blocks=machine.blocks, out=rotated.address,
                  out_step=rotated.block_step)
    linear(b, machine, x, rotation, [run], groups=groups, partial=partial)
    for block in range(x.blocks):
        _turn(b, x.at(block), rotated.at(block), tables.cos.at(block), tables.sin.at(block), rows, rows_per_table,
              x.vlen)


def _turn(b, x, rotated, cos, sin, rows, rows_per_table, vlen):
    """x ← x · cos + rotated · sin for one column block."""
    step = vlen if rows_per_table > 1 else 0
    with contextlib.ExitStack() as stack:
        value, turned, c, s = (stack.enter_context(b.register(address)) for address in (x, rotated, cos, sin))
        with b.loop(rows // rows_per_table if step else 1):
            with b.loop(rows_per_table if step else rows, unroll=4):
                b.emit("V_MUL_VV", turned, turned, s)
                b.emit("V_MUL_VV", value, value, c)
                b.emit("V_ADD_VV", value, value, turned)
                for register, distance in ((value, vlen), (turned, vlen), (c, step), (s, step)):
                    b.advance(register, distance)
            if step:
                b.set(c, cos)
                b.set(s, sin)


def rope_by_halves(
    b: Builder, machine: Machine, x: Activation, tables: RopeTables, *, rows: int, rows_per_table: int, scratch: int,
) -> None:
    """Rotate heads whose halves are whole column blocks: no product is needed.

    x₁ ← x₁ · cos − x₂ · sin and x₂ ← x₂ · cos + x₁ · sin; the tables need the first half's blocks only.
    Parameters are as for `rope_by_product`; `scratch` is the element address of two rows.
    """
    half = x.blocks // 2
    step = x.vlen if rows_per_table > 1 else 0
    for block in range(half):
        first, second = x.at(block), x.at(block + half)
        cos, sin = tables.cos.at(block), tables.sin.at(block)
        with contextlib.ExitStack() as stack:
            registers = (stack.enter_context(b.register(address)) for address in
                         (first, second, cos, sin, scratch, scratch + x.vlen))
            x1, x2, c, s, t1, t2 = registers
            with b.loop(rows // rows_per_table if step else 1):
                with b.loop(rows_per_table if step else rows, unroll=2):
                    b.emit("V_MUL_VV", t1, x1, s)
                    b.emit("V_MUL_VV", t2, x2, s)
                    b.emit("V_MUL_VV", x1, x1, c)
                    b.emit("V_MUL_VV", x2, x2, c)
                    b.emit("V_SUB_VV", x1, x1, t2)
                    b.emit("V_ADD_VV", x2, x2, t1)
                    for register, distance in ((x1, x.vlen), (x2, x.vlen), (c, step), (s, step)):
                        b.advance(register, distance)
                if step:
                    b.set(c, cos)
                    b.set(s, sin)
