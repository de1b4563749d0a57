"""Factors folded into the weights before quantisation, where that is exact or cheaper (spec §9.2).

Norm weights go into the linears behind them, a LayerNorm's bias into their biases, 1/√head_dim into the queries: into
W_q and its bias, or with q-norm into that norm's weights. The final norms stay: their output is a result.
"""

from __future__ import annotations

import numpy as np

from plena_emu.errors import EmuError

from .configs import TextConfig
from .weights import Weights

# Linear of a layer -> the norm in front of it.
_TEXT = {"q": "attn_norm", "k": "attn_norm", "v": "attn_norm", "gate": "ffn_norm", "up": "ffn_norm"}
_VISION = {"q": "norm1", "k": "norm1", "v": "norm1", "fc1": "norm2"}


class FoldedWeights(Weights):
    """Weights as a program multiplies them; the norms that were folded away are ones, their biases zeros.

    Reads through `weights`, one tensor at a time; shapes stay.
    """

    def __init__(self, weights: Weights):
        super().__init__(weights.source, weights.config)
        self._weights = weights
        self._text = isinstance(weights.config, TextConfig)
        self._qk_norm = isinstance(weights.config, TextConfig) and weights.config.qk_norm
        self._norm_of = _TEXT if self._text else _VISION

    def query_scale(self, name: str) -> np.float32:
        """Factor that `name` carries: 1/√head_dim for what makes the queries (§9.2), else 1.

        Returns
        -------
        f32
        """
        carriers = ("q_norm",) if self._qk_norm else ("q", "q_bias")
        inner = name.rpartition(".")[2] if name.startswith("layers.") else ""
        return np.float32(1 / np.sqrt(self.config.head_dim) if inner in carriers else 1)

    def rows(self, name: str, index: slice | np.ndarray) -> np.ndarray:
        """Read some rows of a tensor as `Weights.rows` does.

        Raises
        ------
        EmuError
            Also where weights are finite and their product with what is folded in is not.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._rows(name, index)
        if not np.isfinite(values).all():
            raise EmuError(f"{self.source}: tensor {self._weights.stored_name(name)}: its weights times those of the"
                           " norm in front of it and the factors that are folded in exceed f32")
        return values

    def _rows(self, name, index):
        layer, _, inner = name.rpartition(".")
        if not layer:
            return self._weights.rows(name, index)
        if inner in self._norm_of.values():
            return np.ones_like(self._weights.rows(name, index))
        if inner.removesuffix("_bias") in self._norm_of.values():
            return np.zeros_like(self._weights.rows(name, index))
        values = self._weights.rows(name, index)
        if inner in self._norm_of:
            values = values * self._weights.rows(f"{layer}.{self._norm_of[inner]}", index)[:, None]
        elif not self._text and inner.removesuffix("_bias") in self._norm_of:
            values = values + self._norm_bias(layer, inner.removesuffix("_bias"))[index]
        return values * self.query_scale(name)

    def _norm_bias(self, layer, inner):
        """A LayerNorm's bias through the linear behind it: bias · W."""
        return self._weights[f"{layer}.{self._norm_of[inner]}_bias"] @ self._weights[f"{layer}.{inner}"]
