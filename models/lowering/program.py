"""A placed graph as a program: each operator goes to the lowering of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from plena_emu.models import graph as ir
from plena_emu.models.builder import Builder, Program
from plena_emu.models.constants import Constants
from plena_emu.models.machine import Activation, Machine, ceil_div, round_up
from plena_emu.models.passes.place import Placement

from .attention import Attention, Steps, attention
from .copies import copy_rows, pixel_shuffle
from .elementwise import add, add_bias, swiglu
from .gelu import gelu
from .key_chunks import KeyChunks
from .kv_store import store_rows
from .layer_norm import layer_norm
from .linear import TileRun, linear, plain_runs
from .online_attention import OnlineAttention, online_attention
from .online_packed import OnlinePacked, online_packed
from .packed_attention import PackedAttention, packed_attention
from .packed_head_norm import packed_head_norm
from .rms_norm import rms_norm
from .rope import RopeOrder, RopeTables, rope_by_halves, rope_by_product
from .score_rows import ScoreRows

_MANY_PARTS = 4  # of a head, from which on they share a loop: fewer words, some cycles more a tile column


def lower(
    graph: ir.Graph, placement: Placement, machine: Machine, overlap: bool = False
) -> tuple[Program, Constants]:
    """Write the program of a placed graph; with `overlap` weights are loaded ahead (`passes.overlap`).

    Returns
    -------
    tuple of Program and Constants
        The words with their stages, and what they load from the fp SRAM.
    """
    lowering = Lowering(placement, machine, overlap)
    for operator in graph.operators:
        with lowering.b.stage(operator.stage, operator.layer):
            _BY_KIND[type(operator)](lowering, operator)
    return lowering.b.finish(), lowering.constants


class Lowering:
    """The builder and where things lie; one method an operator kind."""

    def __init__(self, placement: Placement, machine: Machine, overlap: bool = False):
        self.machine = machine
        self.overlap = overlap
        self.b = Builder(machine.max_loop_instructions)
        self.constants = Constants()
        self.buffers: dict[Any, Activation] = placement.activations  # names may be None: those of absent weights
        self.tensors = placement.tensors

    @property
    def scratch(self):
        """Address of two rows that any operator may use."""
        return self.buffers["scratch"].address

    @property
    def partial(self):
        """Address of rows for partial sums, as many as an activation has."""
        return self.buffers["partial"].address

    def norm(self, op: ir.Norm):
        x, out, weight = self.buffers[op.x], self.buffers[op.out], self.buffers.get(op.weight)
        if op.centred:
            layer_norm(self.b, self.constants, x, out, rows=op.rows, width=op.width, epsilon=op.epsilon,
                       scratch=self.scratch, columns=self.buffers.get(op.columns), weight=weight,
                       bias=self.buffers.get(op.bias))
        else:
            rms_norm(self.b, self.constants, x, out, rows=op.rows, width=op.width, epsilon=op.epsilon,
                     scratch=self.scratch, weight=weight)

    def linear(self, op: ir.Linear):
        machine, out = self.machine, self.buffers[op.out]
        x = self.buffers[op.x]
        x = Activation(x.at(0, op.first_row), x.rows, x.columns, x.vlen)
        runs = (plain_runs(machine, op.columns, out) if op.span is None
                else head_runs(machine, op.span, op.part_columns, op.columns, out))
        stride = op.span.rows.token_step if op.span else 1
        linear(self.b, machine, x, self.tensors[op.weight], runs, groups=op.groups,
               partial=self.partial, stride=stride, overlap=self.overlap)
        if op.bias is not None:
            self.bias(op, out, self.buffers[op.bias])

    def bias(self, op, out, bias):
        vlen = self.machine.mlen
        if op.span is None:
            add_bias(self.b, out.address, bias.address, blocks=out.blocks, rows=op.rows, row_step=vlen,
                     block_step=out.block_step, bias_step=vlen)
            return
        rows = op.span.rows
        for part in range(rows.parts):
            add_bias(self.b, out.at(part, rows.row(op.span.first)), bias.at(part), blocks=op.span.count, rows=op.rows,
                     row_step=rows.token_step * vlen, block_step=rows.head_step * vlen, bias_step=rows.parts * vlen)

    def head_norm(self, op: ir.HeadNorm):
        rows, buffer = op.span.rows, self.buffers[op.span.rows.buffer]
        weight = self.buffers[op.weight]
        # Rows of a span follow one another; token by token where tokens come first.
        starts = range(op.tokens) if rows.token_major else (0,)
        count = op.span.count if rows.token_major else op.span.count * rows.tokens
        for token in starts:
            x = Activation(buffer.at(0, rows.row(op.span.first, token)), buffer.rows, buffer.columns, buffer.vlen)
            if op.sections:
                packed_head_norm(self.b, self.constants, x, self.buffers[op.sections], weight, rows=count,
                                 slots=op.slots, width=op.width, epsilon=op.epsilon, scratch=self.scratch)
            else:
                rms_norm(self.b, self.constants, x, x, rows=count, width=op.width, epsilon=op.epsilon,
                         scratch=self.scratch, weight=weight)

    def rope(self, op: ir.Rope):
        x = self.buffers[op.heads.buffer]
        tables = RopeTables(self.buffers["COS"], self.buffers["SIN"])
        rows = op.heads
        order = RopeOrder(heads=rows.heads, tokens=op.tokens, sequences=op.sequences, head_step=rows.head_step,
                          token_step=rows.token_step, single=rows.token_major)
        if op.rotation is None:
            rope_by_halves(self.b, x, tables, order, scratch=self.scratch)
        else:
            rope_by_product(self.b, self.machine, x, self.buffers[op.rotated], self.tensors[op.rotation], tables, order,
                            partial=self.partial, half=op.half)

    def store(self, op: ir.StoreRows):
        vlen, rows = self.machine.mlen, op.span.rows
        buffer = self.buffers[rows.buffer]
        for part in range(rows.parts):
            store_rows(self.b, self.machine, self.tensors[op.cache], source=buffer.at(part, rows.row(op.span.first)),
                       sequences=op.sequences, sequence_step=op.sequence_rows * rows.token_step * vlen,
                       blocks=op.span.count, block_step=rows.head_step * vlen, column=part * vlen,
                       column_step=rows.parts * vlen, rows=op.tokens, first_row=op.first_row,
                       rows_per_sequence=op.rows_per_sequence)

    def attend(self, op: ir.Attend):
        packed = op.slots > 1
        write: Callable[..., None]
        if op.chunk:
            write, shape = (online_packed, self.online_packed) if packed else (online_attention, self.online)
        else:
            write, shape = (packed_attention, self.packed) if packed else (attention, self.unpacked)
        write(self.b, self.machine, self.constants, shape(op), op.layer)

    def online_packed(self, op):
        """Attention of heads that share rows, chunk by chunk."""
        packed = msgspec.structs.replace(self.packed(op), partial=self.buffers[op.products].address)
        return OnlinePacked(packed=packed, chunks=key_chunks(op, self.machine),
                            rows=1 if op.q.token_major else self.machine.mlen, state=self.buffers[op.state].address,
                            sums=self.buffers[op.sums].address)

    def online(self, op):
        """Attention of heads with column blocks of their own, chunk by chunk."""
        machine, whole = self.machine, self.unpacked(op)
        decode = op.q.token_major
        return OnlineAttention(
            sequences=op.sequences, kv_heads=op.kv_heads, heads=whole.heads // op.shares, shares=op.shares,
            parts=whole.parts, head_dim=op.head_dim,
            rows=whole.shape.rows if decode else machine.mlen, live=whole.shape.real_rows if decode else machine.mlen,
            chunks=key_chunks(op, machine), q=whole.q, out=whole.out,
            out_row=whole.out.head if decode else machine.mlen,
            out_rows=whole.shape.real_rows if decode else op.sequence_rows,
            out_group=whole.shape.real_rows if decode else machine.blen, keys=whole.keys, values=whole.values,
            rows_per_sequence=op.rows_per_sequence, scores=whole.scores, partial=self.buffers[op.products].address,
            scratch=self.scratch, state=self.buffers[op.state].address, sums=self.buffers[op.sums].address,
            mask=whole.mask)

    def packed(self, op):
        """Attention of heads that share rows."""
        vlen, rows = self.machine.mlen, op.q
        q, out = self.buffers[rows.buffer], self.buffers[op.out]
        return PackedAttention(
            sequences=op.sequences, sequence_rows=op.sequence_rows, tokens=op.tokens,
            key_blocks=ceil_div(op.keys, vlen), causal=op.causal, heads=op.heads, kv_heads=op.kv_heads,
            slots=op.slots, head_dim=op.head_dim, q=q.address, q_row=rows.head_step * vlen,
            q_sequence=op.sequence_rows * rows.token_step * vlen, out=out.address, out_block=out.block_step,
            out_sequence=op.sequence_rows * vlen, keys=self.tensors[op.k_cache], values=self.tensors[op.v_cache],
            rows_per_sequence=op.rows_per_sequence, scores=self.buffers[op.scores].address, scratch=self.scratch,
            partial=self.partial, mask=self.buffers[op.mask].address if op.mask else None, decode=rows.token_major)

    def unpacked(self, op):
        """Attention of heads with column blocks of their own."""
        vlen, rows, parts = self.machine.mlen, op.q, op.q.parts
        q, out = self.buffers[rows.buffer], self.buffers[op.out]
        group = op.heads // op.kv_heads
        key_blocks = ceil_div(op.keys, vlen)
        height = round_up(group, self.machine.blen) if rows.token_major else op.sequence_rows
        shape = ScoreRows(rows=height, real_rows=group if rows.token_major else op.tokens, key_blocks=key_blocks,
                          causal=op.causal, block_step=height * vlen, query_step=self.machine.tile)
        sequence = op.sequence_rows * vlen
        return Attention(
            sequences=op.sequences, kv_heads=op.kv_heads, heads=1 if rows.token_major else group, parts=parts,
            head_dim=op.head_dim, shape=shape,
            q=Steps(address=q.address, sequence=op.sequence_rows * rows.token_step * vlen,
                    kv_head=group * rows.head_step * vlen, head=rows.head_step * vlen, part=q.block_step),
            out=Steps(address=out.address, sequence=sequence, kv_head=group * parts * out.block_step,
                      head=parts * out.block_step, part=out.block_step),
            stride=parts * out.rows if rows.token_major else 1, keys=self.tensors[op.k_cache],
            values=self.tensors[op.v_cache], rows_per_sequence=op.rows_per_sequence,
            scores=self.buffers[op.scores].address, scratch=self.scratch, partial=self.partial,
            mask=self.buffers[op.mask].address if op.mask else None)

    def add(self, op: ir.Add):
        add(self.b, self.buffers[op.x], self.buffers[op.y], rows=op.rows)

    def swiglu(self, op: ir.SwiGlu):
        swiglu(self.b, self.constants, self.buffers[op.gate], self.buffers[op.up], rows=op.rows, scratch=self.scratch)

    def gelu(self, op: ir.Gelu):
        gelu(self.b, self.constants, self.buffers[op.x], rows=op.rows, scratch=self.scratch)

    def copy_rows(self, op: ir.CopyRows):
        copy_rows(self.b, self.buffers[op.x], self.buffers[op.out], first_row=op.first_row, step=op.step,
                  count=op.count)

    def shuffle(self, op: ir.Shuffle):
        pixel_shuffle(self.b, self.buffers[op.x], self.buffers[op.out], side=op.side, scale=op.scale)


def key_chunks(op: ir.Attend, machine: Machine) -> KeyChunks:
    """Count the blocks of an online attention.

    Returns
    -------
    KeyChunks
    """
    queries = 1 if op.q.token_major else ceil_div(op.sequence_rows, machine.mlen)
    return KeyChunks(query_blocks=queries, key_blocks=ceil_div(op.keys, machine.mlen), chunk=op.chunk or 1,
                     causal=op.causal)


def head_runs(machine: Machine, span: ir.HeadSpan, part_columns: tuple[int, ...], total: int,
              out: Activation) -> list[TileRun]:
    """List the runs of a weight whose result are rows of heads: one a part of the heads, and a ragged last row.

    Many equal parts, heads far wider than a tile, are one run, so that the program does not grow with them.
    `part_columns` are the columns of each part of a head, `total` those of all heads.

    Returns
    -------
    list of TileRun
    """
    rows, vlen = span.rows, machine.mlen
    runs = []
    for part, columns in enumerate(part_columns):
        last = total - (span.count - 1) * vlen if rows.parts == 1 else columns
        whole = span.count if last >= columns else span.count - 1
        for count, first, held in ((whole, 0, columns), (span.count - whole, whole, last)):
            if count:
                runs.append(TileRun(
                    count=count, column=(first * rows.parts + part) * vlen, column_step=rows.parts * vlen,
                    blocks=machine.blocks_of(held), out=out.at(part, rows.row(span.first + first)),
                    out_step=rows.head_step * vlen))
    equal = sum(run.blocks == runs[0].blocks for run in runs)
    if rows.parts < _MANY_PARTS or equal < _MANY_PARTS:
        return runs
    joined = msgspec.structs.replace(runs[0], parts=equal, part_column=vlen, part_out=out.block_step)
    return [joined, *runs[equal:]]


_BY_KIND: dict[type, Callable[[Lowering, Any], None]] = {
    ir.Norm: Lowering.norm, ir.Linear: Lowering.linear, ir.HeadNorm: Lowering.head_norm, ir.Rope: Lowering.rope,
    ir.StoreRows: Lowering.store, ir.Attend: Lowering.attend, ir.Add: Lowering.add, ir.SwiGlu: Lowering.swiglu,
    ir.Gelu: Lowering.gelu, ir.CopyRows: Lowering.copy_rows, ir.Shuffle: Lowering.shuffle,
}
