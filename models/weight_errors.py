"""How far the weights that a machine holds are from the model's own, against what their formats guarantee (spec §9.7).

Both references of a build read the folded and quantised weights, so neither would see a wrong fold or quantiser. This
module compares each of those tensors with the source by formulas of its own: it uses neither `folding` nor `quantise`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .number_formats import check_mx
from .weights import Weights

_CHUNK = 1 << 22  # elements that are compared at a time
_SMALLEST = 2.0**-200  # squared norm of a block; below, its scale leaves the exponents of e8m0
_SLACK = 1.01  # numbers below a block's normals, and f32 arithmetic
# A linear's inputs are multiplied by the weights of the norm in front of it: of text and of vision models.
_NORM_BEFORE = {"q": ("attn_norm", "norm1"), "k": ("attn_norm", "norm1"), "v": ("attn_norm", "norm1"),
                "gate": ("ffn_norm",), "up": ("ffn_norm",), "fc1": ("norm2",)}
_GONE = ("attn_norm", "ffn_norm", "norm1", "norm2")


class ComparedWeights(Mapping):
    """Passes `held` on, and compares each tensor with `source` when it is read.

    Attributes
    ----------
    errors : dict of str to tuple of float
        By canonical name: the relative error, and the largest that the format guarantees. Of a linear it is that of
        the worst block of MX elements, 2^-(mantissa bits + 1); of a vector in bf16 that of the whole, 2^-8.
    """

    def __init__(self, held: Mapping[str, np.ndarray], source: Weights, kind):
        self._held, self._source = held, source
        mx, element = check_mx(kind, "HBM_M_WEIGHT_TYPE")
        self._block, self._guaranteed = mx.block, 2.0 ** -(element.mantissa + 1)
        self.errors: dict[str, tuple[float, float]] = {}

    def __iter__(self):
        return iter(self._held)

    def __len__(self):
        return len(self._held)

    def __getitem__(self, name: str) -> np.ndarray:
        """Read a tensor and note its error.

        Returns
        -------
        f32 array
        """
        found = self._held[name]
        if found.ndim == 2 and name != "positions":
            guaranteed, error = self._guaranteed, self._worst_block(name, found)
        else:
            guaranteed, error = 2.0**-8, _relative(found, self._vector(name))
        self.errors[name] = (error, guaranteed * _SLACK)
        return found

    def _norm(self, name):
        """Name of the norm in front of a linear, None where there is none."""
        layer, _, inner = name.rpartition(".")
        return next((f"{layer}.{norm}" for norm in _NORM_BEFORE.get(inner, ()) if f"{layer}.{norm}" in self._source),
                    None)

    def _worst_block(self, name, found):
        """Largest relative error of a block of a linear."""
        norm, width, worst = self._norm(name), self._block, 0.0
        factors = None if norm is None else self._source[norm]
        step = max(1, _CHUNK // found.shape[1])
        for first in range(0, len(found), step):
            part = slice(first, min(first + step, len(found)))
            expected = self._source.rows(name, part)
            if factors is not None:
                expected = expected * factors[part, None]
            sizes = [np.square(np.pad(values, ((0, 0), (0, -values.shape[1] % width))), dtype=np.float64)
                     .reshape(-1, width).sum(axis=1) for values in (found[part] - expected, expected)]
            worst = max(worst, float(np.sqrt((sizes[0] / np.maximum(sizes[1], _SMALLEST)).max())))
        return worst

    def _vector(self, name):
        """What a vector should be: norms that were folded are ones, their biases zeros and in the linears' biases."""
        inner = name.rpartition(".")[2]
        if inner in _GONE:
            return np.ones(self._source.shapes[name], np.float32)
        if inner.removesuffix("_bias") in _GONE:
            return np.zeros(self._source.shapes[name], np.float32)
        linear = name.removesuffix("_bias")
        norm = self._norm(linear) if linear != name else None
        if norm is None or f"{norm}_bias" not in self._source:
            return self._source[name]
        shift = self._source[f"{norm}_bias"].astype(np.float64)
        return self._source[name] + shift @ self._source[linear]


def _relative(found, expected):
    """‖found − expected‖ / ‖expected‖; 0 where both are 0."""
    size = np.linalg.norm(np.asarray(expected, np.float64).ravel())
    difference = np.linalg.norm((found - np.asarray(expected, np.float64)).ravel())
    return float(difference / size) if size else float(np.inf if difference else 0)
