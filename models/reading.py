"""Reading weights for the image: rows at a time, columns padded (spec §9.5)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .weights import Weights

_CHUNK = 1 << 22  # elements that are read at a time


def read_rows(weights: Weights, name: str, columns: int | None = None) -> Iterator[np.ndarray]:
    """Read a linear some rows at a time.

    Yields
    ------
    f32 arrays
        `[rows, columns]`, padded with 0 to `columns` where given.
    """
    rows, width = weights.shapes[name]
    step = max(1, _CHUNK // width)
    for first in range(0, rows, step):
        yield wide(weights.rows(name, slice(first, min(rows, first + step))), columns or width)


def wide(values: np.ndarray, columns: int) -> np.ndarray:
    """Pad a matrix with columns of 0.

    Returns
    -------
    f32 array
        `[rows, columns]`.
    """
    if values.shape[1] == columns:
        return values
    return np.pad(values, ((0, 0), (0, columns - values.shape[1])))


def split_name(name: str) -> tuple[str, int | None]:
    """Split `W_q_3` into name and layer; the layer of `final_norm` is None.

    Returns
    -------
    tuple of str and int or None
    """
    head, _, number = name.rpartition("_")
    return (head, int(number)) if number.isdigit() else (name, None)
