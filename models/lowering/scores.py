"""attn.scores: queries times the stored keys of their KV head, key block by key block (spec §9.4)."""

from __future__ import annotations

import contextlib

import msgspec

from plena_emu.models.builder import Builder, Register
from plena_emu.models.machine import HbmTensor, Machine, ceil_div

from .linear import KV
from .product import Product, multiply
from .score_rows import ScoreRows

KEYS = 1  # address registers of the caches
VALUES = 2
_DIAGONAL_STEPS = 4  # of a block of queries against its own keys


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
    whole, rest = divmod(shape.rows, machine.mlen)
    if not shape.causal:
        _rectangle(b, machine, shape, _product(machine, shape.rows // machine.blen, parts, part_step), q, out, count)
        return
    block = _product(machine, machine.blocks, parts, part_step)
    inside = max(0, min(count, whole - first))  # query blocks whose own keys are in the matrix SRAM
    with b.registers(2) as (row, to):
        b.advance(row, first * machine.tile, q)
        b.advance(to, first * shape.query_step, out)
        if inside:
            with b.spilled(row, to):
                _diagonal(b, machine, shape, block, row, to, inside)
        if inside > 1:
            _triangle(b, machine, shape, block, row, to, inside)
        elif inside:
            b.advance(row, machine.tile)
            b.advance(to, shape.query_step)
        if whole > first + count:
            with b.loop(whole - first - count):
                _rectangle(b, machine, shape, block, row, to, count)
                b.advance(row, machine.tile)
                b.advance(to, shape.query_step)
        if rest:
            last = _product(machine, rest // machine.blen, parts, part_step)
            own = first + count > whole  # the last queries' own keys are here
            if count > own:
                _rectangle(b, machine, shape, last, row, to, count - own)
            if own:
                b.advance(to, (count - 1) * shape.block_step)
                _steps(b, machine, last, row, to, (count - 1) * parts * machine.tile)


def _product(machine, groups, parts, part_step):
    return Product(groups=groups, blocks=machine.blocks, terms=parts, row_step=part_step, tile_step=machine.tile,
                   group_step=machine.blen * machine.mlen, transposed=True)


def _diagonal(b, machine, shape, product, row, to, queries):
    """Every query block against its own keys; key columns behind a group's last query are left out."""
    with b.registers(3) as (query, block, tile):
        b.set(query, row)
        b.set(block, to)
        b.set(tile, 0)
        with b.loop(queries):
            _steps(b, machine, product, query, block, tile)
            b.advance(query, machine.tile)
            b.advance(block, shape.query_step + shape.block_step)
            b.advance(tile, product.terms * machine.tile)


def _steps(b, machine, product, row, to, tile):
    """A block on the diagonal in at most four steps of growing width; `tile` is a register or a number."""
    size = ceil_div(machine.blocks, _DIAGONAL_STEPS)
    with b.registers(2) as (query, out), contextlib.ExitStack() as stack:
        if not isinstance(tile, Register):
            tile = stack.enter_context(b.register(tile))
        b.set(query, row)
        b.set(out, to)
        for first in range(0, product.groups, size):
            groups = min(size, product.groups - first)
            part = msgspec.structs.replace(product, groups=groups, blocks=min(first + size, machine.blocks))
            multiply(b, machine, part, query, tile, out)
            b.advance(query, groups * machine.blen * machine.mlen)


def _triangle(b, machine, shape, product, row, to, queries):
    """Query blocks against the key blocks before their own; `row` and `to` move past them."""
    b.advance(row, machine.tile)
    b.advance(to, shape.query_step)
    if queries == 2:
        _rectangle(b, machine, shape, product, row, to, 1)
        b.advance(row, machine.tile)
        b.advance(to, shape.query_step)
        return
    with b.register(queries - 2) as missing, b.loop(queries - 1):
        with b.registers(3) as (tile, column, left):
            b.set(tile, 0)
            b.set(column, to)
            b.set(left, missing)
            with b.loop_short_of(queries - 1, left):
                _one_block(b, machine, shape, product, row, column, tile)
        b.advance(row, machine.tile)
        b.advance(to, shape.query_step)
        b.advance(missing, -1)


def _rectangle(b, machine, shape, product, row, to, count):
    """Query rows against the first `count` key blocks of the matrix SRAM."""
    with b.registers(2) as (tile, column):
        b.set(tile, 0)
        b.set(column, to)
        with b.loop(count):
            _one_block(b, machine, shape, product, row, column, tile)


def _one_block(b, machine, shape, product, row, column, tile):
    multiply(b, machine, product, row, tile, column)
    b.advance(column, shape.block_step - product.groups * product.group_step)
    b.advance(tile, product.terms * machine.tile)
