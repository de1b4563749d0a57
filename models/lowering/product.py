"""Products of row groups with tiles in the matrix SRAM: the loop nest that all matrix operators share (spec §9.4)."""

from __future__ import annotations

import contextlib

import msgspec

from plena_emu.models.builder import IMMEDIATE, Builder, Register
from plena_emu.models.machine import Machine

_UNROLLED_WORDS = 300  # most words of the unrolled column blocks
_SHORT_BLOCK = 1600  # cycles of a block below which a loop's own cycles count
_WORKING = 10  # registers that any product can do with
_PAYS = 8  # result blocks from which on free registers are worth spilling others
_FIXED_TERMS = 9  # of which a product can keep the rows in registers, whatever it is part of
_WALK = 16  # terms of the sum that one iteration of the inner loop takes


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a product: `groups` groups of BLEN rows by `blocks` blocks of BLEN columns, `terms` tiles deep.

    Steps count elements: `row_step` from a row's part for one term to that for the next, `tile_step` between the
    tiles of two terms, `group_step` between two groups in the result. `transposed` takes M_TMM, whose column blocks
    are rows of the tile.

    `across` columns of tiles are multiplied one after the other, `across_step` apart in the result; their tiles follow
    one another. It saves setting up rows for each.
    """

    groups: int
    blocks: int
    terms: int
    row_step: int
    tile_step: int
    group_step: int
    transposed: bool = False
    across: int = 1
    across_step: int = 0


def multiply(
    b: Builder, machine: Machine, shape: Product, rows: Register, tile: Register | None, out: Register,
    stride: Register | None = None, shortfall: Register | None = None,
) -> None:
    """Write a product whose tiles are in the matrix SRAM.

    Each result block is summed in `m_accum` over all terms, so nothing is rounded in between. Columns lie at
    `out` + block · BLEN (+ column · across_step); `rows` and `tile` (None: the first tile) keep their values, `out`
    moves by groups · group_step.

    Parameters
    ----------
    rows, tile, out : Register
        Element addresses of the first row, of the first tile, and of the result.
    stride : Register or None
        Distance of result rows in SRAM rows (M_MM_WO), where it is not 1.
    shortfall : Register or None
        Terms to leave out at the end, at run time; kept.
    """
    column_step = machine.blen * (machine.mlen if shape.transposed else 1)
    operands = [register for register in (rows, tile, out, stride, shortfall) if register is not None]
    with b.room(_wanted(shape), *operands), contextlib.ExitStack() as stack:
        lend = stack.enter_context
        at = lend(b.register())
        fixed_terms, walks = _plan_terms(b, machine, shape, shortfall is not None)
        fixed = lend(b.registers(fixed_terms))
        walking = lend(b.registers(2)) if walks else None
        row_step = lend(b.step(shape.row_step))
        # From the tile after a column block's last term to the first term of the next column block.
        moved = shape.terms - 1 if not walks else shape.terms
        back = lend(b.step(column_step - moved * shape.tile_step)) if shortfall is None else None
        _start_rows(b, rows, fixed, walking, row_step)
        with b.loop(shape.groups):
            if shortfall is None:
                _set_tile(b, at, tile)
                _blocks(b, machine, shape, at, fixed, walking, row_step, back, out, stride)
            else:
                _blocks_of_variable_depth(b, machine, shape, at, tile, walking, row_step, out, stride, shortfall)
            if shape.groups > 1:
                for register in (*fixed, *(walking or ())[:1]):
                    b.advance(register, machine.blen * machine.mlen)
            b.advance(out, shape.group_step)


def _wanted(shape):
    """Free registers to ask for: one a term, where that pays for spilling others."""
    if shape.across > 1 or shape.groups * shape.blocks >= _PAYS:
        return max(_WORKING, shape.terms + 4)
    return _WORKING


def _plan_terms(b, machine, shape, variable):
    """How many terms get a row register of their own, and whether the others walk."""
    if variable:
        return 0, True
    spare = b.free_registers - 2 - (shape.groups > 1)  # steps, the loop of groups
    if not _is_unrolled(machine, shape):
        spare -= 2  # the loop of column blocks, where they go
    if shape.terms <= spare:
        return shape.terms, False
    return max(0, spare - 3), True


def columns_at_once(machine: Machine, shape: Product, most: int, strided: bool) -> int:
    """Count the tile columns, at most `most`, that `multiply` can take with `across`.

    Every term must get a row register of its own, and the code stay short.

    Returns
    -------
    int
    """
    if shape.terms > _FIXED_TERMS - strided or not _is_unrolled(machine, shape):
        return 1
    words = shape.blocks * (2 * shape.terms + 1)
    written = 1 + (IMMEDIATE - machine.mlen) // shape.across_step
    return max(1, min(most, machine.tiles // shape.terms, _UNROLLED_WORDS // words, written))


def _is_unrolled(machine, shape):
    """Whether column blocks are written one by one, which saves some cycles a block."""
    words = shape.blocks * (3 * shape.terms + 2)
    return words <= _UNROLLED_WORDS and shape.terms * machine.mlen <= _SHORT_BLOCK


def _start_rows(b, rows, fixed, walking, row_step):
    """Point the row registers at the first group."""
    last = rows
    for register in fixed:
        if last is rows:
            b.set(register, rows)
        else:
            b.advance(register, row_step, last)
        last = register
    if walking:
        b.advance(walking[0], row_step if fixed else 0, last)


def _set_tile(b, at, tile):
    b.set(at, tile if tile is not None else 0)


def _blocks(b, machine, shape, at, fixed, walking, row_step, back, out, stride):
    """All column blocks of one group; `at` stands at the tile of the first one."""
    if _is_unrolled(machine, shape):
        for column in range(shape.across):
            for block in range(shape.blocks):
                _sum(b, shape, at, fixed, walking, row_step)
                b.emit("M_MM_WO", out, stride or 0, column * shape.across_step + block * machine.blen)
                if block < shape.blocks - 1:
                    b.advance(at, back)
            if column < shape.across - 1:
                b.advance(at, shape.tile_step - (shape.blocks - 1) * machine.blen)
        return
    with b.register() as to:
        b.set(to, out)
        with b.loop(shape.blocks):
            _sum(b, shape, at, fixed, walking, row_step)
            b.emit("M_MM_WO", to, stride or 0, 0)
            b.advance(at, back)
            b.advance(to, machine.blen)


def _sum(b, shape, at, fixed, walking, row_step):
    """The terms of one block: those with registers of their own, then the rest."""
    for number, register in enumerate(fixed):
        _term(b, shape, at, register)
        if number < shape.terms - 1:
            b.advance(at, shape.tile_step)
    if walking:
        start, row = walking
        b.set(row, start)
        with b.loop(shape.terms - len(fixed), unroll=_WALK):
            _term(b, shape, at, row)
            b.advance(row, row_step)
            b.advance(at, shape.tile_step)


def _blocks_of_variable_depth(b, machine, shape, at, tile, walking, row_step, out, stride, shortfall):
    """As `_blocks`, with a number of terms that is known at run time only."""
    start, row = walking
    column_step = machine.blen * (machine.mlen if shape.transposed else 1)
    with b.registers(2) as (to, left):
        b.set(to, out)
        with b.loop(shape.blocks):
            b.set(at, tile)
            b.set(row, start)
            b.set(left, shortfall)
            with b.loop_short_of(shape.terms, left):
                _term(b, shape, at, row)
                b.advance(row, row_step)
                b.advance(at, shape.tile_step)
            b.emit("M_MM_WO", to, stride or 0, 0)
            b.advance(tile, column_step)
            b.advance(to, machine.blen)
    b.advance(tile, -shape.blocks * column_step)


def _term(b, shape, at, row):
    if shape.transposed:
        b.emit("M_TMM", 0, row, at)
    else:
        b.emit("M_MM", 0, at, row)
