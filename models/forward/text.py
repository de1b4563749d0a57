"""The text model's forward: prefill, decode with a cache, bidirectional (spec §9.1, §9.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
import numpy as np

from plena_emu.errors import EmuError

from ..configs import TextConfig
from ..weights import Weights
from . import operators
from .rope import rope_tables, rotate

Logits = Literal["last", "all", "none"]


class Cache(msgspec.Struct):
    """Keys (after RoPE) and values of every layer, each f32 `[batch, kv heads, tokens, head_dim]`."""

    keys: list[np.ndarray] = []
    values: list[np.ndarray] = []

    @property
    def tokens(self) -> int:
        """Length in tokens."""
        return self.keys[0].shape[2] if self.keys else 0


class TextOutput(msgspec.Struct):
    """What a forward gives.

    `hidden` is f32 `[batch, tokens, hidden]` after the final norm, `logits` `[batch, tokens or 1, vocab]` or None,
    `cache` holds past and new tokens. `residuals` are the embeddings and the residual stream after each layer.
    """

    hidden: np.ndarray
    logits: np.ndarray | None
    cache: Cache
    residuals: list[np.ndarray]


def embed(weights: Weights, ids: np.ndarray) -> np.ndarray:
    """Look tokens up in the embedding table.

    Parameters
    ----------
    weights : Weights
    ids : integer array
        `[batch, tokens]`.

    Returns
    -------
    f32 array
        `[batch, tokens, hidden]`.

    Raises
    ------
    EmuError
        An id is outside the vocabulary.
    """
    vocab, hidden = weights.shapes["embed"]
    check_ids(ids, vocab)
    rows, inverse = np.unique(ids, return_inverse=True)
    return weights.rows("embed", rows)[inverse.reshape(-1)].reshape(*ids.shape, hidden)


def check_ids(ids: np.ndarray, vocab: int, what: str = "tokens") -> None:
    """Refuse what are no ids `[batch, tokens]` of a vocabulary; `what` names them. Raises `EmuError`."""
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer) or not ids.size:
        raise EmuError(f"{what}: found {ids.dtype} of shape {list(ids.shape)}, expected integers [batch, tokens]")
    outside = (ids < 0) | (ids >= vocab)
    if outside.any():
        batch, token = np.argwhere(outside)[0]
        raise EmuError(f"{what}: found id {ids[batch, token]} at sequence {batch}, token {token}, expected 0 to"
                       f" {vocab - 1}")


def forward_text(
    config: TextConfig,
    weights: Mapping[str, np.ndarray],
    embeddings: np.ndarray,
    cache: Cache | None = None,
    *,
    logits: Logits = "last",
    hold: Callable[[np.ndarray], np.ndarray] | None = None,
    row: operators.Row = operators.exact,
) -> TextOutput:
    """Compute a prefill, or with a `cache` the tokens that follow it.

    Parameters
    ----------
    config : TextConfig
    weights : Mapping
        Canonical names to f32 arrays; every tensor is read once.
    embeddings : f32 array
        `[batch, tokens, hidden]`.
    cache : Cache or None
        Of the tokens before; it stays as it is.
    logits : "last", "all" or "none"
        Which tokens' logits are computed.
    hold : callable or None
        What the machine keeps of K and V, `[batch, kv heads, tokens, head_dim]` each; None keeps them exact.
    row : callable
        What becomes of every intermediate result; the logits stay exact.

    Returns
    -------
    TextOutput

    Raises
    ------
    EmuError
        The sequence is too long for the model, or a bidirectional model got a cache.
    """
    past = cache.tokens if cache else 0
    tokens = embeddings.shape[1]
    config.check_length(past + tokens)
    if past and not config.causal:
        raise EmuError(f"model {config.name}: attends in both directions, so there is no decode")
    tables = rope_tables(config, past, tokens)
    residual = np.asarray(embeddings, dtype=np.float32)
    residuals, new = [residual], Cache([], [])
    for layer in range(config.layers):
        part = _Part(weights, f"layers.{layer}.")
        before = (cache.keys[layer], cache.values[layer]) if cache and past else None
        attended, keys, values = _attend(config, part, residual, before, tables, hold, row)
        residual = row(residual + attended)
        new.keys.append(keys)
        new.values.append(values)
        normed = operators.rms_norm(residual, part["ffn_norm"], config.norm_eps, row)
        gated = row(operators.silu(row(normed @ part["gate"]), row) * row(normed @ part["up"]))
        residual = row(residual + row(gated @ part["down"]))
        residuals.append(residual)
    hidden = operators.rms_norm(residual, weights["final_norm"], config.norm_eps, row)
    return TextOutput(hidden, _logits(hidden, weights, logits), new, residuals)


class _Part:
    """Tensors of one layer."""

    def __init__(self, weights, prefix):
        self._weights = weights
        self._prefix = prefix

    def __getitem__(self, name):
        return self._weights[self._prefix + name]

    def linear(self, values, name, bias):
        """values · W, plus the bias if the model has one."""
        product = values @ self[name]
        return product + self[f"{name}_bias"] if bias else product


def _attend(config, part, residual, before, tables, hold, row):
    """Output of the attention block, and K and V with what was `before`."""
    normed = operators.rms_norm(residual, part["attn_norm"], config.norm_eps, row)
    queries, keys, values = (
        operators.split_heads(row(part.linear(normed, name, config.qkv_bias)), heads)
        for name, heads in (("q", config.heads), ("k", config.kv_heads), ("v", config.kv_heads))
    )
    if config.qk_norm:
        queries = operators.rms_norm(queries, part["q_norm"], config.norm_eps, row)
        keys = operators.rms_norm(keys, part["k_norm"], config.norm_eps, row)
    queries, keys = row(rotate(queries, *tables)), row(rotate(keys, *tables))
    if hold:
        keys, values = hold(keys), hold(values)
    past = 0
    if before:
        past = before[0].shape[2]
        keys, values = (np.concatenate(pair, axis=2) for pair in zip(before, (keys, values), strict=True))
    mixed = operators.attention(queries, keys, values, past if config.causal else None, row)
    return row(part.linear(mixed, "o", config.out_bias)), keys, values


def _logits(hidden, weights, which):
    """Logits of all tokens, of the last, or none."""
    if which == "none":
        return None
    return (hidden if which == "all" else hidden[:, -1:]) @ weights["lm_head"]
