"""Online softmax over chunks of keys for heads that share rows, by broadcast products (spec §1.4, §9.2, §9.4).

As `online_attention`, with one index more: the pair of a KV head and a query row that has heads of its group. What
belongs to a pair is read from a table in the int SRAM. The heads of a row share the rows of their value sums, which
vector masks keep apart.
"""

from __future__ import annotations

import msgspec

from plena_emu.errors import EmuError
from plena_emu.models.builder import Builder, Digit, Register, every_index
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Machine, ceil_div

from .key_chunks import KeyChunks, load_chunk, point_at_mask, query_row, visible_blocks, zero_row
from .online_softmax import STATE_ROWS, load_reciprocal, start_rows, update_rows
from .packed_attention import PackedAttention, pairs_of
from .product import Product, multiply
from .scores import KEYS, VALUES

_TABLE = 512  # int SRAM address; spilled registers wait below it
_MOST_PAIRS = 64
# Fields of a pair: its KV head's columns in a tile; distances of its first query, state and sum row; and of its first
# slot: v_mask, distance in the scores, column; and the distance to the end of its slots' scores.
_TILE, _QUERY, _STATE, _SUM, _LANES, _SCORES, _COLUMN, _SLOTS = range(8)
_FIELDS = 8


class OnlinePacked(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an online attention of packed heads.

    Attributes
    ----------
    packed : PackedAttention
        Heads, queries, result and cache; its `scores` have room for slots · chunk · rows rows, its `partial` for rows.
    chunks : KeyChunks
    rows : int
        Rows of a block of queries: MLEN, or 1 in a decode step.
    state, sums : int
        Element addresses: of 2 rows a query row of all slots, and of a row a query row of all rows of heads.
    """

    packed: PackedAttention
    chunks: KeyChunks
    rows: int
    state: int
    sums: int

    @property
    def head_rows(self) -> int:
        """Rows that a head of a sequence has in the state."""
        return self.chunks.query_blocks * self.rows

    @property
    def rows_of_heads(self) -> int:
        """Rows that a token's heads take."""
        return ceil_div(self.packed.heads, self.packed.slots)


def online_packed(b: Builder, machine: Machine, constants: Constants, a: OnlinePacked, layer: int | None) -> None:
    """Write the attention of all sequences and heads. Raises `EmuError` where a KV head has too many query heads."""
    p = a.packed
    rows = p.sequences * a.rows_of_heads * a.head_rows
    with b.stage("attn.softmax", layer):
        start_rows(b, machine, constants, state=a.state, rows=rows * p.slots, sums=a.sums, sum_rows=rows, finite=p.q)
        zero_row(b, machine, p.scratch, p.q)
    with b.stage("attn.scores", layer):
        b.set_transfer(KEYS, p.keys.address, p.keys.scale, p.keys.columns)
        b.set_address(VALUES, p.values.address)
        whole, rest = divmod(p.kv_heads, p.slots)
        for first, columns, kv_heads in ((0, whole, p.slots), (whole, 1, rest)):
            if not (columns and kv_heads):
                continue
            pairs = _write_table(b, machine, a, first, kv_heads)
            (_decode if p.decode else _prefill)(b, machine, constants, a, layer, first, columns, pairs)
    with b.stage("attn.softmax", layer):
        _finish(b, machine, a)


def _write_table(b, machine, a, first, kv_heads):
    """Write what belongs to the pairs of a column from `first` on; returns their number."""
    p = a.packed
    pairs = pairs_of(kv_heads, p.group, p.slots)
    if len(pairs) > _MOST_PAIRS:
        raise EmuError(f"attention: {len(pairs)} rows of query heads in a column of {kv_heads} KV heads, expected at"
                       f" most {_MOST_PAIRS}")
    slot_step = a.rows * machine.mlen
    with b.register() as value:
        for number, pair in enumerate(pairs):
            row = first * p.group + pair.row
            fields = {
                _TILE: pair.kv_head * machine.hlen, _QUERY: row * p.q_row,
                _STATE: (row * p.slots + pair.first_slot) * a.head_rows * STATE_ROWS * machine.mlen,
                _SUM: row * a.head_rows * machine.mlen, _LANES: 1 << pair.first_slot,
                _SCORES: pair.first_slot * slot_step, _COLUMN: pair.first_slot * machine.hlen,
                _SLOTS: (pair.first_slot + pair.count) * slot_step,
            }  # fmt: skip
            for place, field in fields.items():
                b.set(value, field)
                b.emit("S_ST_INT", value, 0, _TABLE + number * _FIELDS + place)
    return len(pairs)


class _Pair:
    """Reads the table's entry of the pair whose index is in a register."""

    def __init__(self, b, pair):
        self.b, self.pair = b, pair

    def add(self, register, field):
        """Add a field to a register."""
        with self.b.register() as value:
            self.load(value, field)
            self.b.emit("S_ADD_INT", register, register, value)

    def load(self, register, field):
        """Load a field."""
        with self.b.register(_FIELDS) as entry:
            self.b.emit("S_MUL_INT", entry, entry, self.pair)
            self.b.emit("S_LD_INT", register, entry, _TABLE + field)


def _prefill(b, machine, constants, a, layer, first, columns, pairs):
    """All steps of `columns` columns from column `first` on: a block of queries of a pair against a chunk."""
    chunks = a.chunks
    digits = Digit(a.packed.sequences), Digit(columns), Digit(chunks.count), Digit(pairs), chunks.blocks(behind=2)
    with b.register(0) as triangle, every_index(b, *digits) as index, b.spilled(*index, triangle), \
            b.registers(3) as seen:
        sequence, column, chunk, pair, block = index
        with b.register() as steps:
            b.emit("S_ADD_INT", steps, pair, block)
            visible_blocks(b, chunks, chunk, block, steps, triangle, seen)
        _load(b, machine, a, first, sequence, column, chunk, seen[2])
        with b.register() as row:
            query_row(b, chunks, a.rows, chunk, block, row)
            _pair(b, machine, constants, a, layer, pair, (sequence, column, row), seen)


def _decode(b, machine, constants, a, layer, first, columns, pairs):
    """As `_prefill`, with all pairs of a chunk in one step: they are short."""
    none = Register(0)
    digits = Digit(a.packed.sequences), Digit(columns), Digit(a.chunks.count)
    with every_index(b, *digits) as index, b.spilled(*index), b.registers(3) as seen:
        sequence, column, chunk = index
        visible_blocks(b, a.chunks, chunk, none, none, none, seen)
        _load(b, machine, a, first, sequence, column, chunk, seen[2])
        with b.register(0) as pair, b.loop(pairs):
            with b.spilled(sequence, column, pair, *seen):
                _pair(b, machine, constants, a, layer, pair, (sequence, column, none), seen)
            b.advance(pair, 1)


def _load(b, machine, a, first, sequence, column, chunk, loaded):
    """Load keys and values of a chunk."""
    p = a.packed
    with b.register(first * machine.mlen) as offset:
        b.advance_times(offset, sequence, p.rows_per_sequence * p.keys.columns)
        b.advance_times(offset, column, machine.mlen)
        b.advance_times(offset, chunk, a.chunks.chunk * machine.mlen * p.keys.columns)
        for address, tile in ((KEYS, 0), (VALUES, a.chunks.chunk * machine.tile)):
            load_chunk(b, machine, p.keys.columns, address, offset, loaded, tile, parts=1, most=a.chunks.chunk)


def _pair(b, machine, constants, a, layer, pair, index, seen):
    """One pair's scores, softmax and values; `index` is sequence, column and query row."""
    p, table = a.packed, _Pair(b, pair)
    rows = a.rows_of_heads * a.head_rows
    places = (
        (p.q, _QUERY, (p.q_sequence, p.group * p.q_row, machine.mlen)),
        (a.state, _STATE, tuple(STATE_ROWS * machine.mlen * step for step in (
            rows * p.slots, p.group * p.slots * a.head_rows, 1))),
        (a.sums, _SUM, tuple(machine.mlen * step for step in (rows, p.group * a.head_rows, 1))),
    )
    with b.registers(3) as (q, state, sums):
        for register, (base, field, steps) in zip((q, state, sums), places, strict=True):
            b.set(register, base)
            table.add(register, field)
            for count, step in zip(index, steps, strict=True):
                b.advance_times(register, count, step)
        with b.spilled(q, seen[0], pair):
            _scores(b, machine, a, table, q, seen[0])
        with b.spilled(state, sums, *seen[:2], pair):
            _slots(b, machine, constants, a, layer, table, (state, sums, *seen[:2]))


def _scores(b, machine, a, table, q, seen):
    """Scores of all slots of the row against the key blocks it sees, with the pair's KV head."""
    p = a.packed
    product, write = ("M_BTMV", "M_BMV_WO") if p.decode else ("M_BTMM", "M_BMM_WO")
    block_step = p.slots * a.rows * machine.mlen
    with b.register() as tile, b.register(p.scores) as to, b.register(p.scores) as end, b.step(block_step) as step:
        table.load(tile, _TILE)
        b.advance_times(end, seen, block_step)
        with b.loop_until(a.chunks.chunk, to, end):
            b.emit(product, 0, tile, q)
            b.emit(write, to, 0)
            b.advance(tile, machine.tile)
            b.advance(to, step)


def _slots(b, machine, constants, a, layer, table, registers):
    """Softmax and values of the slots that belong to the pair."""
    p = a.packed
    state, sums, seen, masked = registers
    slot_step = a.rows * machine.mlen
    with b.register(p.scores) as scores, b.register(p.scores) as end, b.registers(3) as (lanes, out, tile):
        table.add(scores, _SCORES)
        table.add(end, _SLOTS)
        table.load(lanes, _LANES)
        table.load(out, _COLUMN)
        b.advance(out, p.partial)
        table.load(tile, _TILE)
        b.advance(tile, a.chunks.chunk * machine.tile)
        with b.loop_until(p.slots, scores, end):
            b.emit("C_SET_V_MASK_REG", lanes)
            with b.stage("attn.softmax", layer), b.spilled(state, sums, seen, masked, scores):
                _update(b, machine, constants, a, registers, scores)
            with b.stage("attn.values", layer):
                with b.spilled(seen, scores, out, tile):
                    (_value_row if p.decode else _value_rows)(b, machine, a, seen, scores, out, tile)
                _add_partial(b, machine, a, sums)
            b.advance(state, (a.head_rows - a.rows) * STATE_ROWS * machine.mlen)
            b.advance(scores, slot_step)
            b.emit("S_ADD_INT", lanes, lanes, lanes)
            b.advance(out, machine.hlen)


def _update(b, machine, constants, a, registers, scores):
    """Bring a slot's rows up to date; `state` moves past them."""
    p = a.packed
    state, sums, seen, masked = registers
    block_step = p.slots * a.rows * machine.mlen
    with b.registers(3) as (span, mask, mask_step):
        b.set(span, 0)
        b.advance_times(span, seen, block_step)
        if p.mask is not None:
            point_at_mask(b, machine, p.mask, p.scratch, a.chunks.causal, masked, (mask, mask_step))
        with b.spilled(state, sums, scores, span, mask, mask_step):
            update_rows(b, machine, constants, rows=a.rows, most=a.chunks.chunk, block_step=block_step, scores=scores,
                        seen=span, state=state, sums=sums, parts=1, mask=None if p.mask is None else mask,
                        mask_step=mask_step, scratch=p.scratch, lanes=1)
    b.advance(sums, -a.rows * machine.mlen)


def _value_rows(b, machine, a, seen, scores, out, tile):
    """M_MM of a slot's exponentials with the columns of its KV head; `out` is kept."""
    p, chunk = a.packed, a.chunks.chunk
    product = Product(groups=a.rows // machine.blen, blocks=machine.blocks_of(p.head_dim), terms=chunk,
                      row_step=p.slots * machine.tile, tile_step=machine.tile, group_step=machine.blen * machine.mlen)
    with b.register(chunk) as missing, b.register() as to:
        b.emit("S_SUB_INT", missing, missing, seen)
        b.set(to, out)
        multiply(b, machine, product, scores, tile, to, None, missing if chunk > 1 else None)


def _value_row(b, machine, a, seen, scores, out, tile):
    """M_MV of a slot's one row of exponentials."""
    p = a.packed
    block_step = p.slots * machine.mlen
    with b.registers(3) as (part, end, place):
        b.set(end, scores)
        b.advance_times(end, seen, block_step)
        for number in range(machine.blocks_of(p.head_dim)):
            b.set(part, scores)
            b.advance(place, number * machine.blen, tile)
            with b.loop_until(a.chunks.chunk, part, end):
                b.emit("M_MV", 0, place, part)
                b.advance(place, machine.tile)
                b.advance(part, block_step)
            b.emit("M_MV_WO", out, number * machine.blen)


def _add_partial(b, machine, a, sums):
    """Add the partial rows of the slot to its lanes of the sums, which are kept."""
    with b.register(a.packed.partial) as row, b.register() as to:
        b.set(to, sums)
        with b.loop(a.rows, unroll=4):
            b.emit("V_ADD_VV", to, to, row, 1)
            b.advance(row, machine.mlen)
            b.advance(to, machine.mlen)


def _finish(b, machine, a):
    """Divide the sums by l, lanes by lanes, and write them to the result; a last row with fewer heads is its own."""
    p = a.packed
    whole, rest = divmod(p.heads, p.slots)
    for first, count, slots in ((0, whole, p.slots), (whole, 1, rest)):
        if count and slots:
            _finish_rows(b, machine, a, first, count, slots)


def _finish_rows(b, machine, a, first, count, slots):
    """`count` rows of heads from row `first` on, each with `slots` heads."""
    p = a.packed
    rows = min(machine.blen, p.sequence_rows)
    digits = Digit(p.sequences), Digit(count), Digit(p.sequence_rows // rows)
    state_step = a.head_rows * STATE_ROWS * machine.mlen
    with every_index(b, *digits) as (sequence, head, group), b.registers(3) as (state, sums, out):
        for register, base, steps in (
            (state, a.state + first * p.slots * state_step + machine.mlen,
             (a.rows_of_heads * p.slots * state_step, p.slots * state_step, rows * STATE_ROWS * machine.mlen)),
            (sums, a.sums + first * a.head_rows * machine.mlen,
             (a.rows_of_heads * a.head_rows * machine.mlen, a.head_rows * machine.mlen, rows * machine.mlen)),
            (out, p.out + first * p.out_block, (p.out_sequence, p.out_block, rows * machine.mlen)),
        ):
            b.set(register, base)
            for index, step in zip((sequence, head, group), steps, strict=True):
                b.advance_times(register, index, step)
        with b.register() as lanes, b.step(state_step) as next_slot, \
                b.step(STATE_ROWS * machine.mlen - slots * state_step) as next_row, b.loop(rows):
            for slot in range(slots):
                b.set(lanes, 1 << slot)
                b.emit("C_SET_V_MASK_REG", lanes)
                load_reciprocal(b, state)
                b.emit("V_MUL_VF", sums, sums, 2, 1)
                b.advance(state, next_slot)
            b.emit("V_ADD_VF", out, sums, 0)
            b.advance(state, next_row)
            b.advance(sums, machine.mlen)
            b.advance(out, machine.mlen)
