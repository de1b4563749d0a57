"""Folding: factors that the program leaves out go into the weights before quantisation (spec §9.2).

On top of `FoldedWeights`: √columns of each RMSNorm or LayerNorm, which the program's norms do not multiply by; the 4
that undoes the fixed 0.25 of broadcast products; and −1 for gate and up, whose product stays while exp(−gate) is free.
"""

from __future__ import annotations

import numpy as np

from plena_emu.models.configs import TextConfig
from plena_emu.models.folding import FoldedWeights
from plena_emu.models.weights import Weights

_BEHIND_A_NORM = {"q", "k", "v", "gate", "up", "fc1"}
_FINAL_NORMS = {"final_norm", "post_norm"}
_UNDO_BROADCAST = 4  # times bmm_scale is 1 (§1.2)


class ProgramWeights(FoldedWeights):
    """Weights as a program of this compiler multiplies them.

    Parameters
    ----------
    weights : Weights
    packed : bool
        Whether scores come from broadcast products.
    """

    def __init__(self, weights: Weights, packed: bool):
        super().__init__(weights)
        self._packed = packed

    def _own_scale(self, name):
        layer, _, inner = name.rpartition(".")
        scale = 1.0
        if (layer and inner in _BEHIND_A_NORM) or name in _FINAL_NORMS:
            scale = np.sqrt(self.config.hidden)
        if layer and inner in ("gate", "up"):
            scale = -scale
        if layer and inner in ("q_norm", "k_norm"):
            scale = np.sqrt(self.config.head_dim)
        carriers = ("q_norm",) if isinstance(self.config, TextConfig) and self.config.qk_norm else ("q", "q_bias")
        if layer and self._packed and inner in carriers:
            scale *= _UNDO_BROADCAST
        return np.float32(scale)

    def query_scale(self, name: str) -> np.float32:
        """Factor that `name` carries beyond the model's own weights.

        Returns
        -------
        f32
        """
        return super().query_scale(name) * self._own_scale(name)

    def _rows(self, name, index):
        values = super()._rows(name, index)
        return values if name.startswith("layers.") else values * self._own_scale(name)
