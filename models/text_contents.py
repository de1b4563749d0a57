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
from .text_graph import TextRequest

_CHUNK = 1 << 22  # elements of a weight that are read at a time


class TextContents:
    """Values by the names of `build_text_graph`.

    Parameters
    ----------
    config : TextConfig
    plan : HeadPlan
    request : TextRequest
    weights : ProgramWeights
    embeddings : f32 array
        `[batch, tokens, hidden]`.
    """

    def __init__(self, config: TextConfig, plan: HeadPlan, request: TextRequest, weights: ProgramWeights,
                 embeddings: np.ndarray):
        self.config, self.plan, self.request = config, plan, request
        self.weights, self.embeddings = weights, embeddings

    # -- vector SRAM -------------------------------------------------------------------------------------------------

    def preload(self, buffer: Buffer) -> np.ndarray:
        """Make the values of a preloaded buffer.

        Returns
        -------
        f32 array
            `[rows, columns]`, at most the buffer's; the rest is 0.
        """
        name, layer = _split(buffer.name)
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
        rows = 1 if self.request.is_decode else buffer.rows // batch
        values = np.zeros((batch, rows, hidden), dtype=np.float32)
        values[:, :tokens] = self.embeddings
        return values.reshape(-1, hidden)

    def _tables(self, which, buffer):
        table = rope_tables(self.config, self.request.past, buffer.rows)[which]
        return np.stack([self._repeat(row) for row in table])

    def _cos(self, buffer):
        return self._tables(0, buffer)

    def _sin(self, buffer):
        return self._tables(1, buffer)

    def _causal_mask(self, buffer):
        return np.triu(np.full((buffer.rows, buffer.columns), LOWEST, dtype=np.float32), 1)

    def _padding_mask(self, buffer):
        used = (self.request.past + self.request.tokens - 1) % buffer.columns + 1
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
        name, layer = _split(tensor.name)
        if name == "R_rope":
            yield _wide(self.plan.rotation(), tensor.columns)
        elif name == "W_lm_head":
            yield from self._chunks("lm_head", tensor)
        elif name == "W_o":
            yield _wide(self.plan.spread(self.weights[f"layers.{layer}.o"], self.config.heads, 0), tensor.columns)
        elif name in ("W_q", "W_k", "W_v"):
            inner = name[-1]
            for rows in self._read(f"layers.{layer}.{inner}"):
                yield self._spread(rows, inner)
        else:
            yield from self._chunks(f"layers.{layer}.{name.removeprefix('W_')}", tensor)

    def _spread(self, values, inner):
        heads = self.config.heads if inner == "q" else self.config.kv_heads
        return self.plan.spread(values, heads, values.ndim - 1)

    def _read(self, name):
        rows, columns = self.weights.shapes[name]
        step = max(1, _CHUNK // columns)
        for first in range(0, rows, step):
            yield self.weights.rows(name, slice(first, min(rows, first + step)))

    def _chunks(self, name, tensor):
        for rows in self._read(name):
            yield _wide(rows, tensor.columns)


def _wide(values, columns):
    """Columns padded with 0."""
    if values.shape[1] == columns:
        return values
    return np.pad(values, ((0, 0), (0, columns - values.shape[1])))


def _split(name):
    """Name and layer of `W_q_3`, `final_norm`, …"""
    head, _, number = name.rpartition("_")
    return (head, int(number)) if number.isdigit() else (name, None)
