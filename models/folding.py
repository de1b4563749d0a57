"""Factors folded into the weights before quantisation, where that is exact or cheaper (spec §9.2).

- A norm's weights go into the linears behind it, a LayerNorm's bias into their biases.
- A norm on the machine leaves out the factor √width (x / √(Σ x² + width · eps)): what takes its output carries it,
  a linear or, for the final norms and q/k-norm, their own vector of weights.
- 1/√head_dim goes into W_q and its bias, or with q-norm into that norm's weights.

The final norms stay, because their output is a result.
"""

from __future__ import annotations

import math

import numpy as np

from .configs import TextConfig
from .weight_mapping import Weights

# Linear of a layer -> the norm in front of it.
_TEXT = {"q": "attn_norm", "k": "attn_norm", "v": "attn_norm", "gate": "ffn_norm", "up": "ffn_norm"}
_VISION = {"q": "norm1", "k": "norm1", "v": "norm1", "fc1": "norm2"}
_FINAL = ("final_norm", "post_norm")
_HEADS = ("q_norm", "k_norm")


class FoldedWeights(Weights):
    """Weights as a program multiplies them; the norms that were folded away are ones, their biases zeros.

    Reads through `weights`, one tensor at a time; names and shapes stay.
    """

    def __init__(self, weights: Weights):
        super().__init__(weights.source, weights.config)
        self._weights = weights
        self._text = isinstance(weights.config, TextConfig)
        self._norm_of = _TEXT if self._text else _VISION

    def factor(self, name: str) -> np.float32:
        """Tell the number that a tensor carries besides the norm's weights: √width, 1/√head_dim, their product or 1.

        Returns
        -------
        f32
        """
        config = self.config
        layer, _, inner = name.rpartition(".")
        if not layer:
            return np.float32(math.sqrt(config.hidden) if inner in _FINAL else 1)
        normed = self._text and config.qk_norm
        square = 1.0
        if inner in self._norm_of:
            square *= config.hidden
        if inner in _HEADS:
            square *= config.head_dim
        if inner in (("q_norm",) if normed else ("q", "q_bias")):
            square /= config.head_dim
        return np.float32(math.sqrt(square))

    def _rows(self, name, index):
        layer, _, inner = name.rpartition(".")
        values = self._weights.rows(name, index)
        if layer and inner in self._norm_of.values():
            return np.ones_like(values)
        linear = inner.removesuffix("_bias")
        if layer and linear in self._norm_of.values():
            return np.zeros_like(values)
        if layer and inner in self._norm_of:
            values = values * self._weights.rows(f"{layer}.{self._norm_of[inner]}", index)[:, None]
        elif layer and not self._text and linear in self._norm_of:
            values = values + self._norm_bias(layer, linear)[index]
        return values * self.factor(name)

    def _norm_bias(self, layer, linear):
        """A LayerNorm's bias through the linear behind it: bias · W."""
        return self._weights[f"{layer}.{self._norm_of[linear]}_bias"] @ self._weights[f"{layer}.{linear}"]
