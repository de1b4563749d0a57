"""The vision encoder's forward and its connector (spec §9.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from plena_emu.errors import EmuError

from ..configs import VisionConfig
from . import operators


class VisionOutput(msgspec.Struct):
    """What a forward gives: `hidden` f32 `[1, patches, hidden]` after the post norm, `connector` `[1, tokens, text]`.

    `residuals` are the embedded patches and the residual stream after each layer; `keys` and `values` one array a
    layer, `[1, heads, patches, head_dim]`.
    """

    hidden: np.ndarray
    connector: np.ndarray
    residuals: list[np.ndarray]
    keys: list[np.ndarray]
    values: list[np.ndarray]


def check_pixels(config: VisionConfig, pixels: np.ndarray, what: str = "pixels") -> None:
    """Refuse what is no image of the model; `what` names it. Raises `EmuError`."""
    square = pixels.ndim == 4 and pixels.shape[:2] == (1, config.channels) and pixels.shape[2] == pixels.shape[3]
    if not square or not np.issubdtype(pixels.dtype, np.floating):
        raise EmuError(f"{what}: found {pixels.dtype} of shape {list(pixels.shape)}, expected f32"
                       f" [1, {config.channels}, S, S]")
    config.patches_of(pixels.shape[2])
    if not np.isfinite(pixels).all():
        raise EmuError(f"{what}: holds a value that is infinite or no number")


def cut_patches(config: VisionConfig, pixels: np.ndarray) -> np.ndarray:
    """Cut an image into patch vectors: channel, row, column of the convolution weight; patches row-major (§9.1).

    Parameters
    ----------
    config : VisionConfig
    pixels : f32 array
        `[1, channels, S, S]`.

    Returns
    -------
    f32 array
        `[1, patches, channels · patch · patch]`.
    """
    edge, side = config.patch, pixels.shape[2] // config.patch
    cut = pixels.reshape(config.channels, side, edge, side, edge).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut, dtype=np.float32).reshape(1, side * side, config.patch_size)


def position_ids(config: VisionConfig, side: int) -> np.ndarray:
    """Choose the learned position of each patch of an image of `side` × `side` patches (§9.8).

    SmolVLM's bucketing: a patch takes the position at its fraction of the edge, which Hugging Face makes a millionth
    smaller. So even in a full image every row and column but the first has the position of the one before.

    Returns
    -------
    int array
        `[side · side]`, rows of the position table.
    """
    fractions = np.arange(side, dtype=np.float32) / np.float32(side) * np.float32(1 - 1e-6)
    boundaries = np.arange(1 / config.side, 1, 1 / config.side).astype(np.float32)
    bucket = np.searchsorted(boundaries, fractions, side="right")
    return (bucket[:, None] * config.side + bucket).reshape(-1)


def pixel_shuffle(values: np.ndarray, scale: int) -> np.ndarray:
    """Join squares of `scale` × `scale` patches into tokens (§9.1): within a token rows outer, columns inner.

    Parameters
    ----------
    values : f32 array
        `[batch, side · side, hidden]`.
    scale : int

    Returns
    -------
    f32 array
        `[batch, (side / scale)², hidden · scale²]`.
    """
    batch, patches, hidden = values.shape
    few = round(patches**0.5) // scale
    squares = values.reshape(batch, few, scale, few, scale, hidden).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(squares).reshape(batch, few * few, hidden * scale * scale)


def forward_vision(
    config: VisionConfig,
    weights: Mapping[str, np.ndarray],
    patches: np.ndarray,
    *,
    hold: Callable[[np.ndarray], np.ndarray] | None = None,
    row: operators.Row = operators.exact,
) -> VisionOutput:
    """Encode patches and project them for the text model.

    Parameters
    ----------
    config : VisionConfig
    weights : Mapping
        Canonical names to f32 arrays; every tensor is read once.
    patches : f32 array
        Of `cut_patches`.
    hold : callable or None
        What the machine keeps of K and V, as in `text.forward_text`.
    row : callable
        What becomes of every intermediate result.

    Returns
    -------
    VisionOutput
    """
    positions = weights["positions"][position_ids(config, round(patches.shape[1] ** 0.5))]
    residual = row(row(patches @ weights["patch"]) + (weights["patch_bias"] + positions))
    residuals, keys, values = [residual], [], []
    for layer in range(config.layers):
        at = f"layers.{layer}."
        normed = _norm(config, weights, residual, f"{at}norm1", row)
        query, key, value = (operators.split_heads(row(_linear(weights, normed, at + name)), config.heads)
                             for name in ("q", "k", "v"))
        if hold:
            key, value = hold(key), hold(value)
        mixed = operators.attention(query, key, value, None, row)
        residual = row(residual + row(_linear(weights, mixed, f"{at}o")))
        normed = _norm(config, weights, residual, f"{at}norm2", row)
        inner = operators.gelu_tanh(row(_linear(weights, normed, f"{at}fc1")), row)
        residual = row(residual + row(_linear(weights, inner, f"{at}fc2")))
        residuals.append(residual)
        keys.append(key)
        values.append(value)
    hidden = _norm(config, weights, residual, "post_norm", row)
    connector = row(pixel_shuffle(hidden, config.connector_scale) @ weights["connector"])
    return VisionOutput(hidden, connector, residuals, keys, values)


def _linear(weights, values, name):
    return values @ weights[name] + weights[f"{name}_bias"]


def _norm(config, weights, values, name, row):
    return operators.layer_norm(values, weights[name], weights[f"{name}_bias"], config.norm_eps, row)
