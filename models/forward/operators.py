"""Operators that the text and the vision forward share, on f32 arrays `[…, elements]` (spec §9.1).

`row` is what becomes of every intermediate result: nothing (`exact`), or a rounding to what a row or register holds.
"""

from collections.abc import Callable

import numpy as np

_QUERIES = 512  # rows of scores at a time
_GELU = np.float32(2 * 0.7978845608)
Row = Callable[[np.ndarray], np.ndarray]


def exact(values: np.ndarray) -> np.ndarray:
    """Keep values as they are.

    Returns
    -------
    f32 array
    """
    return values


def rms_norm(values: np.ndarray, weight: np.ndarray, eps: float, row: Row = exact) -> np.ndarray:
    """Divide by the root mean square of the last axis, times `weight`.

    Returns
    -------
    f32 array
    """
    return row(_divided(values, eps, row) * weight)


def _divided(values, eps, row):
    """Values by the root of their mean square plus `eps`."""
    mean = row(np.mean(np.square(values), axis=-1, keepdims=True) + np.float32(eps))
    return row(values * row(np.float32(1) / row(np.sqrt(mean))))


def layer_norm(values: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, row: Row = exact) -> np.ndarray:
    """Subtract the mean of the last axis, divide by the deviation; times `weight`, plus `bias`.

    Returns
    -------
    f32 array
    """
    centred = row(values - row(np.mean(values, axis=-1, keepdims=True)))
    return row(_divided(centred, eps, row) * weight + bias)


def silu(values: np.ndarray, row: Row = exact) -> np.ndarray:
    """Apply x / (1 + exp(−x)).

    Returns
    -------
    f32 array
    """
    return row(values * row(_sigmoid(values, row)))


def gelu_tanh(values: np.ndarray, row: Row = exact) -> np.ndarray:
    """Apply the tanh form of GELU, written with one exponential.

    Returns
    -------
    f32 array
    """
    return row(values * row(_sigmoid(row(_GELU * (values + np.float32(0.044715) * values**3)), row)))


def _sigmoid(values, row):
    with np.errstate(over="ignore"):  # exp of a large number is Inf, and 1 / Inf is 0
        return np.float32(1) / row(np.float32(1) + row(np.exp(-values)))


def split_heads(values: np.ndarray, heads: int) -> np.ndarray:
    """Cut rows into heads.

    Parameters
    ----------
    values : f32 array
        `[batch, tokens, heads · head_dim]`.
    heads : int

    Returns
    -------
    f32 array
        `[batch, heads, tokens, head_dim]`.
    """
    batch, tokens, width = values.shape
    return values.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def attention(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, past: int | None,
              row: Row = exact) -> np.ndarray:
    """Weigh values by the softmax of the scores, softmax(Q·Kᵀ / √head_dim)·V.

    Parameters
    ----------
    queries : f32 array
        `[batch, heads, tokens, head_dim]`.
    keys, values : f32 arrays
        `[batch, kv heads, keys, head_dim]`; heads / kv heads successive query heads share one.
    past : int or None
        Keys before the first query: a query sees those, its own and the ones between. None: every query sees every key.

    Returns
    -------
    f32 array
        `[batch, tokens, heads · head_dim]`.
    """
    batch, heads, tokens, head_dim = queries.shape
    kv_heads, length = keys.shape[1:3]
    grouped = queries.reshape(batch, kv_heads, heads // kv_heads, tokens, head_dim)
    out = np.empty(grouped.shape, dtype=np.float32)
    scale = np.float32(1 / np.sqrt(head_dim))
    for first in range(0, tokens, _QUERIES):
        rows = slice(first, min(first + _QUERIES, tokens))
        scores = row(grouped[:, :, :, rows] @ keys[:, :, None].swapaxes(-1, -2) * scale)
        if past is not None:
            hidden = np.arange(length) > past + np.arange(rows.start, rows.stop)[:, None]
            scores[..., hidden] = -np.inf
        weights = row(np.exp(row(scores - scores.max(axis=-1, keepdims=True))))
        shares = row(weights * row(np.float32(1) / row(weights.sum(axis=-1, keepdims=True))))
        out[:, :, :, rows] = row(shares @ values[:, :, None])
    return out.reshape(batch, heads, tokens, head_dim).swapaxes(1, 2).reshape(batch, tokens, heads * head_dim)
