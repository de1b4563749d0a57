"""Values of a machine that stands still, for people (`plena-emu inspect`)."""

from collections.abc import Iterable

import numpy as np

from ..machine.core import Machine
from .table import Table, render

PER_LINE = 8  # values


def values_text(title: str, values: np.ndarray, first: int = 0) -> str:
    """Write numbers, eight a line, each line with the index of its first.

    Returns
    -------
    str
        Floats with six significant digits: enough to tell bf16 values apart.
    """
    shown = [f"{value:.6g}" if values.dtype.kind == "f" else str(value) for value in values.tolist()]
    rows = [[str(first + at), *shown[at : at + PER_LINE]] for at in range(0, len(shown), PER_LINE)]
    width = max((len(row) for row in rows), default=1)
    body = [[*row, *[""] * (width - len(row))] for row in rows]
    return f"{title}\n{render([Table(body, 'r' * width, indent=2)])}" if body else title


def vector_rows(machine: Machine, rows: range) -> Iterable[str]:
    """Yield the text of rows of the vector SRAM."""
    vlen = machine.settings.vlen
    for row in rows:
        yield values_text(f"vector row {row} (elements {row * vlen} to {(row + 1) * vlen - 1})",
                          machine.data.rows[row * vlen : (row + 1) * vlen])


def matrix_tile(machine: Machine, tile: int) -> Iterable[str]:
    """Yield the text of the rows of a matrix tile."""
    mlen = machine.settings.mlen
    values = machine.data.tiles[tile * mlen * mlen : (tile + 1) * mlen * mlen].reshape(mlen, mlen)
    for row in range(mlen):
        yield values_text(f"tile {tile}, row {row}", values[row])


def hbm_bytes(machine: Machine, span: range) -> Iterable[str]:
    """Yield the text of bytes of the HBM, 32 a line."""
    for first in range(span.start, span.stop, 32):
        part = machine.data.hbm[first : min(first + 32, span.stop)]
        yield f"HBM {first}: {bytes(part).hex(' ')}"
