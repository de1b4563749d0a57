"""Dump files (spec §2.7, §5.4): sparse, in proportion to what the program touched, the whole set or none of it."""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..atomic_files import OutputSet
from ..errors import EmuError
from ..kernels.limits import HBM_PAGE
from .formats import pack_sram, round_words
from .lazy_arrays import runs_of

CHUNK_VALUES = 1 << 20  # values encoded at a time


class DumpFile(NamedTuple):
    """What a dump file is to hold.

    Attributes
    ----------
    name : str
    size : int
        Bytes; what no piece covers is zero.
    pieces : iterable of (int, bytes)
        Offset and content, in any order.
    """

    name: str
    size: int
    pieces: Iterable[tuple[int, Any]]


def write_dumps(directory: str, dumps: Iterable[DumpFile]) -> list[str]:
    """Write the dumps of a run as a set: all of them, or where one cannot be written none.

    Returns
    -------
    list of str
        Their paths.

    Raises
    ------
    EmuError
        One cannot be written; what had its name before is still there.
    """
    paths = []
    try:
        with OutputSet() as outputs:
            for dump in dumps:
                paths.append(os.path.join(directory, dump.name))
                _write_sparse(outputs.open(paths[-1]), dump)
    except OSError as error:
        path = error.filename or paths[-1]
        raise EmuError(f"dump {os.fsdecode(path)}: cannot write: {error.strerror or error}; no dump of this run is"
                       " kept") from None
    return paths


def _write_sparse(file, dump):
    for offset, data in dump.pieces:
        file.seek(offset)
        file.write(data)
    file.truncate(dump.size)


def _chunks(first, end, unit):
    """Cut [first, end) of things of `unit` values into ranges of at most CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // unit)
    for at in range(first, end, step):
        yield at, min(end, at + step)


def vector_pieces(row_words, row_touched, vlen, mantissa):
    """Yield (offset, bytes) of every run of touched vector rows."""
    row_bytes = vlen * (9 + mantissa) // 8
    for first, end in runs_of(row_touched):
        for a, b in _chunks(first, end, vlen):
            yield a * row_bytes, pack_sram(row_words[a * vlen : b * vlen], mantissa)


def matrix_pieces(tiles, tile_touched, mlen, mantissa):
    """Yield (offset, bytes) of every touched tile; values are rounded to the SRAM type here (§1.2)."""
    size = mlen * mlen
    tile_bytes = size * (9 + mantissa) // 8
    for first, end in runs_of(tile_touched):
        for tile in range(first, end):
            words = tiles[tile * size : (tile + 1) * size].view(np.uint32)
            rounded = np.empty_like(words)
            round_words(words, rounded, mantissa)
            yield tile * tile_bytes, pack_sram(rounded, mantissa)


def hbm_pieces(hbm, preloaded, hbm_touched):
    """Yield (offset, bytes) of the preload and of every written page."""
    pages = hbm_touched.copy()
    pages[: (preloaded + (1 << HBM_PAGE) - 1) >> HBM_PAGE] = 1
    for first, end in runs_of(pages):
        for page in range(first, end):
            yield page << HBM_PAGE, hbm[page << HBM_PAGE : (page + 1) << HBM_PAGE]
