"""What a vision build's tensors and preloads hold, one at a time (spec §9.1, §9.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .configs import VisionConfig
from .forward.vision import position_ids
from .graph import Buffer, Tensor
from .head_plan import HeadPlan
from .lowering.softmax import LOWEST
from .passes.fold import ProgramWeights
from .reading import read_rows, split_name, wide
from .row_shape import RowShape

_HEADS = ("q", "k", "v")


class VisionContents:
    """Values by the names of `build_vision_graph`; `patches` is f32 `[1, patches, channels · patch · patch]`."""

    def __init__(self, config: VisionConfig, plan: HeadPlan, shape: RowShape, weights: ProgramWeights,
                 patches: np.ndarray):
        self.config, self.plan, self.shape, self.weights, self.patches = config, plan, shape, weights, patches

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
        inner = name.removeprefix("V_B_")
        bias = self.weights[f"layers.{layer}.{inner}_bias"]
        return (self.plan.spread(bias, self.config.heads, 0) if inner in _HEADS else bias)[None]

    def _v_pixels(self, buffer):
        return self.patches[0]

    def _v_patch_bias_pos(self, buffer):
        side = round(self.shape.tokens**0.5)
        return self.weights.rows("positions", position_ids(self.config, side)) + self.weights["patch_bias"]

    def _padding_mask(self, buffer):
        used = (self.shape.keys - 1) % buffer.columns + 1
        return np.where(np.arange(buffer.columns) < used, 0, LOWEST).astype(np.float32)[None]

    def _columns(self, buffer):
        return (np.arange(buffer.columns) < self.config.hidden % buffer.columns).astype(np.float32)[None]

    def _v_post_ln_weight(self, buffer):
        return self.weights["post_norm"][None]

    def _v_post_ln_bias(self, buffer):
        return self.weights["post_norm_bias"][None]

    def tensor(self, tensor: Tensor) -> Iterator[np.ndarray]:
        """Make the values of a weight.

        Yields
        ------
        f32 arrays
            `[rows, columns]` of the tensor's padded columns, from the first row on; rows that are left out are 0.
        """
        name, layer = split_name(tensor.name)
        if name == "V_PATCH_W":
            yield from read_rows(self.weights, "patch", tensor.columns)
        elif name == "V_CONNECTOR_W":
            yield from self._connector(tensor)
        else:
            inner = name.removeprefix("V_W_")
            at = f"layers.{layer}.{inner}"
            if inner == "o":
                yield wide(self.plan.spread(self.weights[at], self.config.heads, 0), tensor.columns)
            elif inner in _HEADS:
                for rows in read_rows(self.weights, at):
                    yield self.plan.spread(rows, self.config.heads, 1)
            else:
                yield from read_rows(self.weights, at, tensor.columns)

    def _connector(self, tensor):
        """A patch's rows, padded to whole column blocks, for each patch of a square."""
        patches = self.config.connector_scale**2
        block = np.zeros((tensor.rows // patches, tensor.columns), dtype=np.float32)
        for patch in range(patches):
            first = patch * self.config.hidden
            rows = self.weights.rows("connector", slice(first, first + self.config.hidden))
            block[: len(rows), : rows.shape[1]] = rows
            yield block
