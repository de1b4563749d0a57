"""Dump files (spec §2.7, §5.4): sparse, in proportion to what the program touched, never half-written.

A dump is written under a temporary name in its directory and renamed when it is whole (`files.replacing`).
"""

import numpy as np

from ..atomic_files import replacing
from ..errors import EmuError
from ..kernels.data.dma import HBM_PAGE
from ..kernels.data.tables import round_words
from .formats import pack_sram
from .lazy_arrays import runs_of

CHUNK_VALUES = 1 << 20  # values encoded at a time


def write_sparse(path: str, size: int, pieces) -> None:
    """Write a file of `size` bytes that is zero but for `pieces`, an iterable of (offset, bytes).

    Raises
    ------
    EmuError
        The file cannot be written; nothing is left under its name or a temporary one.
    """
    try:
        with replacing(path) as file:
            for offset, data in pieces:
                file.seek(offset)
                file.write(data)
            file.truncate(size)
    except OSError as error:
        raise EmuError(f"dump {path}: cannot write: {error.strerror or error}") from None


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
