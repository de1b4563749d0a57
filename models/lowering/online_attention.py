"""attn.scores, attn.softmax and attn.values for any number of keys: online softmax over chunks of key blocks.

Spec §9.2, §9.4. A step is one block of query rows against one chunk of keys; the scores of a step are all that is in
the vector SRAM at a time. All steps are one loop (`builder.every_index`), so the program does not grow with tokens,
heads or sequences.
"""

from __future__ import annotations

import msgspec

from plena_emu.models.builder import Builder, Digit, every_index
from plena_emu.models.constants import Constants
from plena_emu.models.machine import HbmTensor, Machine

from .attention import Steps
from .key_chunks import KeyChunks, load_chunk, point_at_mask, query_row, visible_blocks, zero_row
from .online_softmax import STATE_ROWS, load_reciprocal, start_rows, update_rows
from .product import Product, multiply
from .scores import KEYS, VALUES


class OnlineAttention(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an attention over a stored cache whose heads have column blocks of their own.

    Attributes
    ----------
    sequences, kv_heads : int
    heads, shares : int
        Query heads that a step does one after the other, and the steps that do all of a KV head; 1 where they are the
        rows of one block (decode).
    parts, head_dim : int
        Column blocks of a head, and its elements.
    rows, live : int
        Rows of a block of queries, whole groups of BLEN, and how many of them take part in the softmax.
    chunks : KeyChunks
    q, out : Steps
        The rows of a block follow one another in `q`.
    out_row, out_rows : int
        Elements from a result row to the next, and result rows of a head and sequence.
    out_group : int
        Result rows that are written at a time; a divisor of `out_rows`.
    keys, values : HbmTensor
    rows_per_sequence : int
        Rows of a sequence in the stored tensors.
    scores, partial, scratch, state, sums : int
        Element addresses: of chunk · rows score rows, of parts · rows rows, of two rows, and of 2 and `parts` rows a
        query row of all sequences and heads.
    mask : int or None
        Element address of what is added to the last key block that a row sees: MLEN rows, one a query of a block
        (causal), or one row for all (padding keys).
    """

    sequences: int
    kv_heads: int
    heads: int
    shares: int
    parts: int
    head_dim: int
    rows: int
    live: int
    chunks: KeyChunks
    q: Steps
    out: Steps
    out_row: int
    out_rows: int
    out_group: int
    keys: HbmTensor
    values: HbmTensor
    rows_per_sequence: int
    scores: int
    partial: int
    scratch: int
    state: int
    sums: int
    mask: int | None

    @property
    def all_heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.shares * self.heads

    @property
    def head_rows(self) -> int:
        """Rows that a head of a sequence has in state and sums."""
        return self.chunks.query_blocks * self.rows


def online_attention(b: Builder, machine: Machine, constants: Constants, a: OnlineAttention, layer: int | None) -> None:
    """Write the attention of all sequences and heads."""
    with b.stage("attn.softmax", layer):
        rows = a.sequences * a.all_heads * a.head_rows
        start_rows(b, machine, constants, state=a.state, rows=rows, sums=a.sums, sum_rows=rows * a.parts,
                   finite=a.q.address)
        zero_row(b, machine, a.scratch, a.q.address)
    with b.stage("attn.scores", layer):
        b.set_transfer(KEYS, a.keys.address, a.keys.scale, a.keys.columns)
        b.set_address(VALUES, a.values.address)
        digits = (Digit(a.sequences), Digit(a.kv_heads), Digit(a.chunks.count), Digit(a.shares),
                  a.chunks.blocks(behind=2))
        with b.register(0) as triangle, every_index(b, *digits) as index:
            _step(b, machine, constants, a, layer, index, triangle)
    with b.stage("attn.softmax", layer):
        _finish(b, machine, a)


def _step(b, machine, constants, a, layer, index, triangle):
    """One block of queries of a share of heads against one chunk.

    `index` is sequence, KV head, chunk, share and query block.

    `triangle` counts the query blocks that do not see the whole chunk; it starts at 0.
    """
    sequence, kv_head, chunk, share, block = index
    with b.spilled(*index, triangle), b.registers(3) as (seen, masked, loaded):
        with b.register() as steps:
            b.emit("S_ADD_INT", steps, share, block)
            visible_blocks(b, a.chunks, chunk, block, steps, triangle, (seen, masked, loaded))
        with b.register(0) as offset:
            b.advance_times(offset, sequence, a.rows_per_sequence * a.keys.columns)
            b.advance_times(offset, kv_head, a.parts * machine.mlen)
            b.advance_times(offset, chunk, a.chunks.chunk * machine.mlen * a.keys.columns)
            for address, tile in ((KEYS, 0), (VALUES, a.chunks.chunk * a.parts * machine.tile)):
                load_chunk(b, machine, a.keys.columns, address, offset, loaded, tile, parts=a.parts,
                           most=a.chunks.chunk)
        with b.registers(3) as (q, state, sums):
            b.set(q, a.q.address)
            b.advance_times(q, sequence, a.q.sequence)
            b.advance_times(q, kv_head, a.q.kv_head)
            b.advance_times(q, share, a.heads * a.q.head)
            with b.register() as row:
                query_row(b, a.chunks, a.rows, chunk, block, row)
                b.advance_times(q, row, machine.mlen)
                b.advance_times(row, sequence, a.all_heads * a.head_rows)
                b.advance_times(row, kv_head, a.shares * a.heads * a.head_rows)
                b.advance_times(row, share, a.heads * a.head_rows)
                for register, first, height in ((state, a.state, STATE_ROWS), (sums, a.sums, a.parts)):
                    b.set(register, first)
                    b.advance_times(register, row, height * machine.mlen)
            with b.spilled(q, state, sums, seen, masked), b.loop(a.heads):
                _head(b, machine, constants, a, layer, q, state, sums, seen, masked)
                b.advance(q, a.q.head)
                b.advance(state, (a.head_rows - a.live) * STATE_ROWS * machine.mlen)
                b.advance(sums, (a.head_rows - a.live) * a.parts * machine.mlen)


def _head(b, machine, constants, a, layer, q, state, sums, seen, masked):
    """One head of a step; `state` and `sums` move past its live rows."""
    block_step = a.rows * machine.mlen
    with b.spilled(q, seen):
        _scores(b, machine, a, q, seen, block_step)
    with b.stage("attn.softmax", layer), b.spilled(state, sums, seen, masked), b.registers(3) as (span, mask, step):
        b.set(span, 0)
        b.advance_times(span, seen, block_step)
        if a.mask is not None:
            point_at_mask(b, machine, a.mask, a.scratch, a.chunks.causal, masked, (mask, step))
        with b.register(a.scores) as scores, b.spilled(state, sums, scores, span, mask, step):
            update_rows(b, machine, constants, rows=a.live, most=a.chunks.chunk, block_step=block_step, scores=scores,
                        seen=span, state=state, sums=sums, parts=a.parts, mask=None if a.mask is None else mask,
                        mask_step=step, scratch=a.scratch)
    with b.stage("attn.values", layer):
        with b.spilled(seen):
            _partial_values(b, machine, a, seen)
        _add_partial(b, machine, a, sums)


def _scores(b, machine, a, q, seen, block_step):
    """Scores of a head's query block against the key blocks it sees."""
    product = Product(groups=a.rows // machine.blen, blocks=machine.blocks, terms=a.parts, row_step=a.q.part,
                      tile_step=machine.tile, group_step=machine.blen * machine.mlen, transposed=True)
    with b.registers(3) as (to, end, tile):
        b.set(to, a.scores)
        b.set(tile, 0)
        b.set(end, to)
        b.advance_times(end, seen, block_step)
        with b.loop_until(a.chunks.chunk, to, end):
            multiply(b, machine, product, q, tile, to)
            b.advance(tile, a.parts * machine.tile)


def _partial_values(b, machine, a, seen):
    """Products of a step's exponentials with the chunk's values, one part of the head after the other."""
    with b.register(a.chunks.chunk) as missing, b.register(a.scores) as scores, b.register(a.partial) as out:
        b.emit("S_SUB_INT", missing, missing, seen)
        for part in range(a.parts):
            columns = min(machine.mlen, a.head_dim - part * machine.mlen)
            product = Product(groups=a.rows // machine.blen, blocks=machine.blocks_of(columns), terms=a.chunks.chunk,
                              row_step=a.rows * machine.mlen, tile_step=a.parts * machine.tile,
                              group_step=machine.blen * machine.mlen)
            with b.register((a.chunks.chunk * a.parts + part) * machine.tile) as tile:
                multiply(b, machine, product, scores, tile, out, None, missing if a.chunks.chunk > 1 else None)


def _add_partial(b, machine, a, sums):
    """Add the partial rows to the sums, before which `sums` has just passed; it is kept."""
    with b.registers(2) as (to, row):
        b.advance(to, -a.live * a.parts * machine.mlen, sums)
        b.set(row, a.partial)
        for part in range(a.parts):
            with b.loop(a.live, unroll=4):
                b.emit("V_ADD_VV", to, to, row)
                b.advance(row, machine.mlen)
                b.advance(to, a.parts * machine.mlen)
            b.advance(row, (a.rows - a.live) * machine.mlen)
            b.advance(to, (1 - a.live * a.parts) * machine.mlen if part < a.parts - 1 else 0)


def _finish(b, machine, a):
    """Divide the sums by l, each row to its place in the result."""
    rows = a.out_group
    digits = Digit(a.sequences), Digit(a.all_heads), Digit(a.out_rows // rows)
    with every_index(b, *digits) as (sequence, head, group), b.registers(3) as (state, sums, out):
        for register, first, height in ((state, a.state + machine.mlen, STATE_ROWS), (sums, a.sums, a.parts)):
            b.set(register, first)
            b.advance_times(register, sequence, a.all_heads * a.head_rows * height * machine.mlen)
            b.advance_times(register, head, a.head_rows * height * machine.mlen)
            b.advance_times(register, group, rows * height * machine.mlen)
        b.set(out, a.out.address)
        b.advance_times(out, sequence, a.out.sequence)
        b.advance_times(out, head, a.out.kv_head // (a.shares * a.heads))
        b.advance_times(out, group, rows * a.out_row)
        steps = b.step(a.out_row - a.parts * a.out.part), b.step(a.out.part)
        with steps[0] as next_row, steps[1] as next_part, b.loop(rows):
            load_reciprocal(b, state)
            b.advance(state, STATE_ROWS * machine.mlen)
            for _ in range(a.parts):
                b.emit("V_MUL_VF", out, sums, 2)
                b.advance(sums, machine.mlen)
                b.advance(out, next_part)
            b.advance(out, next_row)
