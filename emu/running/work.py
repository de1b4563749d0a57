"""How long events keep a kernel busy, so that no call of one is deaf to Ctrl-C for long.

Work is counted in units of about a nanosecond, on the slow side: multiplications and additions of a product, elements
and rows of a transfer, elements of a vector row. It decides where calls are cut, never what they compute.
"""

from collections.abc import Iterator

import numpy as np

from .. import isa
from ..kernels import layout
from ..kernels.limits import ACCESS_BYTES

MOST_WORK = 1 << 28  # of one call: less than a second
_MOST_OF_ONE = 1 << 40  # no sum over a chunk leaves int64
_ELEMENT = 8  # of a vector
_ROW = 16
_TRANSFERRED = 32  # an element of a transfer, in formats that are decoded one by one
_ACCESS = 1024  # of a memory engine, in full event order
_CONTROL_ROW = 4  # an address that control checks


def data_work(cfg: np.ndarray, descriptors: np.ndarray) -> np.ndarray:
    """Estimate the work of one data event of each operation.

    Returns
    -------
    int64[NUM_OPS]
    """
    mlen, vlen, blen, hlen, heads = (
        int(cfg[at]) for at in
        (layout.CFG_MLEN, layout.CFG_VLEN, layout.CFG_BLEN, layout.CFG_HLEN, layout.CFG_BROADCAST)
    )
    transfer = max(rows * (_ROW + _TRANSFERRED * elements) for rows, elements in
                   descriptors[:, [layout.DESC_ROWS, layout.DESC_ELEMENTS]].tolist())
    units = {
        isa.M_MM: mlen * blen * blen, isa.M_TMM: mlen * blen * blen,
        isa.M_BMM: heads * mlen * mlen * hlen, isa.M_BTMM: heads * mlen * mlen * hlen,
        isa.M_MV: mlen * blen, isa.M_TMV: mlen * blen,
        isa.M_BMV: heads * mlen * hlen, isa.M_BTMV: heads * mlen * hlen,
        isa.M_BMM_WO: _ELEMENT * heads * mlen * mlen, isa.M_MM_WO: _ELEMENT * blen * blen,
        isa.M_BMV_WO: _ELEMENT * heads * mlen, isa.M_MV_WO: _ELEMENT * blen,
    }
    units |= dict.fromkeys((isa.H_PREFETCH_M, isa.H_PREFETCH_V, isa.H_STORE_V), transfer)
    work = np.full(isa.NUM_OPS, _ROW + _ELEMENT * vlen, dtype=np.int64)
    for op, found in units.items():
        work[op] = min(_ROW + found, _MOST_OF_ONE)
    return work


def timing_work(descriptors: np.ndarray) -> np.ndarray:
    """Estimate the work of one memory event of each DMA descriptor.

    Returns
    -------
    int64[NUM_DESCRIPTORS]
    """
    columns = [layout.DESC_ROWS, layout.DESC_ROW_BYTES, layout.DESC_SCALE_BYTES]
    return np.array([
        min(_ACCESS * max(1, rows) * (2 + (row_bytes + scale_bytes) // ACCESS_BYTES), _MOST_OF_ONE)
        for rows, row_bytes, scale_bytes in descriptors[:, columns].tolist()
    ], dtype=np.int64)


def chunk_length(descriptors: np.ndarray, most: int) -> int:
    """Choose how many events a chunk may hold, at most `most`: control checks every row of a transfer.

    Returns
    -------
    int
    """
    rows = int(descriptors[:, layout.DESC_ROWS].max(initial=1))
    return max(8, min(most, MOST_WORK // (_CONTROL_ROW * max(1, rows))))


def pieces(kinds: np.ndarray, work: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Cut events of `kinds` (indices into `work`) into runs of at most MOST_WORK, or of one event.

    Yields (first, past the last, whether it is one event of more work than that).
    """
    sums = np.cumsum(work[kinds])
    first, done = 0, 0
    while first < len(sums):
        past = max(first + 1, int(np.searchsorted(sums, done + MOST_WORK, side="right")))
        total = int(sums[past - 1])
        yield first, past, total - done > MOST_WORK
        first, done = past, total
