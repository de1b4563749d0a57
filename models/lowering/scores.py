"""attn.scores: queries times the stored keys of their KV head, key block by key block (spec §9.4)."""

from __future__ import annotations

from plena_emu.models.builder import Builder, Register
from plena_emu.models.machine import HbmTensor, Machine

from .linear import KV
from .product import Product, multiply
from .score_rows import ScoreRows

KEYS = 1  # address registers of the caches
VALUES = 2


def load_blocks(b: Builder, machine: Machine, cache: HbmTensor, address_register: int, offset: Register, parts: int,
                count: int) -> None:
    """Prefetch `count` blocks of MLEN keys or values of a head, `parts` tiles each, from byte `offset` on; kept."""
    with b.registers(2) as (source, to):
        b.set(source, offset)
        b.set(to, 0)
        with b.loop(count):
            with b.loop(parts):
                b.emit("H_PREFETCH_M", to, source, address_register, 1, KV)
                b.advance(source, machine.mlen)
                b.advance(to, machine.tile)
            b.advance(source, machine.mlen * (cache.columns - parts))


def score_blocks(b: Builder, machine: Machine, shape: ScoreRows, q: Register, out: Register, *, parts: int,
                 part_step: int, first: int, count: int) -> None:
    """Write the scores of one query head against the key blocks `first` … `first` + `count` − 1 in the matrix SRAM.

    `q` is the head's first row, `part_step` leads to the next column block of the head, `out` is the first score row of
    key block `first`. Both keep their values. Future key blocks are skipped.
    """
    groups = machine.blocks  # of a block of MLEN queries
    whole, rest = divmod(shape.rows, machine.mlen)

    def product(height):
        return Product(groups=height, blocks=machine.blocks, terms=parts, row_step=part_step, tile_step=machine.tile,
                       group_step=machine.blen * machine.mlen, transposed=True)

    if not shape.causal:
        _rectangle(b, machine, shape, product(shape.rows // machine.blen), q, out, parts, count)
        return
    with b.registers(2) as (row, to):
        b.advance(row, first * machine.tile, q)
        b.advance(to, first * shape.query_step, out)
        triangle = min(count, whole - first)
        if triangle > 0:
            _triangle(b, machine, shape, product(groups), row, to, parts, count, triangle)
        if whole > first + count:
            with b.loop(whole - first - count):
                _rectangle(b, machine, shape, product(groups), row, to, parts, count)
                b.advance(row, machine.tile)
                b.advance(to, shape.query_step)
        if rest:
            _rectangle(b, machine, shape, product(rest // machine.blen), row, to, parts, count)


def _triangle(b, machine, shape, product, row, to, parts, count, queries):
    """Query blocks that begin at the first key block of the matrix SRAM: each sees one key block more."""
    if count == 1:
        _rectangle(b, machine, shape, product, row, to, parts, 1)
        b.advance(row, machine.tile)
        b.advance(to, shape.query_step)
        return
    with b.register(count - 1) as missing:
        with b.loop(queries):
            with b.registers(3) as (tile, column, left):
                b.set(tile, 0)
                b.set(column, to)
                b.set(left, missing)
                with b.loop_short_of(count, left):
                    _one_block(b, machine, shape, product, row, column, tile, parts)
            b.advance(row, machine.tile)
            b.advance(to, shape.query_step)
            b.advance(missing, -1)


def _rectangle(b, machine, shape, product, row, to, parts, count):
    """Query rows against all key blocks of the matrix SRAM."""
    with b.registers(2) as (tile, column):
        b.set(tile, 0)
        b.set(column, to)
        with b.loop(count):
            _one_block(b, machine, shape, product, row, column, tile, parts)


def _one_block(b, machine, shape, product, row, column, tile, parts):
    multiply(b, machine, product, row, tile, column)
    b.advance(column, shape.block_step - product.groups * product.group_step)
    b.advance(tile, parts * machine.tile)
