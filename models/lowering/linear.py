"""linear: rows in the vector SRAM times a weight in the HBM; each weight tile is loaded once (spec §9.4)."""

from __future__ import annotations

import contextlib

import msgspec

from plena_emu.models.builder import Builder, Register
from plena_emu.models.machine import Activation, HbmTensor, Machine, ceil_div

from .product import Product, columns_at_once, multiply

WEIGHTS = 0  # address register; precision field of the weight type
KV = 1


class TileRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of tile columns that get the same treatment.

    Tile column i holds the weight's columns from `column` + i · `column_step` on; its first `blocks` blocks of BLEN
    columns are computed, and the result's first row lies at element address `out` + i · `out_step`.
    """

    count: int
    column: int
    column_step: int
    blocks: int
    out: int
    out_step: int


class Distance(msgspec.Struct, frozen=True):
    """The distance of result rows in SRAM rows, and the register that holds it."""

    rows: int
    register: Register


def plain_runs(machine: Machine, columns: int, out: Activation) -> list[TileRun]:
    """List the runs of a weight of `columns` columns whose result is an activation; a ragged last tile is its own.

    Returns
    -------
    list of TileRun
    """
    whole, rest = divmod(columns, machine.mlen)
    runs = []
    if whole:
        runs.append(TileRun(count=whole, column=0, column_step=machine.mlen, blocks=machine.blocks, out=out.at(0),
                            out_step=out.block_step))
    if rest:
        runs.append(TileRun(count=1, column=whole * machine.mlen, column_step=machine.mlen,
                            blocks=machine.blocks_of(rest), out=out.at(whole), out_step=out.block_step))
    return runs


def linear(
    b: Builder, machine: Machine, x: Activation, weight: HbmTensor, runs: list[TileRun], *, groups: int,
    partial: int, stride: int = 1,
) -> None:
    """Multiply `groups` groups of BLEN rows of `x` by `weight`.

    Parameters
    ----------
    x : Activation
        Its column blocks meet the weight's tile rows one by one.
    runs : list of TileRun
    groups : int
    partial : int
        Element address of groups · BLEN scratch rows: partial sums of products that are deeper than the matrix SRAM.
    stride : int
        Distance of the result's rows in SRAM rows.
    """
    depth = machine.tiles_of(weight.rows)
    chunks = ceil_div(depth, machine.tiles)
    size = ceil_div(depth, chunks)
    b.set_transfer(WEIGHTS, weight.address, weight.scale, weight.columns)
    with contextlib.ExitStack() as stack:
        distance = Distance(stride, stack.enter_context(b.register(stride))) if stride > 1 else None
        column, out = stack.enter_context(b.registers(2))
        for run in runs:
            b.set(column, run.column)
            b.set(out, run.out)
            if chunks == 1:
                _at_once(b, machine, x, weight, run, groups, column, out, distance)
                continue
            with b.loop(run.count):
                _in_chunks(b, machine, x, weight, run, groups, (depth, size), column, out, partial, distance)
                b.advance(column, run.column_step)
                b.advance(out, run.out_step - groups * machine.blen * stride * machine.mlen)


def _at_once(b, machine, x, weight, run, groups, column, out, distance):
    """A run of tile columns that the matrix SRAM holds whole, as many at a time as pays."""
    depth = machine.tiles_of(weight.rows)
    stride = distance.rows if distance else 1
    shape = _shape(machine, x, groups, run, depth, stride)
    most = columns_at_once(machine, shape, run.count, stride > 1)
    across = next(number for number in range(most, 0, -1) if run.count % number == 0)  # no code for a remainder
    with b.loop(run.count // across):
        with b.register(0) as to, b.loop(across):
            load_tiles(b, machine, depth, column, weight.columns, to=to)
            b.advance(column, run.column_step)
        with b.register(x.address) as rows:
            multiply(b, machine, msgspec.structs.replace(shape, across=across), rows, None, out,
                     distance and distance.register)
        b.advance(out, across * run.out_step - groups * machine.blen * stride * machine.mlen)


def _shape(machine, x, groups, run, terms, stride):
    return Product(groups=groups, blocks=run.blocks, terms=terms, row_step=x.block_step, tile_step=machine.tile,
                   group_step=machine.blen * stride * machine.mlen, across_step=run.out_step)


def load_tiles(b: Builder, machine: Machine, count: int, offset: Register, columns: int, to: Register,
               keep: bool = True) -> None:
    """Prefetch `count` tiles of a weight, each MLEN rows below the one before, to tile address `to`, which moves on.

    `offset` is the first one's byte offset in its tensor, whose rows are `columns` wide; it is kept, or with `keep`
    false moves past the last tile.
    """
    with contextlib.ExitStack() as stack:
        step = stack.enter_context(b.step(machine.mlen * columns))
        source = offset
        if keep and count > 1:
            source = stack.enter_context(b.register())
            b.set(source, offset)
        with b.loop(count, unroll=4):
            b.emit("H_PREFETCH_M", to, source, WEIGHTS, 1, 0)
            if count > 1 or not keep:
                b.advance(source, step)
            b.advance(to, machine.tile)


def _in_chunks(b, machine, x, weight, run, groups, depths, column, out, partial, distance):
    """One tile column of a product deeper than the matrix SRAM: the first chunk writes out, others are added."""
    depth, size = depths
    chunks = ceil_div(depth, size)
    last = depth - size * (chunks - 1)
    rest = ((chunks - 2, size), (1, last)) if last != size else ((chunks - 1, size),)
    stride = distance.rows if distance else 1
    with b.registers(2) as (rows, offset):
        b.set(rows, x.address)
        b.set(offset, column)
        with b.register(0) as to:
            load_tiles(b, machine, size, offset, weight.columns, to, keep=False)
        multiply(b, machine, _shape(machine, x, groups, run, size, stride), rows, None, out,
                 distance and distance.register)
        for count, terms in rest:
            if count == 0:
                continue
            with b.loop(count):
                b.advance(rows, size * x.block_step)
                with b.register(0) as to:
                    load_tiles(b, machine, terms, offset, weight.columns, to, keep=False)
                with b.register(partial) as scratch:
                    multiply(b, machine, _shape(machine, x, groups, run, terms, 1), rows, None, scratch)
                _add_partial(b, machine, groups * machine.blen, out, partial, stride)


def _add_partial(b, machine, height, out, partial, stride):
    """Add the scratch rows to the `height` rows before `out`."""
    with b.registers(2) as (target, scratch):
        b.advance(target, -height * stride * machine.mlen, out)
        b.set(scratch, partial)
        with b.loop(height, unroll=4):
            b.emit("V_ADD_VV", target, target, scratch)
            b.advance(target, stride * machine.mlen)
            b.advance(scratch, machine.mlen)
