"""attn.scores, attn.softmax and attn.values of heads that fill whole column blocks (spec §9.2, §9.4).

A unit is one KV head of one sequence: its keys are loaded once for the scores of all its query heads, its values once
for all their results.
"""

from __future__ import annotations

import msgspec

from plena_emu.models.builder import Builder, Register
from plena_emu.models.constants import Constants
from plena_emu.models.machine import HbmTensor, Machine

from .score_rows import ScoreRows
from .scores import KEYS, VALUES, load_blocks, score_blocks
from .softmax import softmax_rows
from .values import ValueColumns, add_partial_rows, value_rows


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """Element address of the first row, and the distances to the next sequence, KV head, query head and head part."""

    address: int
    sequence: int
    kv_head: int
    head: int
    part: int


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an attention over a stored cache.

    Attributes
    ----------
    sequences, kv_heads : int
    heads : int
        Query heads of a unit that are done one after the other; 1 where they are the rows of one matrix (decode).
    parts, head_dim : int
        Column blocks of a head, and its elements.
    shape : ScoreRows
        Of one query head; in decode the rows are the query heads.
    q, out : Steps
    stride : int
        Distance of result rows in SRAM rows.
    keys, values : HbmTensor
    rows_per_sequence : int
        Rows of a sequence in the stored tensors.
    scores, scratch, partial : int
        Element addresses: of heads · key_blocks · rows score rows, of one row, and of `rows` rows.
    mask : int or None
        As for `softmax_rows`.
    """

    sequences: int
    kv_heads: int
    heads: int
    parts: int
    head_dim: int
    shape: ScoreRows
    q: Steps
    out: Steps
    stride: int
    keys: HbmTensor
    values: HbmTensor
    rows_per_sequence: int
    scores: int
    scratch: int
    partial: int
    mask: int | None


def attention(b: Builder, machine: Machine, constants: Constants, a: Attention, layer: int | None) -> None:
    """Write the attention of all sequences and heads."""
    with b.stage("attn.scores", layer):
        b.set_transfer(KEYS, a.keys.address, a.keys.scale, a.keys.columns)
        b.set_address(VALUES, a.values.address)
        registers = b.register(a.q.address), b.register(a.out.address), b.register(0)
        with registers[0] as q, registers[1] as out, registers[2] as offset, b.loop(a.sequences):
            with b.loop(a.kv_heads):
                _unit(b, machine, constants, a, layer, q, out, offset)
                b.advance(q, a.q.kv_head)
                b.advance(out, a.out.kv_head)
                b.advance(offset, a.parts * machine.mlen)
            b.advance(q, a.q.sequence - a.kv_heads * a.q.kv_head)
            b.advance(out, a.out.sequence - a.kv_heads * a.out.kv_head)
            b.advance(offset, a.rows_per_sequence * a.keys.columns - a.kv_heads * a.parts * machine.mlen)


def _unit(b, machine, constants, a, layer, q, out, offset):
    """One KV head of one sequence; the matrix SRAM holds a chunk of its key or value blocks at a time."""
    head_step = a.shape.key_blocks * a.shape.block_step
    chunks = a.shape.chunks(machine.tiles // a.parts)
    with b.spilled(q, offset):
        for first, count in _each_chunk(b, machine, a, chunks, a.keys, KEYS, offset):
            with b.registers(2) as (row, scores):
                b.set(row, q)
                b.set(scores, first.scores)
                with b.loop(a.heads):
                    with b.spilled(row, scores):
                        score_blocks(b, machine, a.shape, row, scores, parts=a.parts, part_step=a.q.part,
                                     first=first.block, count=count)
                    b.advance(row, a.q.head)
                    b.advance(scores, head_step)
    with b.spilled(), b.stage("attn.softmax", layer), b.register(a.scores) as scores, b.loop(a.heads):
        softmax_rows(b, machine, constants, a.shape, scores, mask=a.mask, scratch=a.scratch)
        b.advance(scores, head_step)
    with b.stage("attn.values", layer), b.spilled(out, offset):
        for first, count in _each_chunk(b, machine, a, chunks, a.values, VALUES, offset):
            with b.registers(2) as (to, scores):
                b.set(scores, first.scores)
                b.set(to, out)
                with b.loop(a.heads):
                    _values_of_head(b, machine, a, scores, to, first.block, count)
                    b.advance(scores, head_step)
                    b.advance(to, a.out.head - (a.parts - 1) * a.out.part)


class _Chunk(msgspec.Struct, frozen=True):
    """The first key block of a chunk, and the register with its first score row."""

    block: int
    scores: Register


def _each_chunk(b, machine, a, chunks, cache, address_register, offset):
    """Load chunk by chunk; yields each chunk and its number of blocks, inside the loop that repeats it."""
    with b.registers(2) as (source, scores):
        b.set(source, offset)
        b.set(scores, a.scores)
        for times, first, count in chunks:
            with b.loop(times):
                load_blocks(b, machine, cache, address_register, source, a.parts, count)
                yield _Chunk(first, scores), count
                if len(chunks) > 1:
                    b.advance(source, count * machine.mlen * cache.columns)
                    b.advance(scores, count * a.shape.block_step)


def _values_of_head(b, machine, a, scores, to, first, count):
    """All parts of one head's result; `to` ends at the last part."""
    for part in range(a.parts):
        columns = min(machine.mlen, a.head_dim - part * machine.mlen)
        place = ValueColumns(tile=part * machine.tile, blocks=machine.blocks_of(columns),
                             tile_step=a.parts * machine.tile)
        with b.spilled(scores, to):
            if first == 0:
                value_rows(b, machine, a.shape, place, scores, to, stride=a.stride, first=0, count=count)
            else:
                with b.register(a.partial) as partial:
                    value_rows(b, machine, a.shape, place, scores, partial, stride=1, first=first, count=count)
                add_partial_rows(b, machine, a.shape, a.partial, to, stride=a.stride, first=first)
        if part < a.parts - 1:
            b.advance(to, a.out.part)
