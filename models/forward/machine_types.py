"""What the machine can hold of a model: the weights and inputs of the second reference forward (spec §9.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..folding import FoldedWeights
from ..number_formats import round_bf16, round_stored
from ..quantise import dequantised

if TYPE_CHECKING:
    from plena_emu.config.settings import Settings


class HeldWeights(Mapping):
    """Weights after folding and quantising, for the forward of the unfolded model.

    Linears are MX as in the HBM image, vectors and learned positions bf16 as in the vector SRAM. The factor that the
    queries carry is taken out again after rounding, because the forward applies its own.
    """

    def __init__(self, folded: FoldedWeights, settings: Settings):
        self._folded = folded
        self._kind = settings.hbm_m_weight_type

    def __iter__(self):
        return iter(self._folded)

    def __len__(self):
        return len(self._folded)

    def __contains__(self, name):
        return name in self._folded

    def __getitem__(self, name: str) -> np.ndarray:
        """Read a tensor as the machine holds it.

        Returns
        -------
        f32 array
        """
        values = self._folded[name]
        linear = values.ndim == 2 and name not in ("embed", "positions")
        held = dequantised(values, self._kind) if linear else round_bf16(values)
        return held / self._folded.query_scale(name)


def holder(settings: Settings) -> Callable[[np.ndarray], np.ndarray]:
    """Make the `hold` of a forward: bf16 as in the vector SRAM, then the KV type as H_STORE_V writes it (§2.4).

    Returns
    -------
    callable
        From f32 `[…, head_dim]` to the same shape.
    """
    return lambda values: round_stored(round_bf16(values), settings.hbm_v_kv_type)
