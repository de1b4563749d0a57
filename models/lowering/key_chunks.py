"""Chunks of keys against blocks of queries: which step sees, masks and loads what (spec §9.4).

What the two online attentions share. A step is a block of query rows against a chunk of key blocks; in a causal
attention query block i sees the key blocks 0 … i. The first step of a chunk loads it. The others load its first key
block again, because no instruction can be skipped, only done once more or not.
"""

from __future__ import annotations

import msgspec

from plena_emu.models.builder import Builder, Digit, Register
from plena_emu.models.machine import Machine, ceil_div

from .linear import KV


class KeyChunks(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks of queries against chunks of keys.

    Attributes
    ----------
    query_blocks, key_blocks : int
        With `causal` there are as many of both, and query block i sees the key blocks 0 … i.
    chunk : int
        Key blocks of a chunk; the last one may have fewer.
    """

    query_blocks: int
    key_blocks: int
    chunk: int
    causal: bool

    @property
    def count(self) -> int:
        """Chunks."""
        return ceil_div(self.key_blocks, self.chunk)

    @property
    def last(self) -> int:
        """Key blocks of the last chunk."""
        return self.key_blocks - (self.count - 1) * self.chunk

    def blocks(self, behind: int) -> Digit:
        """Make the index of a query block among those that see a chunk, whose index is `behind` places before.

        Returns
        -------
        Digit
        """
        return Digit(self.query_blocks, self.chunk if self.causal else 0, behind)


def most_blocks(machine: Machine, parts: int) -> int:
    """Count the key blocks whose keys and values fit the matrix SRAM together.

    Returns
    -------
    int
    """
    return max(1, machine.tiles // (2 * parts))


def zero_row(b: Builder, machine: Machine, scratch: int, finite: int) -> None:
    """Clear the second scratch row, the mask of blocks that need none; `finite` is the address of a sound row."""
    with b.register(scratch + machine.mlen) as row, b.register(finite) as sound:
        b.emit("V_SUB_VV", row, sound, sound)


def query_row(b: Builder, chunks: KeyChunks, rows: int, chunk: Register, block: Register, row: Register) -> None:
    """Set `row` to the first of a head's rows that a step does."""
    b.set(row, 0)
    b.advance_times(row, block, rows)
    if chunks.causal:
        b.advance_times(row, chunk, chunks.chunk * rows)


def visible_blocks(b: Builder, chunks: KeyChunks, chunk: Register, block: Register, steps: Register,
                   triangle: Register, out: tuple[Register, Register, Register]) -> None:
    """Compute what a step sees.

    Parameters
    ----------
    chunk, block : Register
        Index of the chunk, and of the query block among those that see it.
    steps : Register
        0 in the first step of the chunk, which loads it.
    triangle : Register
        Counts down over the query blocks whose own keys are in the chunk; 0 before the first step.
    out : three of Register
        Get the key blocks that the step sees; 1 where the last of them is masked, else 0; and the key blocks to load.
    """
    seen, masked, loaded = out
    with b.registers(2) as (flag, rest):
        b.set(rest, chunks.count - 1)
        b.emit("S_SUB_INT", rest, rest, chunk)
        b.is_zero(flag, rest)  # the last chunk
        b.set(loaded, chunks.chunk)
        b.advance_times(loaded, flag, chunks.last - chunks.chunk)
        if not chunks.causal:
            b.set(seen, loaded)
            b.set(masked, flag)
        if chunks.causal:
            b.is_zero(flag, block)
            with b.register(chunks.chunk) as fresh:
                b.emit("S_SUB_INT", fresh, fresh, triangle)
                b.emit("S_MUL_INT", fresh, fresh, flag)
                b.emit("S_ADD_INT", triangle, triangle, fresh)
            b.is_zero(rest, triangle)
            b.set(masked, 1)
            b.emit("S_SUB_INT", masked, masked, rest)
            b.set(seen, chunks.chunk)
            b.emit("S_ADD_INT", seen, seen, masked)
            b.emit("S_SUB_INT", seen, seen, triangle)
            b.emit("S_SUB_INT", triangle, triangle, masked)
        b.is_zero(flag, steps)
        b.advance(loaded, -1)
        b.emit("S_MUL_INT", loaded, loaded, flag)
        b.advance(loaded, 1)


def load_chunk(b: Builder, machine: Machine, columns: int, address_register: int, offset: Register, count: Register,
               first_tile: int, *, parts: int, most: int) -> None:
    """Prefetch `count` blocks of MLEN keys or values, `parts` tiles each, from byte `offset` on; both are kept."""
    with b.registers(2) as (source, end), b.register(first_tile) as to:
        b.set(source, offset)
        b.set(end, to)
        b.advance_times(end, count, parts * machine.tile)
        with b.loop_until(most, to, end):
            for _ in range(parts):
                b.emit("H_PREFETCH_M", to, source, address_register, 1, KV)
                b.advance(source, machine.mlen)
                b.advance(to, machine.tile)
            b.advance(source, machine.mlen * (columns - parts))


def point_at_mask(b: Builder, machine: Machine, mask: int, scratch: int, causal: bool, masked: Register,
                  registers: tuple[Register, Register]) -> None:
    """Set address and step of the mask: `mask` where `masked` is 1, else the row of zeros behind `scratch`."""
    address, step = registers
    none = scratch + machine.mlen
    b.set(address, none)
    b.advance_times(address, masked, mask - none)
    b.set(step, 0)
    if causal:
        b.advance_times(step, masked, machine.mlen)
