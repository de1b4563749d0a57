"""A text model as operators: prefill, bidirectional pass or decode step (spec §9.1, §9.2)."""

from __future__ import annotations

from . import graph as ir
from .configs import TextConfig
from .graph_writer import Attending, GraphWriter
from .head_plan import HeadPlan
from .machine import Machine, ceil_div
from .row_shape import RowShape


def build_text_graph(config: TextConfig, machine: Machine, shape: RowShape, logits: str,
                     chunk: int | None = None) -> ir.Graph:
    """Write the operators of a request.

    Parameters
    ----------
    config : TextConfig
    machine : Machine
    shape : RowShape
        Batch, tokens and past.
    logits : "last", "all" or "none"
    chunk : int or None
        Key blocks of an online softmax, see `GraphWriter`.

    Returns
    -------
    Graph
        Its results: buffers `hidden` and `logits`, caches `K_stored_<layer>` and `V_stored_<layer>`.
    """
    return _TextGraph(config, machine, shape, logits, chunk).build()


class _TextGraph(GraphWriter):
    def __init__(self, config, machine, shape, logits, chunk):
        super().__init__(machine, shape, HeadPlan.of(machine, config.head_dim), chunk)
        self.config, self.logits = config, logits

    def build(self):
        config = self.config
        self.preload("X", self.shape.rows, config.hidden)
        self.tables()
        self.working_rows(config.hidden, config.group)
        for layer in range(config.layers):
            self.caches(layer, self.attending)
        for layer in range(config.layers):
            self.layer(layer)
        self.head()
        return self.graph

    def tables(self):
        machine, plan, shape = self.machine, self.plan, self.shape
        for name in ("COS", "SIN"):
            self.preload(name, shape.sequence_rows, plan.parts * machine.mlen)
        causal = self.config.causal and not shape.decode and shape.tokens > 1
        mask = None
        if causal:
            mask = self.preload("causal_mask", machine.mlen, machine.mlen)
        elif shape.keys % machine.mlen:
            mask = self.preload("padding_mask", 1, machine.mlen)
        self.attending = Attending(heads=self.config.heads, kv_heads=self.config.kv_heads, causal=causal, mask=mask)
        self.rotation = None
        if not plan.rotates_by_halves:
            size = plan.slots * plan.width
            self.rotation = self.tensor("R_rope", size, size, "activation")
        self.sections = None
        if self.config.qk_norm and plan.packed:
            self.sections = self.preload("sections", plan.slots, machine.mlen)

    def layer(self, i):
        config, used = self.config, self.shape.used
        normed = self.normed(f"normed_{i}")
        self.norm("norm", i, "X", normed)
        self.attention(i, normed)
        self.add(ir.Add(stage="residual", layer=i, x="X", y="projected", rows=used))
        normed = self.normed(f"ffn_normed_{i}")
        self.norm("norm", i, "X", normed)
        gate, up = (self.buffer(f"{name}_{i}", self.shape.rows, config.intermediate) for name in ("gate", "up"))
        for out, name in ((gate, "gate"), (up, "up")):
            weight = self.tensor(f"W_{name}_{i}", config.hidden, config.intermediate)
            self.dense("ffn.gate_up", i, normed, weight, out, config.intermediate)
        self.add(ir.SwiGlu(stage="ffn.activation", layer=i, gate=gate, up=up, rows=used))
        weight = self.tensor(f"W_down_{i}", config.intermediate, config.hidden)
        self.dense("ffn.down", i, gate, weight, "projected", config.hidden)
        self.add(ir.Add(stage="residual", layer=i, x="X", y="projected", rows=used))

    def normed(self, name):
        """A buffer for what a norm makes.

        Rows without a token must stay small: their keys are masked by adding a large number. A prefill's norms do them
        too; in a decode step they are 0, in one buffer that nothing else uses.
        """
        decode = self.shape.decode
        return self.buffer("normed" if decode else name, self.shape.rows, self.config.hidden, alone=decode)

    def norm(self, stage, layer, x, out, weight=None):
        self.add(ir.Norm(stage=stage, layer=layer, x=x, out=out, rows=self.shape.normed, width=self.config.hidden,
                         epsilon=self.config.norm_eps, weight=weight))

    def attention(self, i, normed):
        config, plan = self.config, self.plan
        spans = self.spans(i, self.attending)
        for name, span in spans.items():
            heads = config.heads if name == "q" else config.kv_heads
            weight = self.tensor(f"W_{name}_{i}", config.hidden, plan.columns_of(heads))
            bias = self.preload(f"W_b{name}_{i}", 1, plan.columns_of(heads)) if config.qkv_bias else None
            self.project(i, normed, weight, span, heads, bias)
        if config.qk_norm:
            for name in "qk":
                self.head_norm(i, name, spans[name])
        self.rope(i, spans["q"].rows)
        for name in "KV":
            self.store(i, name, spans[name.lower()], self.attending)
        attended = self.attend(i, spans["q"].rows, self.attending)
        weight = self.tensor(f"W_o_{i}", plan.columns_of(config.heads), config.hidden)
        bias = self.preload(f"W_bo_{i}", 1, config.hidden) if config.out_bias else None
        self.dense("attn.out", i, attended, weight, "projected", config.hidden, bias)

    def head_norm(self, i, name, span):
        weight = self.preload(f"{name}_norm_{i}", 1, self.plan.parts * self.machine.mlen)
        self.add(ir.HeadNorm(stage="attn.rope", layer=i, span=span, width=self.plan.head_dim, slots=self.plan.slots,
                             tokens=self.shape.batch if self.shape.decode else self.shape.rows,
                             epsilon=self.config.norm_eps, weight=weight, sections=self.sections))

    def rope(self, i, heads):
        rotated = None
        if self.rotation:
            rotated = self.buffer(f"rotated_{i}", heads.heads * self.shape.rows, self.plan.parts * self.machine.mlen)
        self.add(ir.Rope(stage="attn.rope", layer=i, heads=heads, rotated=rotated, rotation=self.rotation,
                         tokens=self.shape.sequence_rows, sequences=self.shape.batch,
                         half=self.plan.head_dim // 2 if self.plan.parts == self.plan.slots == 1 else None))

    def head(self):
        """Final norm, and the logits of the wanted tokens."""
        config, shape = self.config, self.shape
        self.buffer("hidden", shape.rows, config.hidden)
        self.norm("final_norm", None, "X", "hidden", self.preload("final_norm", 1, config.hidden))
        self.graph.kept.append("hidden")
        if self.logits == "none":
            return
        source, first, groups, rows = "hidden", 0, shape.groups, shape.used
        if self.logits == "last" and not shape.decode:
            groups, rows = ceil_div(shape.batch, self.machine.blen), shape.batch
            first = shape.tokens - 1
            if shape.batch > 1:
                source = self.buffer("last_rows", groups * self.machine.blen, config.hidden)
                self.add(ir.CopyRows(stage="lm_head", x="hidden", out=source, first_row=first,
                                     step=shape.sequence_rows, count=shape.batch))
                first = 0
        weight = self.tensor("W_lm_head", config.hidden, config.vocab)
        self.buffer("logits", groups * self.machine.blen, config.vocab)
        self.add(ir.Linear(stage="lm_head", x=source, weight=weight, out="logits", groups=groups, rows=rows,
                           columns=config.vocab, first_row=first))
        self.graph.kept.append("logits")
