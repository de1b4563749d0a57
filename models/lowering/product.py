"""Products of row groups with tiles in the matrix SRAM: the loop nest that all matrix operators share (spec §9.4)."""

from __future__ import annotations

import contextlib

import msgspec

from plena_emu.models.builder import IMMEDIATE, Builder, Register
from plena_emu.models.machine import Machine
from plena_emu.models.passes.overlap import due, shares

_UNROLLED_WORDS = 300  # most words of the unrolled column blocks
_ACROSS_WORDS = 160  # of column blocks in several tile columns
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


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """Loads to issue while a product is computed: `count` tiles of a weight, each MLEN rows below the one before.

    `source` (byte offset in the tensor) and `to` (tile address) move past the last tile; `step` leads from one tile to
    the next, `precision` is that of the transfers.
    """

    count: int
    source: Register
    to: Register
    step: int | Register
    precision: int

    def load(self, b: Builder, machine: Machine) -> None:
        """Write the load of the next tile."""
        b.emit("H_PREFETCH_M", self.to, self.source, self.precision, 1, 0)
        b.advance(self.source, self.step)
        b.advance(self.to, machine.tile)

    @property
    def registers(self) -> tuple[Register, ...]:
        """What it works with."""
        return (self.source, self.to, *((self.step,) if isinstance(self.step, Register) else ()))


def multiply(
    b: Builder, machine: Machine, shape: Product, rows: Register, tile: Register | None, out: Register,
    stride: Register | None = None, shortfall: Register | None = None, feed: Feed | None = None,
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
        Terms to leave out at the end, at run time; kept. It needs `tile`.
    feed : Feed or None
        Tiles to load meanwhile, to where this product reads none; not together with `shortfall`.
    """
    operands = [register for register in (rows, tile, out, stride, shortfall) if register is not None]
    operands += feed.registers if feed else ()
    with b.room(_wanted(shape), *operands), contextlib.ExitStack() as stack:
        nest = _Nest(b, machine, shape, tile, out, stride, stack)
        nest.lend_registers(shortfall is not None)
        nest.start(rows)
        for times, loads in shares(feed.count if feed else 0, shape.groups):
            with b.loop(times):
                if shortfall is None:
                    nest.blocks(feed, loads)
                else:
                    nest.blocks_of_variable_depth(shortfall)
                nest.next_group()


def _wanted(shape):
    """Free registers to ask for: one a term, where that pays for spilling others."""
    if shape.across > 1 or shape.groups * shape.blocks >= _PAYS:
        return max(_WORKING, shape.terms + 4)
    return _WORKING


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
    return max(1, min(most, machine.tiles // shape.terms, _ACROSS_WORDS // words, written))


def _is_unrolled(machine, shape):
    """Whether column blocks are written one by one, which saves some cycles a block."""
    words = shape.blocks * (3 * shape.terms + 2)
    return words <= _UNROLLED_WORDS and shape.terms * machine.mlen <= _SHORT_BLOCK


class _Slots:
    """Places among the terms of a product where loads may be written: `loads` of `feed` over `slots` of them."""

    def __init__(self, b, machine, feed, loads, slots):
        self.b, self.machine, self.feed, self.loads, self.slots = b, machine, feed, loads, slots
        self.slot = 0

    def fill(self):
        """Write the loads that are due at the next slot."""
        for _ in range(due(self.loads, self.slots, self.slot)):
            self.feed.load(self.b, self.machine)
        self.slot += 1


class _Nest:
    """The loops of one product and the registers they move.

    Attributes
    ----------
    at : Register
        Tile address of the next term.
    fixed : tuple of Register
        The first terms' rows of the group, one register each.
    walking : tuple of Register or None
        First row of the other terms, and the one that walks over them.
    """

    def __init__(self, b, machine, shape, tile, out, stride, stack):
        self.b, self.machine, self.shape, self.stack = b, machine, shape, stack
        self.tile, self.out, self.stride = tile, out, stride or 0
        self.column_step = machine.blen * (machine.mlen if shape.transposed else 1)

    def lend_registers(self, variable):
        """Give as many terms as possible a row register; `variable` says that their number is not known yet."""
        b, shape, lend = self.b, self.shape, self.stack.enter_context
        self.at = lend(b.register())
        spare = b.free_registers - 2 - (shape.groups > 1)  # steps, the loop of groups
        if not _is_unrolled(self.machine, shape):
            spare -= 2  # the loop of column blocks, where they go
        count = shape.terms if shape.terms <= spare else max(0, spare - 3)
        self.fixed = lend(b.registers(0 if variable else count))
        self.walking = lend(b.registers(2)) if len(self.fixed) < shape.terms else None
        self.row_step = lend(b.step(shape.row_step))
        if not variable:
            # From the tile after a column block's last term to the first term of the next column block.
            moved = shape.terms if self.walking else shape.terms - 1
            self.back = lend(b.step(self.column_step - moved * shape.tile_step))

    def start(self, rows):
        """Point the row registers at the first group."""
        last = rows
        for register in self.fixed:
            self.b.advance(register, 0 if last is rows else self.row_step, last)
            last = register
        if self.walking:
            self.b.advance(self.walking[0], self.row_step if self.fixed else 0, last)

    def next_group(self):
        """Move rows and result to the next group of BLEN rows."""
        if self.shape.groups > 1:
            for register in (*self.fixed, *(self.walking or ())[:1]):
                self.b.advance(register, self.machine.blen * self.machine.mlen)
        self.b.advance(self.out, self.shape.group_step)

    def blocks(self, feed, loads):
        """Write all column blocks of a group, and among them `loads` loads of `feed`."""
        b, shape, blen = self.b, self.shape, self.machine.blen
        b.set(self.at, 0 if self.tile is None else self.tile)
        if _is_unrolled(self.machine, shape):
            slots = _Slots(b, self.machine, feed, loads, shape.across * shape.blocks * (len(self.fixed) or 1))
            for column in range(shape.across):
                for block in range(shape.blocks):
                    self.sum(slots)
                    b.emit("M_MM_WO", self.out, self.stride, column * shape.across_step + block * blen)
                    if block < shape.blocks - 1:
                        b.advance(self.at, self.back)
                if column < shape.across - 1:
                    b.advance(self.at, shape.tile_step - (shape.blocks - 1) * blen)
            return
        with b.register() as to:
            b.set(to, self.out)
            for times, share in shares(loads, shape.blocks):
                with b.loop(times):
                    self.sum(_Slots(b, self.machine, feed, share, len(self.fixed) or 1))
                    b.emit("M_MM_WO", to, self.stride, 0)
                    b.advance(self.at, self.back)
                    b.advance(to, blen)

    def sum(self, slots):
        """Write the terms of one block: those with registers of their own, then the rest.

        Loads go behind terms: once the first one of a column is accepted, nothing reads the column before any more.
        """
        b, shape = self.b, self.shape
        for number, register in enumerate(self.fixed):
            self.term(register)
            slots.fill()
            if number < shape.terms - 1:
                b.advance(self.at, shape.tile_step)
        if self.walking:
            first, row = self.walking
            b.set(row, first)
            with b.loop(shape.terms - len(self.fixed), unroll=_WALK):
                self.walk(row)
        if not self.fixed:
            slots.fill()

    def walk(self, row):
        """Write a term and go on to the next."""
        self.term(row)
        self.b.advance(row, self.row_step)
        self.b.advance(self.at, self.shape.tile_step)

    def term(self, row):
        """Write one product of BLEN rows with BLEN columns of a tile."""
        if self.shape.transposed:
            self.b.emit("M_TMM", 0, row, self.at)
        else:
            self.b.emit("M_MM", 0, self.at, row)

    def blocks_of_variable_depth(self, shortfall):
        """As `blocks`, with a number of terms that is known at run time only."""
        b, shape = self.b, self.shape
        first, row = self.walking
        with b.registers(2) as (to, left):
            b.set(to, self.out)
            with b.loop(shape.blocks):
                for register, value in ((self.at, self.tile), (row, first), (left, shortfall)):
                    b.set(register, value)
                with b.loop_short_of(shape.terms, left):
                    self.walk(row)
                b.emit("M_MM_WO", to, self.stride, 0)
                b.advance(self.tile, self.column_step)
                b.advance(to, self.machine.blen)
        b.advance(self.tile, -shape.blocks * self.column_step)
