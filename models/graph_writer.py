"""What text and vision graphs have in common: naming buffers and tensors, and the attention block."""

from __future__ import annotations

from typing import Any

import msgspec

from . import graph as ir
from .head_plan import HeadPlan
from .lowering.online_softmax import STATE_ROWS
from .lowering.packed_attention import pair_rows, pairs_of
from .machine import Machine, round_up
from .row_shape import RowShape


class Attending(msgspec.Struct, frozen=True, kw_only=True):
    """The attention of a model: numbers of heads, which keys a token sees, and the `prefix` of tensor names.

    `mask` names the preload that is added to a row's last key block, or is None.
    """

    heads: int
    kv_heads: int
    causal: bool
    mask: str | None
    prefix: str = ""


class GraphWriter:
    """Collects a graph.

    Parameters
    ----------
    machine : Machine
    shape : RowShape
        Rows of the activations.
    plan : HeadPlan
    chunk : int or None
        Key blocks of an online softmax; None: the scores of all key blocks are in the vector SRAM at once.
    """

    def __init__(self, machine: Machine, shape: RowShape, plan: HeadPlan, chunk: int | None = None):
        self.machine, self.shape, self.plan, self.chunk = machine, shape, plan, chunk
        self.graph = ir.Graph(operators=[], buffers={}, tensors={}, preloads=[], kept=[])

    def buffer(self, name: str, rows: int, columns: int, alone: bool = False) -> str:
        """Declare a buffer; returns its name."""
        self.graph.buffers[name] = ir.Buffer(
            name=name, rows=rows, blocks=self.machine.tiles_of(columns), columns=columns, alone=alone)
        return name

    def preload(self, name: str, rows: int, columns: int) -> str:
        """Declare a buffer that `vram_preload.bin` fills; returns its name."""
        self.buffer(name, rows, columns, alone=True)
        self.graph.preloads.append(name)
        return name

    def tensor(self, name: str, rows: int, columns: int, kind: str = "weight") -> str:
        """Declare an HBM tensor, padded to tiles; returns its name."""
        mlen = self.machine.mlen
        self.graph.tensors[name] = ir.Tensor(name=name, rows=round_up(rows, mlen), columns=round_up(columns, mlen),
                                             kind=kind)
        return name

    def add(self, operator: ir.Operator) -> None:
        """Append an operator."""
        self.graph.operators.append(operator)

    def dense(self, stage: str, layer: int | None, x: str, weight: str, out: str, columns: int, bias: str | None = None,
              **more) -> None:
        """Append a linear over all rows."""
        self.add(ir.Linear(stage=stage, layer=layer, x=x, weight=weight, out=out, groups=self.shape.groups,
                           rows=self.shape.used, columns=columns, bias=bias, **more))

    def working_rows(self, columns: int, group: int) -> None:
        """Declare what every graph needs: results of linears that are added to X, scratch rows, partial sums.

        `group` is the query heads of a KV head, which are rows in a decode step.
        """
        self.buffer("projected", self.shape.rows, columns, alone=True)  # its padding is added to that of X
        self.buffer("scratch", 2, self.machine.mlen, alone=True)
        self.buffer("partial", max(self.shape.rows, round_up(group, self.machine.blen)), self.machine.mlen, alone=True)

    # -- attention ---------------------------------------------------------------------------------------------------

    def caches(self, layer: int, attending: Attending) -> None:
        """Declare a layer's stored K and V."""
        rows = self.shape.batch * self.shape.cache_rows
        for name in "KV":
            self.tensor(f"{attending.prefix}{name}_stored_{layer}", rows, self.plan.columns_of(attending.kv_heads),
                        "cache")

    def spans(self, layer: int, attending: Attending) -> dict[str, ir.HeadSpan]:
        """Declare rows of heads for queries, keys and values; spans by name.

        Padding lanes stay 0, so where there are some one buffer serves all layers.
        """
        plan = self.plan
        q_rows, kv_rows = plan.rows_of(attending.heads), plan.rows_of(attending.kv_heads)
        alone = not (plan.fills(attending.heads) and plan.fills(attending.kv_heads))
        suffix = "" if alone else f"_{layer}"
        both = self.head_rows(f"queries_keys{suffix}", q_rows + kv_rows, alone)
        values = self.head_rows(f"values{suffix}", kv_rows, alone)
        return {"q": ir.HeadSpan(both, 0, q_rows), "k": ir.HeadSpan(both, q_rows, kv_rows),
                "v": ir.HeadSpan(values, 0, kv_rows)}

    def head_rows(self, name: str, heads: int, alone: bool) -> ir.HeadRows:
        """Declare a buffer for rows of heads."""
        self.buffer(name, heads * self.shape.rows, self.plan.parts * self.machine.mlen, alone)
        return ir.HeadRows(buffer=name, heads=heads, tokens=self.shape.rows, parts=self.plan.parts,
                           token_major=self.shape.decode)

    def project(self, layer: int, x: str, weight: str, span: ir.HeadSpan, heads: int, bias: str | None) -> None:
        """Append x · W_q, W_k or W_v to rows of heads; `bias` names a preload or is None."""
        plan, mlen = self.plan, self.machine.mlen
        parts = tuple(min(mlen, plan.head_dim - part * mlen) for part in range(plan.parts))
        self.dense("attn.qkv", layer, x, weight, span.rows.buffer, heads * plan.width, bias, span=span,
                   part_columns=(mlen,) if plan.packed else parts)

    def store(self, layer: int, name: str, span: ir.HeadSpan, attending: Attending) -> None:
        """Append the store of the new tokens' K or V."""
        shape = self.shape
        self.add(ir.StoreRows(stage="attn.kv_store", layer=layer, span=span,
                              cache=f"{attending.prefix}{name}_stored_{layer}", sequences=shape.batch,
                              sequence_rows=shape.sequence_rows, tokens=shape.tokens, first_row=shape.past,
                              rows_per_sequence=shape.cache_rows))

    def attend(self, layer: int, queries: ir.HeadRows, attending: Attending) -> str:
        """Append scores, softmax and values; returns the name of the result."""
        plan, shape = self.plan, self.shape
        stacked = round_up(attending.heads // attending.kv_heads, self.machine.blen)
        declare = self.chunk_buffers if self.chunk else self.all_scores
        buffers: dict[str, Any] = declare(layer, attending)
        # In a decode step the rows behind a KV head's query heads are written too: to later heads, and past the last.
        spare = stacked * plan.parts * self.machine.mlen if shape.decode and not plan.packed else 0
        out = self.buffer(f"attended_{layer}", shape.rows, plan.columns_of(attending.heads) + spare)
        self.add(ir.Attend(
            stage="attn.scores", layer=layer, q=queries, out=out, k_cache=f"{attending.prefix}K_stored_{layer}",
            v_cache=f"{attending.prefix}V_stored_{layer}", sequences=shape.batch, sequence_rows=shape.sequence_rows,
            tokens=shape.tokens, keys=shape.keys, causal=attending.causal, heads=attending.heads,
            kv_heads=attending.kv_heads, head_dim=plan.head_dim, slots=plan.slots,
            rows_per_sequence=shape.cache_rows, mask=attending.mask, chunk=self.chunk, **buffers))
        return out

    def all_scores(self, layer: int, attending: Attending) -> dict[str, str]:
        """Declare room for the scores of a KV head; returns names of buffers."""
        plan, machine, shape = self.plan, self.machine, self.shape
        group = attending.heads // attending.kv_heads
        if plan.packed:
            pairs = len(pairs_of(min(attending.kv_heads, plan.slots), group, plan.slots))
            rows = pairs * pair_rows(machine, shape.sequence_rows, shape.key_blocks, plan.slots, shape.decode)
        elif shape.decode:
            rows = round_up(group, machine.blen) * shape.key_blocks
        else:
            rows = shape.sequence_rows * group * shape.key_blocks
        return {"scores": self.buffer(f"scores_{layer}", rows, machine.mlen)}

    def chunk_buffers(self, layer: int, attending: Attending) -> dict[str, str]:
        """Declare room for a step of an online softmax, its state and its value sums; returns names of buffers."""
        plan, machine, shape = self.plan, self.machine, self.shape
        heads = plan.rows_of(attending.heads) * plan.slots
        if shape.decode:
            block = 1 if plan.packed else round_up(attending.heads // attending.kv_heads, machine.blen)
            rows = block * shape.batch * (heads if plan.packed else attending.kv_heads)
        else:
            block = machine.mlen
            rows = round_up(shape.sequence_rows, block) * shape.batch * heads
        sizes = {"scores": plan.slots * (self.chunk or 1) * block, "products": plan.parts * block,
                 "state": STATE_ROWS * rows, "sums": rows // plan.slots * plan.parts}
        return {name: self.buffer(f"{name}_{layer}", size, machine.mlen) for name, size in sizes.items()}
