"""linear: rows in the vector SRAM times a weight in the HBM; each weight tile is loaded once (spec §9.4)."""

from __future__ import annotations

import contextlib

import msgspec

from plena_emu.models.builder import Builder, Digit, Register, every_index
from plena_emu.models.machine import Activation, HbmTensor, Machine, ceil_div
from plena_emu.models.passes.overlap import can_alternate

from .product import Feed, Product, columns_at_once, multiply

WEIGHTS = 0  # address register; precision field of the weight type
KV = 1


class TileRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of tile columns that get the same treatment.

    Tile column i holds the weight's columns from `column` + i · `column_step` on; its first `blocks` blocks of BLEN
    columns are computed, and the result's first row lies at element address `out` + i · `out_step`.

    With `parts` > 1 it is as many runs, of which the next begins `part_column` columns and `part_out` elements further.
    """

    count: int
    column: int
    column_step: int
    blocks: int
    out: int
    out_step: int
    parts: int = 1
    part_column: int = 0
    part_out: int = 0

    def single(self) -> list[TileRun]:
        """List its parts as runs of their own.

        Returns
        -------
        list of TileRun
        """
        return [msgspec.structs.replace(self, parts=1, column=self.column + part * self.part_column,
                                        out=self.out + part * self.part_out) for part in range(self.parts)]


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
    partial: int, stride: int = 1, overlap: bool = False,
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
    overlap : bool
        Whether the tiles of the next tile column are loaded while the present one is used, where both fit the matrix
        SRAM and a column is loaded once.
    """
    work = _Work(machine=machine, x=x, weight=weight, partial=partial, stride=stride)
    b.set_transfer(WEIGHTS, weight.address, weight.scale, weight.columns)
    with contextlib.ExitStack() as stack:
        distance = stack.enter_context(b.register(stride)) if stride > 1 else None
        for run in runs:
            pieces = _pieces(groups, _most_groups(machine, run.blocks, work.depth))
            if pieces == [(1, groups)] and overlap and can_alternate(machine.tiles, work.depth, run.count):
                for part in run.single():
                    _alternating(b, work, part, groups, distance)
                continue
            if pieces == [(1, groups)] and work.chunks == 1 and run.parts == 1:
                with b.register(run.column) as column, b.register(run.out) as out:
                    _at_once(b, work, run, groups, column, out, distance)
                continue
            first = 0
            for times, height in pieces:
                _piecewise(b, work, run, first, times, height, distance)
                first += times * height


class _Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a linear works on; see `linear`."""

    machine: Machine
    x: Activation
    weight: HbmTensor
    partial: int
    stride: int

    @property
    def depth(self) -> int:
        """Tiles of a tile column."""
        return self.machine.tiles_of(self.weight.rows)

    @property
    def chunks(self) -> int:
        """Parts of a tile column that the matrix SRAM holds."""
        return ceil_div(self.depth, self.machine.tiles)

    @property
    def group(self) -> int:
        """Elements from a group of BLEN rows of `x` to the next."""
        return self.machine.blen * self.machine.mlen

    def product(self, run, groups, terms, stride):
        """The product of `groups` groups with `terms` tiles."""
        return Product(groups=groups, blocks=run.blocks, terms=terms, row_step=self.x.block_step,
                       tile_step=self.machine.tile, group_step=self.group * stride, across_step=run.out_step)


def _most_groups(machine, blocks, depth):
    """Groups of rows whose work on a tile column stays well below MAX_LOOP_INSTRUCTIONS."""
    free = machine.max_loop_instructions // 8 * 7 - 4 * depth  # besides the prefetches
    return max(1, free // (blocks * (3 * depth + 8) + 16))


def _pieces(groups, most):
    """Split groups of rows into pieces of at most `most`: (pieces, groups of each).

    Equal pieces save the code of a rest; half as long ones are still long enough.
    """
    equal = (size for size in range(min(groups, most), most // 2, -1) if groups % size == 0)
    size = next(equal, ceil_div(groups, ceil_div(groups, most)))
    whole, rest = divmod(groups, size)
    return [(whole, size)] + [(1, rest)] * (rest > 0)


def _at_once(b, work, run, groups, column, out, distance):
    """A run of tile columns that the matrix SRAM holds whole, as many at a time as pays."""
    machine = work.machine
    shape = work.product(run, groups, work.depth, work.stride)
    most = columns_at_once(machine, shape, run.count, work.stride > 1)
    across = next(number for number in range(most, 0, -1) if run.count % number == 0)  # no code for a remainder
    with b.loop(run.count // across):
        with b.register(0) as to, b.loop(across):
            load_tiles(b, machine, work.depth, column, work.weight.columns, to=to)
            b.advance(column, run.column_step)
        with b.register(work.x.address) as rows:
            multiply(b, machine, msgspec.structs.replace(shape, across=across), rows, None, out, distance)
        b.advance(out, across * run.out_step - groups * work.group * work.stride)


def _alternating(b, work, run, groups, distance):
    """A run of tile columns, each loaded into one half of the matrix SRAM while the other half is used."""
    machine, shape = work.machine, work.product(run, groups, work.depth, work.stride)
    half = work.depth * machine.tile
    tile_step = machine.mlen * work.weight.columns
    with b.registers(4) as (source, out, use, to), b.step(tile_step) as step:
        b.set(source, run.column)
        b.set(out, run.out)
        b.set(use, 0)
        b.set(to, 0)
        load_tiles(b, machine, work.depth, source, work.weight.columns, to=to)
        b.advance(source, run.column_step)
        feed = Feed(count=work.depth, source=source, to=to, step=step, precision=WEIGHTS)
        with b.loop(run.count - 1):
            _multiply_half(b, work, run, shape, use, out, distance, feed)
            b.advance(source, run.column_step - work.depth * tile_step)
            with b.register() as used:
                b.set(used, use)
                b.advance(use, -half, to)
                b.set(to, used)
        _multiply_half(b, work, run, shape, use, out, distance, None)


def _multiply_half(b, work, run, shape, use, out, distance, feed):
    """Multiply with the tile column at tile address `use`; `out` moves on to the result of the next one."""
    with b.register(work.x.address) as rows:
        multiply(b, work.machine, shape, rows, use, out, distance, feed=feed)
    b.advance(out, run.out_step - shape.groups * work.group * work.stride)


def _piecewise(b, work, run, first, times, height, distance):
    """`times` pieces of `height` groups of rows, from group `first` on, of a run of tile columns and its parts.

    All is one loop: nested ones would soon reach MAX_LOOP_INSTRUCTIONS. Every piece loads the tile column again. Pieces
    are so long that this is a small part of their time.
    """
    step = height * work.group
    digits = Digit(run.parts), Digit(run.count), Digit(times)
    with every_index(b, *digits) as (part, tile_column, piece), b.registers(3) as (column, out, rows):
        b.set(column, run.column)
        b.advance_times(column, part, run.part_column)
        b.advance_times(column, tile_column, run.column_step)
        b.set(out, run.out + first * work.group * work.stride)
        b.advance_times(out, part, run.part_out)
        b.advance_times(out, tile_column, run.out_step)
        b.advance_times(out, piece, step * work.stride)
        b.set(rows, work.x.address + first * work.group)
        b.advance_times(rows, piece, step)
        with b.spilled(column, out, rows, *([distance] if distance else [])):
            _in_chunks(b, work, run, height, column, out, rows, distance)


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


def _in_chunks(b, work, run, groups, offset, out, rows, distance):
    """One tile column, chunk by chunk of its depth: the first chunk writes out, others are added.

    `offset`, `out` and `rows` move.
    """
    machine, depth = work.machine, work.depth
    size = ceil_div(depth, work.chunks)
    last = depth - size * (work.chunks - 1)
    rest = ((work.chunks - 2, size), (1, last)) if last != size else ((work.chunks - 1, size),)
    with b.register(0) as to:
        load_tiles(b, machine, size, offset, work.weight.columns, to=to, keep=False)
    multiply(b, machine, work.product(run, groups, size, work.stride), rows, None, out, distance)
    if work.chunks == 1:
        return
    for count, terms in rest:
        if count == 0:
            continue
        with b.loop(count):
            b.advance(rows, size * work.x.block_step)
            with b.register(0) as to:
                load_tiles(b, machine, terms, offset, work.weight.columns, to=to, keep=False)
            with b.register(work.partial) as scratch:
                multiply(b, machine, work.product(run, groups, terms, 1), rows, None, scratch)
            _add_partial(b, machine, groups * machine.blen, out, work.partial, work.stride)


def _add_partial(b, machine, height, out, partial, stride):
    """Add the scratch rows to the `height` rows before `out`."""
    with b.registers(2) as (target, scratch):
        b.advance(target, -height * stride * machine.mlen, out)
        b.set(scratch, partial)
        with b.loop(height, unroll=4):
            b.emit("V_ADD_VV", target, target, scratch)
            b.advance(target, stride * machine.mlen)
            b.advance(scratch, machine.mlen)
