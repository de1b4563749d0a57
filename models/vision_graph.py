"""A vision encoder with its connector as operators (spec §9.1, §9.3)."""

from __future__ import annotations

from . import graph as ir
from .configs import VisionConfig
from .graph_writer import Attending, GraphWriter
from .head_plan import HeadPlan
from .machine import Machine, ceil_div, round_up
from .row_shape import RowShape

PREFIX = "V_"


def build_vision_graph(config: VisionConfig, machine: Machine, shape: RowShape,
                       chunk: int | None = None) -> ir.Graph:
    """Write the operators of an image.

    Parameters
    ----------
    config : VisionConfig
    machine : Machine
    shape : RowShape
        One sequence whose tokens are the patches.
    chunk : int or None
        Key blocks of an online softmax, see `GraphWriter`.

    Returns
    -------
    Graph
        Its results: buffers `hidden` and `connector`, caches `V_K_stored_<layer>` and `V_V_stored_<layer>`.
    """
    return _VisionGraph(config, machine, shape, chunk).build()


class _VisionGraph(GraphWriter):
    def __init__(self, config, machine, shape, chunk):
        super().__init__(machine, shape, HeadPlan.of(machine, config.head_dim), chunk)
        self.config = config

    def build(self):
        config, shape = self.config, self.shape
        self.preload("V_PIXELS", shape.rows, config.patch_size)
        self.preload("V_PATCH_BIAS_POS", shape.rows, config.hidden)
        mask = self.preload("padding_mask", 1, self.machine.mlen) if shape.keys % self.machine.mlen else None
        self.columns = None
        if config.hidden % self.machine.mlen:  # a LayerNorm's mean must not stay in the padding
            self.columns = self.preload("columns", 1, self.machine.mlen)
        self.attending = Attending(heads=config.heads, kv_heads=config.heads, causal=False, mask=mask, prefix=PREFIX)
        self.buffer("X", shape.rows, config.hidden, alone=True)
        self.working_rows(config.hidden, 1)
        for layer in range(config.layers):
            self.caches(layer, self.attending)
        weight = self.tensor("V_PATCH_W", config.patch_size, config.hidden)
        self.dense("patch", None, "V_PIXELS", weight, "X", config.hidden)
        self.add(ir.Add(stage="patch", x="X", y="V_PATCH_BIAS_POS", rows=shape.used))
        for layer in range(config.layers):
            self.layer(layer)
        self.connector()
        return self.graph

    def layer(self, i):
        config, used = self.config, self.shape.used
        normed = self.buffer(f"normed_{i}", self.shape.rows, config.hidden)
        self.norm("norm", i, normed)
        self.attention(i, normed)
        self.add(ir.Add(stage="residual", layer=i, x="X", y="projected", rows=used))
        normed = self.buffer(f"ffn_normed_{i}", self.shape.rows, config.hidden)
        self.norm("norm", i, normed)
        inner = self.buffer(f"inner_{i}", self.shape.rows, config.intermediate)
        self.linear("ffn.fc1", i, "fc1", normed, inner, config.hidden, config.intermediate)
        self.add(ir.Gelu(stage="ffn.activation", layer=i, x=inner, rows=used))
        self.linear("ffn.fc2", i, "fc2", inner, "projected", config.intermediate, config.hidden)
        self.add(ir.Add(stage="residual", layer=i, x="X", y="projected", rows=used))

    def linear(self, stage, i, name, x, out, rows, columns):
        weight = self.tensor(f"V_W_{name}_{i}", rows, columns)
        self.dense(stage, i, x, weight, out, columns, self.preload(f"V_B_{name}_{i}", 1, columns))

    def norm(self, stage, layer, out, **more):
        self.add(ir.Norm(stage=stage, layer=layer, x="X", out=out, rows=self.shape.normed, width=self.config.hidden,
                         epsilon=self.config.norm_eps, centred=True, columns=self.columns, **more))

    def attention(self, i, normed):
        config, plan = self.config, self.plan
        columns = plan.columns_of(config.heads)
        spans = self.spans(i, self.attending)
        for name, span in spans.items():
            weight = self.tensor(f"V_W_{name}_{i}", config.hidden, columns)
            self.project(i, normed, weight, span, config.heads, self.preload(f"V_B_{name}_{i}", 1, columns))
        for name in "KV":
            self.store(i, name, spans[name.lower()], self.attending)
        attended = self.attend(i, spans["q"].rows, self.attending)
        self.linear("attn.out", i, "o", attended, "projected", columns, config.hidden)

    def connector(self):
        """Post norm, pixel shuffle and projection; a token's patches lie side by side, each in whole column blocks."""
        config, machine, shape = self.config, self.machine, self.shape
        self.buffer("hidden", shape.rows, config.hidden)
        self.norm("post_norm", None, "hidden", weight=self.preload("V_POST_LN_weight", 1, config.hidden),
                  bias=self.preload("V_POST_LN_bias", 1, config.hidden))
        scale, side = config.connector_scale, round(shape.tokens**0.5)
        tokens = (side // scale) ** 2
        rows = round_up(tokens, machine.blen)
        wide = scale**2 * round_up(config.hidden, machine.mlen)
        shuffled = self.buffer("shuffled", rows, wide)
        self.add(ir.Shuffle(stage="connector", x="hidden", out=shuffled, side=side, scale=scale))
        weight = self.tensor("V_CONNECTOR_W", wide, config.text_hidden)
        self.buffer("connector", rows, config.text_hidden)
        self.add(ir.Linear(stage="connector", x=shuffled, weight=weight, out="connector",
                           groups=ceil_div(tokens, machine.blen), rows=tokens, columns=config.text_hidden))
        self.graph.kept += ["hidden", "connector"]
