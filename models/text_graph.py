"""A text model as operators: prefill, bidirectional pass or decode step (spec §9.1, §9.2)."""

from __future__ import annotations

import msgspec

from . import graph as ir
from .configs import TextConfig
from .head_plan import HeadPlan
from .lowering.packed_attention import pair_rows, pairs_of
from .machine import Machine, ceil_div, round_up


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compute: `tokens` new tokens of `batch` sequences behind `past` cached ones; which logits."""

    batch: int
    tokens: int
    past: int
    logits: str

    @property
    def is_decode(self) -> bool:
        """Whether it is one step behind a cache."""
        return self.past > 0


class TextShape:
    """Rows of a request on a machine.

    Attributes
    ----------
    sequence_rows : int
        Rows of a sequence; in a decode step sequences follow one another row by row.
    rows : int
        Rows of an activation, whole groups of BLEN.
    used, normed : int
        Rows that row-wise operators do, and norms.
    cache_rows : int
        Rows a sequence has in the stored cache (§9.2): SV − 1 spare ones behind the new token, whole MLEN.
    """

    def __init__(self, machine: Machine, request: TextRequest):
        self.request = request
        if request.is_decode:
            self.sequence_rows = 1
            self.rows = round_up(request.batch, machine.blen)
            self.used = self.normed = request.batch
        else:
            self.sequence_rows = round_up(request.tokens, machine.blen)
            self.rows = request.batch * self.sequence_rows
            self.used = request.tokens if request.batch == 1 else self.rows
            self.normed = self.rows
        self.keys = request.past + request.tokens
        self.cache_rows = round_up(self.keys + machine.write_back, machine.mlen)
        self.key_blocks = ceil_div(self.keys, machine.mlen)
        self.groups = self.rows // machine.blen


def build_text_graph(config: TextConfig, machine: Machine, request: TextRequest) -> ir.Graph:
    """Write the operators of a request.

    Returns
    -------
    Graph
        Its results: buffers `hidden` and `logits`, caches `K_stored_<layer>` and `V_stored_<layer>`.
    """
    return _TextGraph(config, machine, request).build()


class _TextGraph:
    def __init__(self, config, machine, request):
        self.config, self.machine, self.request = config, machine, request
        self.shape = TextShape(machine, request)
        self.plan = HeadPlan.of(machine, config.head_dim)
        self.graph = ir.Graph(operators=[], buffers={}, tensors={}, preloads=[], kept=[])
        self.causal = config.causal and not request.is_decode and request.tokens > 1

    # -- parts of a graph --------------------------------------------------------------------------------------------

    def buffer(self, name, rows, columns, alone=False, blocks=None):
        self.graph.buffers[name] = ir.Buffer(
            name=name, rows=rows, blocks=blocks or self.machine.tiles_of(columns), columns=columns, alone=alone)
        return name

    def preload(self, name, rows, columns):
        self.buffer(name, rows, columns, alone=True)
        self.graph.preloads.append(name)
        return name

    def tensor(self, name, rows, columns, kind="weight"):
        mlen = self.machine.mlen
        self.graph.tensors[name] = ir.Tensor(name=name, rows=round_up(rows, mlen), columns=round_up(columns, mlen),
                                             kind=kind)
        return name

    def add(self, operator):
        self.graph.operators.append(operator)

    def dense(self, stage, layer, x, weight, out, columns, bias=None, **more):
        """A linear whose result is an activation."""
        self.add(ir.Linear(stage=stage, layer=layer, x=x, weight=weight, out=out, groups=self.shape.groups,
                           rows=self.shape.used, columns=columns, bias=bias, **more))

    # -- the model ---------------------------------------------------------------------------------------------------

    def build(self):
        config, rows = self.config, self.shape.rows
        self.preload("X", rows, config.hidden)
        self.tables()
        self.buffer("projected", rows, config.hidden, alone=True)  # its padding is added to that of X
        self.buffer("scratch", 2, self.machine.mlen, alone=True)
        self.buffer("partial", rows, self.machine.mlen, alone=True)
        for layer in range(config.layers):
            self.caches(layer)
        for layer in range(config.layers):
            self.layer(layer)
        self.head()
        return self.graph

    def tables(self):
        machine, plan = self.machine, self.plan
        rows = 1 if self.request.is_decode else self.shape.sequence_rows
        for name in ("COS", "SIN"):
            self.preload(name, rows, plan.parts * machine.mlen)
        self.mask = None
        if self.causal:
            self.mask = self.preload("causal_mask", machine.mlen, machine.mlen)
        elif self.shape.keys % machine.mlen:
            self.mask = self.preload("padding_mask", 1, machine.mlen)
        self.rotation = None
        if not plan.rotates_by_halves:
            self.rotation = self.tensor("R_rope", plan.slots * plan.width, plan.slots * plan.width, "activation")
        self.sections = None
        if self.config.qk_norm and plan.packed:
            self.sections = self.preload("sections", plan.slots, machine.mlen)

    def caches(self, layer):
        rows = self.request.batch * self.shape.cache_rows
        columns = self.plan.columns_of(self.config.kv_heads)
        for name in "KV":
            self.tensor(f"{name}_stored_{layer}", rows, columns, "cache")

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
        decode = self.request.is_decode
        return self.buffer("normed" if decode else name, self.shape.rows, self.config.hidden, alone=decode)

    def norm(self, stage, layer, x, out, weight=None):
        self.add(ir.Norm(stage=stage, layer=layer, x=x, out=out, rows=self.shape.normed, width=self.config.hidden,
                         epsilon=self.config.norm_eps, weight=weight))

    def head_rows(self, name, heads, alone):
        """A buffer for rows of heads; BLEN rows more than heads and tokens need may be read."""
        self.buffer(name, heads * self.shape.rows, self.plan.parts * self.machine.mlen, alone)
        return ir.HeadRows(buffer=name, heads=heads, tokens=self.shape.rows, parts=self.plan.parts,
                           token_major=self.request.is_decode)

    def attention(self, i, normed):
        config, plan = self.config, self.plan
        q_rows, kv_rows = plan.rows_of(config.heads), plan.rows_of(config.kv_heads)
        alone = not (plan.fills(config.heads) and plan.fills(config.kv_heads))
        suffix = "" if alone else f"_{i}"  # padding lanes stay 0: one buffer for all layers
        queries_keys = self.head_rows(f"queries_keys{suffix}", q_rows + kv_rows, alone)
        values = self.head_rows(f"values{suffix}", kv_rows, alone)
        spans = {"q": ir.HeadSpan(queries_keys, 0, q_rows), "k": ir.HeadSpan(queries_keys, q_rows, kv_rows),
                 "v": ir.HeadSpan(values, 0, kv_rows)}
        for name, span in spans.items():
            self.project(i, normed, name, span)
        if config.qk_norm:
            for name in "qk":
                self.head_norm(i, name, spans[name])
        self.rope(i, queries_keys)
        for name, span in (("K", spans["k"]), ("V", spans["v"])):
            self.store(i, name, span)
        attended = self.attend(i, queries_keys)
        weight = self.tensor(f"W_o_{i}", plan.columns_of(config.heads), config.hidden)
        bias = self.preload(f"W_bo_{i}", 1, config.hidden) if config.out_bias else None
        self.dense("attn.out", i, attended, weight, "projected", config.hidden, bias)

    def project(self, i, normed, name, span):
        """x · W_q, W_k or W_v to rows of heads."""
        config, plan, mlen = self.config, self.plan, self.machine.mlen
        heads = config.heads if name == "q" else config.kv_heads
        weight = self.tensor(f"W_{name}_{i}", config.hidden, plan.columns_of(heads))
        parts = tuple(min(mlen, plan.head_dim - part * mlen) for part in range(plan.parts))
        bias = None
        if config.qkv_bias:
            bias = self.preload(f"W_b{name}_{i}", 1, plan.columns_of(heads))
        self.dense("attn.qkv", i, normed, weight, span.rows.buffer, heads * plan.width, bias, span=span,
                   part_columns=(mlen,) if plan.packed else parts)

    def head_norm(self, i, name, span):
        weight = self.preload(f"{name}_norm_{i}", 1, self.plan.parts * self.machine.mlen)
        self.add(ir.HeadNorm(stage="attn.rope", layer=i, span=span, width=self.plan.head_dim, slots=self.plan.slots,
                             tokens=self.request.batch if self.request.is_decode else self.shape.rows,
                             epsilon=self.config.norm_eps, weight=weight, sections=self.sections))

    def rope(self, i, heads):
        rotated = None
        if self.rotation:
            rotated = self.buffer(f"rotated_{i}", heads.heads * self.shape.rows, self.plan.parts * self.machine.mlen)
        decode = self.request.is_decode
        self.add(ir.Rope(stage="attn.rope", layer=i, heads=heads, rotated=rotated, rotation=self.rotation,
                         tokens=1 if decode else self.shape.sequence_rows, sequences=self.request.batch,
                         half=self.plan.head_dim // 2 if self.plan.parts == self.plan.slots == 1 else None))

    def store(self, i, name, span):
        decode = self.request.is_decode
        self.add(ir.StoreRows(stage="attn.kv_store", layer=i, span=span, cache=f"{name}_stored_{i}",
                              sequences=self.request.batch, sequence_rows=self.shape.sequence_rows,
                              tokens=1 if decode else self.request.tokens, first_row=self.request.past,
                              rows_per_sequence=self.shape.cache_rows))

    def attend(self, i, heads):
        config, plan, machine, shape = self.config, self.plan, self.machine, self.shape
        decode = self.request.is_decode
        stacked = round_up(config.heads // config.kv_heads, machine.blen)
        if plan.packed:
            pairs = len(pairs_of(min(config.kv_heads, plan.slots), config.group, plan.slots))
            rows = pair_rows(machine, shape.sequence_rows, shape.key_blocks, plan.slots, decode)
            scores = self.buffer(f"scores_{i}", pairs * rows, machine.mlen)
        elif decode:
            scores = self.buffer(f"scores_{i}", stacked, shape.key_blocks * machine.mlen)
        else:
            scores = self.buffer(f"scores_{i}", shape.sequence_rows, config.group * shape.key_blocks * machine.mlen)
        # In a decode step the rows behind a KV head's query heads are written too: to later heads, and past the last.
        spare = stacked * plan.parts * machine.mlen if decode and not plan.packed else 0
        attended = self.buffer(f"attended_{i}", shape.rows, plan.columns_of(config.heads) + spare)
        self.add(ir.Attend(
            stage="attn.scores", layer=i, q=heads, out=attended, k_cache=f"K_stored_{i}", v_cache=f"V_stored_{i}",
            sequences=self.request.batch, sequence_rows=shape.sequence_rows, tokens=self.request.tokens,
            keys=shape.keys, causal=self.causal, heads=config.heads, kv_heads=config.kv_heads,
            head_dim=plan.head_dim, slots=plan.slots, rows_per_sequence=shape.cache_rows, scores=scores,
            mask=self.mask))
        return attended

    def head(self):
        """Final norm, and the logits of the wanted tokens."""
        config, request, shape = self.config, self.request, self.shape
        self.buffer("hidden", shape.rows, config.hidden, alone=True)
        self.norm("final_norm", None, "X", "hidden", self.preload("final_norm", 1, config.hidden))
        self.graph.kept.append("hidden")
        if request.logits == "none":
            return
        source, first, groups, rows = "hidden", 0, shape.groups, shape.used
        if request.logits == "last" and not request.is_decode:
            groups, rows = ceil_div(request.batch, self.machine.blen), request.batch
            first = request.tokens - 1
            if request.batch > 1:
                source = self.buffer("last_rows", groups * self.machine.blen, config.hidden)
                self.add(ir.CopyRows(stage="lm_head", x="hidden", out=source, first_row=first,
                                     step=shape.sequence_rows, count=request.batch))
                first = 0
        weight = self.tensor("W_lm_head", config.hidden, config.vocab)
        self.buffer("logits", groups * self.machine.blen, config.vocab, alone=True)
        self.add(ir.Linear(stage="lm_head", x=source, weight=weight, out="logits", groups=groups, rows=rows,
                           columns=config.vocab, first_row=first))
        self.graph.kept.append("logits")

