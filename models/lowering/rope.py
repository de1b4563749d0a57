"""attn.rope: rotary positions for the rows of all heads, x · cos + rotate_half(x) · sin (spec §9.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from plena_emu.models.builder import Builder, Register
from plena_emu.models.machine import Activation, HbmTensor, Machine, ceil_div

from .linear import TileRun, linear
from .rows import each_row


class RopeTables(msgspec.Struct, frozen=True):
    """Where cos and sin lie: one row a position, or one for all; a column block each part of a head."""

    cos: Activation
    sin: Activation


class RopeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to rotate: `heads` of each of `tokens` of each of `sequences`; steps count rows.

    `single` says that all tokens are at one position.
    """

    heads: int
    tokens: int
    sequences: int
    head_step: int
    token_step: int
    single: bool

    def walk(self, b: Builder, vlen: int, values: tuple[Register, ...], head_step: int,
             tables: tuple[Register, ...], one: Callable[[], None]) -> None:
        """Write `one` for every row; `values` walk over the rows, `tables` over the positions."""
        if self.single:  # rows follow one another
            with each_row(b, self.heads * self.tokens * self.sequences, *((value, vlen) for value in values), unroll=8):
                one()
            return
        # Token by token, in all sequences: they share the tables' row, and the loops stay short.
        sequence = self.tokens * self.token_step * vlen - self.heads * head_step
        token = self.token_step * vlen - self.sequences * self.tokens * self.token_step * vlen
        if self.sequences == 1:
            sequence, token = 0, sequence + token
        with b.step(sequence) as next_sequence, b.step(token) as next_token, b.loop(self.tokens):
            with b.loop(self.sequences):
                with each_row(b, self.heads, *((value, head_step) for value in values), unroll=8):
                    one()
                for value in values:
                    b.advance(value, next_sequence)
            for value in values:
                b.advance(value, next_token)
            for table in tables:
                b.advance(table, vlen)


def rope_by_product(
    b: Builder, machine: Machine, x: Activation, rotated: Activation, rotation: HbmTensor, tables: RopeTables,
    order: RopeOrder, *, partial: int, half: int | None,
) -> None:
    """Rotate by the product with `rotation`, whose columns hold −x₂ and x₁.

    Parameters
    ----------
    x, rotated : Activation
        One row a head (or row of packed heads) and token, one column block a part of the head.
    half : int or None
        Half of head_dim where a row is one head: x₁ then comes from a shift, and only −x₂ from the product.
    """
    rows = order.heads * order.tokens * order.sequences
    columns = half if half and half % machine.blen == 0 else machine.mlen
    if columns < machine.mlen:
        _shift(b, x, rotated, rows, half)
    run = TileRun(count=x.blocks, column=0, column_step=machine.mlen, blocks=columns // machine.blen,
                  out=rotated.address, out_step=rotated.block_step)
    linear(b, machine, x, rotation, [run], groups=ceil_div(rows, machine.blen), partial=partial)
    for block in range(x.blocks):
        _turn(b, x, rotated, tables, order, block)


def _shift(b, x, rotated, rows, half):
    """Write x₁ to the lanes of x₂."""
    registers = b.register(x.address), b.register(rotated.address), b.register(half)
    with registers[0] as source, registers[1] as to, registers[2] as distance:
        step = x.vlen
        with each_row(b, rows, (source, step), (to, step), unroll=8):
            b.emit("V_SHIFT_V", to, source, distance)


def _turn(b, x, rotated, tables, order, block):
    """x ← x · cos + rotated · sin for one column block; the heads of a token share the tables' row."""
    starts = (x.at(block), rotated.at(block), tables.cos.at(block), tables.sin.at(block))
    head_step = order.head_step * x.vlen
    with contextlib.ExitStack() as stack:
        value, turned, c, s = (stack.enter_context(b.register(address)) for address in starts)

        def one():
            b.emit("V_MUL_VV", turned, turned, s)
            b.emit("V_MUL_VV", value, value, c)
            b.emit("V_ADD_VV", value, value, turned)

        order.walk(b, x.vlen, (value, turned), head_step, (c, s), one)


def rope_by_halves(b: Builder, x: Activation, tables: RopeTables, order: RopeOrder, *, scratch: int) -> None:
    """Rotate heads whose halves are whole column blocks: no product is needed.

    x₁ ← x₁ · cos − x₂ · sin and x₂ ← x₂ · cos + x₁ · sin; of the tables the first half's blocks serve. `scratch` is the
    element address of two rows.
    """
    half = x.blocks // 2
    for block in range(half):
        starts = (x.at(block), x.at(block + half), tables.cos.at(block), tables.sin.at(block), scratch,
                  scratch + x.vlen)
        with contextlib.ExitStack() as stack:
            x1, x2, c, s, t1, t2 = (stack.enter_context(b.register(address)) for address in starts)

            def one(x1=x1, x2=x2, c=c, s=s, t1=t1, t2=t2):
                b.emit("V_MUL_VV", t1, x1, s)
                b.emit("V_MUL_VV", t2, x2, s)
                b.emit("V_MUL_VV", x1, x1, c)
                b.emit("V_MUL_VV", x2, x2, c)
                b.emit("V_SUB_VV", x1, x1, t2)
                b.emit("V_ADD_VV", x2, x2, t1)

            order.walk(b, x.vlen, (x1, x2), order.head_step * x.vlen, (c, s), one)
