"""What a text build's tensors and preloads hold, one at a time (spec §9.2, §9.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .configs import TextConfig
from .forward.rope import rope_tables
from .graph import Buffer, Tensor
from .head_plan import HeadPlan
from .lowering.softmax import LOWEST
from .passes.fold import ProgramWeights
from .reading import read_rows, split_name, wide
from .row_shape import RowShape


class TextContents:
    """Values by the names of `build_text_graph`.

    Parameters
    ----------
    config : TextConfig
    plan : HeadPlan
    shape : RowShape
    weights : ProgramWeights
    embeddings : f32 array
        `[batch, tokens, hidden]`.
    """

    def __init__(self, config: TextConfig, plan: HeadPlan, shape: RowShape, weights: ProgramWeights,
                 embeddings: np.ndarray):
        self.config, self.plan, self.shape = config, plan, shape
        self.weights, self.embeddings = weights, embeddings

    # -- vector SRAM -------------------------------------------------------------------------------------------------

    def preload(self, buffer: Buffer) -> np.ndarray:
        """Make the values of a preloaded buffer.

        Returns
        -------
        f32 array
            `[rows, columns]`, at most the buffer's; the rest is 0.
        """
        name, layer = split_name(buffer.name)
        if layer is None:
            return getattr(self, f"_{name.lower()}")(buffer)
        at = f"layers.{layer}."
        if name in ("q_norm", "k_norm"):
            return self._repeat(self.weights[at + name])[None]
        inner = name.removeprefix("W_b")
        bias = self.weights[f"{at}{inner}_bias"]
        return (bias if inner == "o" else self._spread(bias, inner))[None]

    def _x(self, buffer):
        batch, tokens, hidden = self.embeddings.shape
        values = np.zeros((batch, self.shape.sequence_rows, hidden), dtype=np.float32)
        values[:, :tokens] = self.embeddings
        return values.reshape(-1, hidden)

    def _tables(self, which, buffer):
        table = rope_tables(self.config, self.shape.past, buffer.rows)[which]
        return np.stack([self._repeat(row) for row in table])

    def _cos(self, buffer):
        return self._tables(0, buffer)

    def _sin(self, buffer):
        return self._tables(1, buffer)

    def _causal_mask(self, buffer):
        return np.triu(np.full((buffer.rows, buffer.columns), LOWEST, dtype=np.float32), 1)

    def _padding_mask(self, buffer):
        used = (self.shape.keys - 1) % buffer.columns + 1
        return np.where(np.arange(buffer.columns) < used, 0, LOWEST).astype(np.float32)[None]

    def _sections(self, buffer):
        return np.repeat(np.eye(buffer.rows, dtype=np.float32), buffer.columns // buffer.rows, axis=1)

    def _final_norm(self, buffer):
        return self.weights["final_norm"][None]

    def _repeat(self, values):
        """A vector of head_dim elements at every slot of a row of heads."""
        return self.plan.spread(np.tile(values, self.plan.slots), self.plan.slots, 0)

    # -- HBM ---------------------------------------------------------------------------------------------------------

    def tensor(self, tensor: Tensor) -> Iterator[np.ndarray]:
        """Make the values of a weight or table.

        Yields
        ------
        f32 arrays
            `[rows, columns]` of the tensor's padded columns, from the first row on; rows that are left out are 0.
        """
        name, layer = split_name(tensor.name)
        if name == "R_rope":
            yield wide(self.plan.rotation(), tensor.columns)
        elif name == "W_lm_head":
            yield from read_rows(self.weights, "lm_head", tensor.columns)
        elif name == "W_o":
            yield wide(self.plan.spread(self.weights[f"layers.{layer}.o"], self.config.heads, 0), tensor.columns)
        elif name in ("W_q", "W_k", "W_v"):
            inner = name[-1]
            for rows in read_rows(self.weights, f"layers.{layer}.{inner}"):
                yield self._spread(rows, inner)
        else:
            yield from read_rows(self.weights, f"layers.{layer}.{name.removeprefix('W_')}", tensor.columns)

    def _spread(self, values, inner):
        heads = self.config.heads if inner == "q" else self.config.kv_heads
        return self.plan.spread(values, heads, values.ndim - 1)
