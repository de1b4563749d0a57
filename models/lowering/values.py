"""attn.values: probabilities times the stored values of the KV head, summed over the key blocks (spec §9.4)."""

from __future__ import annotations

import msgspec

from plena_emu.models.builder import Builder, Register
from plena_emu.models.machine import Machine

from .product import Product, multiply
from .score_rows import ScoreRows


class ValueColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns of the value tiles a head takes: from element `tile` of the first tile on, `blocks` BLEN blocks.

    `tile_step` leads to the tile of the next key block.
    """

    tile: int
    blocks: int
    tile_step: int


def value_rows(b: Builder, machine: Machine, shape: ScoreRows, columns: ValueColumns, scores: Register, out: Register,
               *, stride: int, first: int, count: int) -> None:
    """Write a head's probabilities times `count` value blocks in the matrix SRAM.

    With `causal` only queries from block `first` on see these value blocks; the others' rows are left alone.

    Parameters
    ----------
    scores : Register
        The head's first score row for key block `first`; kept.
    out : Register
        Element address of the result's first row and column; kept.
    stride : int
        Distance of the result's rows in SRAM rows.
    """
    whole, rest = divmod(shape.rows, machine.mlen)
    height = machine.blocks

    def product(groups):
        return Product(groups=groups, blocks=columns.blocks, terms=count, row_step=shape.block_step,
                       tile_step=columns.tile_step, group_step=machine.blen * stride * machine.mlen)

    with b.registers(2) as (row, to):
        b.set(row, scores)
        b.set(to, out)
        if not shape.causal:
            for times, rows in shape.runs(shape.rows, machine.mlen):
                with b.loop(times):
                    _multiply(b, machine, product(rows // machine.blen), columns, row, to, stride, None)
                    b.advance(row, shape.query_step if rows < shape.rows else 0)
            return
        b.advance(row, first * shape.query_step)
        b.advance(to, first * machine.tile * stride)
        triangle = min(count, whole - first)
        if triangle > 0:
            with b.register(count - 1) as missing, b.loop(triangle):
                _multiply(b, machine, product(height), columns, row, to, stride, missing if count > 1 else None)
                b.advance(row, shape.query_step)
                b.advance(missing, -1)
        if whole > first + count:
            with b.loop(whole - first - count):
                _multiply(b, machine, product(height), columns, row, to, stride, None)
                b.advance(row, shape.query_step)
        if rest:
            _multiply(b, machine, product(rest // machine.blen), columns, row, to, stride, None)


def _multiply(b, machine, product, columns, row, to, stride, missing):
    """One product; `to` moves past its rows."""
    if stride == 1:
        with b.register(columns.tile) as tile:
            multiply(b, machine, product, row, tile, to, None, missing)
    else:
        with b.register(columns.tile) as tile, b.register(stride) as distance:
            multiply(b, machine, product, row, tile, to, distance, missing)


def add_partial_rows(b: Builder, machine: Machine, shape: ScoreRows, partial: int, out: Register, *, stride: int,
                     first: int, lanes: int | None = None) -> None:
    """Add the rows that `value_rows` wrote to `partial`, an element address, to the result at `out`; `out` is kept.

    `lanes` selects the sections of the rows that count (§1.5), as a value of `v_mask`; None: all.
    """
    start = first * machine.mlen if shape.causal else 0
    if lanes is not None:
        with b.register(lanes) as mask:
            b.emit("C_SET_V_MASK_REG", mask)
    with b.register(partial + start * machine.mlen) as row, b.register() as to:
        b.advance(to, start * machine.mlen * stride, out)
        with b.loop(shape.rows - start, unroll=4):
            b.emit("V_ADD_VV", to, to, row, 0 if lanes is None else 1)
            b.advance(row, machine.mlen)
            b.advance(to, machine.mlen * stride)
