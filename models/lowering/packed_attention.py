"""attn.scores, attn.softmax and attn.values of heads that share rows, by broadcast products (spec §1.4, §9.4).

A key tile holds the keys of `slots` KV heads side by side; a query row holds `slots` query heads. M_BTMM multiplies
every head of a query row with one KV head, so a unit is a *pair* of a KV head and a query row that has heads of its
group. Units of one column of key tiles share its loads.
"""

from __future__ import annotations

import msgspec

from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.machine import HbmTensor, Machine, ceil_div

from .score_rows import ScoreRows
from .scores import KEYS, VALUES, load_blocks
from .softmax import softmax_rows
from .values import ValueColumns, add_partial_rows, value_rows


class PackedAttention(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an attention of packed heads.

    Addresses and steps count elements: `q` is the first query row, `q_row` leads to the next row of heads of the token,
    `q_sequence` to the next sequence; `out`, `out_block` and `out_sequence` likewise for the result, whose heads lie
    side by side. `scores` has room for all pairs of a column of key tiles, `scratch` for one row, `partial` for the
    rows of a sequence.
    """

    sequences: int
    sequence_rows: int
    tokens: int
    key_blocks: int
    causal: bool
    heads: int
    kv_heads: int
    slots: int
    head_dim: int
    q: int
    q_row: int
    q_sequence: int
    out: int
    out_block: int
    out_sequence: int
    keys: HbmTensor
    values: HbmTensor
    rows_per_sequence: int
    scores: int
    scratch: int
    partial: int
    mask: int | None
    decode: bool

    @property
    def group(self) -> int:
        """Query heads of a KV head."""
        return self.heads // self.kv_heads


class Pair(msgspec.Struct, frozen=True):
    """A KV head and a query row, counted within a column, and the row's slots that belong to the KV head."""

    kv_head: int
    row: int
    first_slot: int
    count: int


def pairs_of(kv_heads: int, group: int, slots: int) -> list[Pair]:
    """List the pairs of a column of `kv_heads` KV heads.

    Returns
    -------
    list of Pair
    """
    pairs = []
    for kv_head in range(kv_heads):
        head, end = kv_head * group, (kv_head + 1) * group
        while head < end:
            row, slot = divmod(head, slots)
            count = min(slots - slot, end - head)
            pairs.append(Pair(kv_head, row, slot, count))
            head += count
    return pairs


def pair_rows(machine: Machine, sequence_rows: int, key_blocks: int, slots: int, decode: bool) -> int:
    """Count the score rows of a pair.

    Returns
    -------
    int
    """
    queries = 1 if decode else machine.mlen * ceil_div(sequence_rows, machine.mlen)
    return queries * key_blocks * slots


def packed_attention(b: Builder, machine: Machine, constants: Constants, a: PackedAttention, layer: int | None) -> None:
    """Write the attention of all sequences and heads."""
    whole, rest = divmod(a.kv_heads, a.slots)
    with b.stage("attn.scores", layer):
        b.set_transfer(KEYS, a.keys.address, a.keys.scale, a.keys.columns)
        b.set_address(VALUES, a.values.address)
        with b.register(a.q) as q, b.register(a.out) as out, b.register(0) as offset, b.loop(a.sequences):
            for columns, kv_heads in ((whole, a.slots), (1, rest)):
                if columns and kv_heads:
                    with b.loop(columns):
                        _column(b, machine, constants, a, layer, kv_heads, q, out, offset)
                        b.advance(q, a.group * a.q_row)
                        b.advance(out, a.group * a.out_block)
                        b.advance(offset, machine.mlen)
            done = whole + (rest > 0)
            b.advance(q, a.q_sequence - done * a.group * a.q_row)
            b.advance(out, a.out_sequence - done * a.group * a.out_block)
            b.advance(offset, a.rows_per_sequence * a.keys.columns - done * machine.mlen)


def _column(b, machine, constants, a, layer, kv_heads, q, out, offset):
    """All pairs of one column of key tiles; the matrix SRAM holds a chunk of its key or value blocks at a time."""
    pairs = pairs_of(kv_heads, a.group, a.slots)
    step = pair_rows(machine, a.sequence_rows, a.key_blocks, a.slots, a.decode) * machine.mlen
    chunks = _shape(machine, a).chunks(machine.tiles)
    with b.spilled(q, offset):
        for first, moved, count in _each_chunk(b, machine, a, chunks, a.keys, KEYS, offset):
            for number, pair in enumerate(pairs):
                with b.spilled(q, moved), b.register() as scores:
                    b.advance(scores, a.scores + number * step, moved)
                    (_score_vectors if a.decode else _score_matrices)(b, machine, a, pair, q, scores, first, count)
    with b.spilled(), b.stage("attn.softmax", layer):
        for number, pair in enumerate(pairs):
            _softmax(b, machine, constants, a, pair, a.scores + number * step)
    with b.spilled(out, offset), b.stage("attn.values", layer):
        for first, moved, count in _each_chunk(b, machine, a, chunks, a.values, VALUES, offset):
            for number, pair in enumerate(pairs):
                with b.spilled(out, moved), b.register() as scores:
                    b.advance(scores, a.scores + number * step, moved)
                    _values(b, machine, a, pair, scores, out, first, count)


def _each_chunk(b, machine, a, chunks, cache, address_register, offset):
    """Load chunk by chunk; yields first key block, a register with its distance in a pair's scores, and the count."""
    with b.registers(2) as (source, moved):
        b.set(source, offset)
        b.set(moved, 0)
        for times, first, count in chunks:
            with b.loop(times):
                load_blocks(b, machine, cache, address_register, source, 1, count)
                yield first, moved, count
                if len(chunks) > 1:
                    b.advance(source, count * machine.mlen * cache.columns)
                    b.advance(moved, count * _shape(machine, a).block_step)


def _shape(machine, a):
    """How the scores of one slot lie: a write-out puts the slots one after the other, MLEN rows each or one."""
    if a.decode:
        return ScoreRows(rows=1, real_rows=1, key_blocks=a.key_blocks, causal=False,
                         block_step=a.slots * machine.mlen, query_step=0)
    block = a.slots * machine.tile
    return ScoreRows(rows=a.sequence_rows, real_rows=a.tokens, key_blocks=a.key_blocks, causal=a.causal,
                     block_step=block, query_step=a.key_blocks * block)


def _score_matrices(b, machine, a, pair, q, scores, first, count):
    """M_BTMM for every block of MLEN queries and each key block of the chunk that it may see.

    `scores` stands at the chunk's first key block; it moves.
    """
    shape = _shape(machine, a)
    queries = ceil_div(a.sequence_rows, machine.mlen)
    skipped = first if a.causal else 0  # query blocks that see nothing of the chunk
    inside = min(count, queries - skipped) if a.causal and count > 1 else 0
    with b.registers(3) as (row, tile, to):
        b.advance(row, pair.row * a.q_row + skipped * machine.tile, q)
        b.advance(scores, skipped * shape.query_step)

        def one():
            b.emit("M_BTMM", 0, tile, row)
            b.emit("M_BMM_WO", to, 0)
            b.advance(tile, machine.tile)
            b.advance(to, shape.block_step)

        with b.register(count - 1) as missing:
            for times, growing in ((inside, True), (queries - skipped - inside, False)):
                if not times:
                    continue
                with b.loop(times):
                    b.set(tile, pair.kv_head * machine.hlen)
                    b.set(to, scores)
                    if growing:
                        with b.register() as left:
                            b.set(left, missing)
                            with b.loop_short_of(count, left):
                                one()
                        b.advance(missing, -1)
                    else:
                        with b.loop(count):
                            one()
                    b.advance(row, machine.tile)
                    b.advance(scores, shape.query_step)


def _score_vectors(b, machine, a, pair, q, scores, first, count):
    """M_BTMV of the one query row for every key block of the chunk."""
    with b.register() as row, b.register(pair.kv_head * machine.hlen) as tile:
        b.advance(row, pair.row * a.q_row, q)
        with b.loop(count):
            b.emit("M_BTMV", 0, tile, row)
            b.emit("M_BMV_WO", scores, 0)
            b.advance(tile, machine.tile)
            b.advance(scores, a.slots * machine.mlen)


def _softmax(b, machine, constants, a, pair, scores):
    """Softmax of the slots of a pair: in a decode step they are neighbouring rows."""
    shape = _shape(machine, a)
    if a.decode:
        neighbours = msgspec.structs.replace(shape, rows=a.slots, real_rows=pair.count)
        with b.register(scores + pair.first_slot * machine.mlen) as row:
            softmax_rows(b, machine, constants, neighbours, row, mask=a.mask, scratch=a.scratch)
        return
    with b.register(scores + pair.first_slot * machine.tile) as row, b.loop(pair.count):
        softmax_rows(b, machine, constants, shape, row, mask=a.mask, scratch=a.scratch)
        b.advance(row, machine.tile)


def _values(b, machine, a, pair, scores, out, first, count):
    """Results of a pair's heads, each to its place; those of later chunks are added lane by lane."""
    write = _value_vector if a.decode else _value_matrix
    slot_step = machine.mlen if a.decode else machine.tile
    with b.registers(2) as (row, to):
        b.advance(row, pair.first_slot * slot_step, scores)
        b.advance(to, pair.row * a.out_block + pair.first_slot * machine.hlen, out)
        if first == 0:
            with b.loop(pair.count), b.spilled(row, to):
                write(b, machine, a, pair, row, to, first, count)
                b.advance(row, slot_step)
                b.advance(to, machine.hlen)
            return
        b.advance(to, pair.row * a.out_block, out)  # the start of the row: the sum takes whole rows
        for slot in range(pair.first_slot, pair.first_slot + pair.count):
            with b.spilled(row, to):
                with b.register(a.partial + slot * machine.hlen) as partial:
                    write(b, machine, a, pair, row, partial, first, count)
                add_partial_rows(b, machine, _shape(machine, a), a.partial, to, stride=1, first=first, lanes=1 << slot)
            b.advance(row, slot_step)


def _value_matrix(b, machine, a, pair, row, to, first, count):
    """M_MM of a slot's probabilities with the columns of its KV head."""
    columns = ValueColumns(tile=pair.kv_head * machine.hlen, blocks=machine.blocks_of(a.head_dim),
                           tile_step=machine.tile)
    value_rows(b, machine, _shape(machine, a), columns, row, to, stride=1, first=first, count=count)


def _value_vector(b, machine, a, pair, row, to, first, count):
    """M_MV of a slot's one row of probabilities."""
    block = a.slots * machine.mlen
    with b.register(pair.kv_head * machine.hlen) as tile, b.register() as part:
        for number in range(machine.blocks_of(a.head_dim)):
            b.set(part, row)
            with b.loop(count):
                b.emit("M_MV", 0, tile, part)
                b.advance(tile, machine.tile)
                b.advance(part, block)
            b.emit("M_MV_WO", to, number * machine.blen)
            b.advance(tile, machine.blen - count * machine.tile)
