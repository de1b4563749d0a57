"""Define the arrays of the data pass."""

from typing import NamedTuple

import numpy as np


class DataState(NamedTuple):
    """Arrays that the data pass reads and writes, one-dimensional unless said.

    Vector SRAM rows are held as f32 already rounded to the SRAM type, so reading one costs nothing
    and a dump only has to drop zero bits.

    Attributes
    ----------
    cfg : int64[CFG_WIDTH]
        Geometry.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        DMA descriptors.
    formats : int64[n, FMT_WIDTH]
        Number formats.
    tables : float32[n, 256]
        Value of every code of the formats of up to 8 bits.
    halves : uint8[n, 256]
        Bytes of the values of codes 0 to 127, as `mx_decode` looks them up.
    rows : float32[ROWS * VLEN]
        Vector SRAM; `row_words` is the same memory as uint32.
    row_pairs : uint32[ROWS * VLEN / 2]
        Those rows as `pairs`.
    row_touched : uint8[ROWS]
        Whether a row was ever written, and whether it has its pairs: UNWRITTEN to FIT of `pairs`.
    tiles : float32[TILES * MLEN * MLEN]
        Matrix SRAM.
    tile_pairs : uint32[TILES * MLEN * MLEN / 2]
    tile_touched : uint8[TILES]
        The same of tiles.
    fp : float32[8]
        Scalar registers (bf16 values).
    fp_sram : float32[1024]
        bf16 values.
    int_sram : int64[1024]
        Shared with the control pass; only V_TOPK writes it here.
    m_accum : float32[BLEN * BLEN]
    hm_accum : float32[BROADCAST * MLEN * MLEN]
    hv_accum : float32[BROADCAST * MLEN]
    v_accum : float32[BLEN]
    hbm : uint8[HBM_SIZE]
    hbm_touched : uint8[ceil(HBM_SIZE / 65536)]
        1 for every 64 KiB page a store wrote.
    work : float32[]
        Room for one product and its operands, or for one row.
    partial_sums : float32[]
        Room for the partial sums of a block of a product, or of one row.
    codes : uint8[2, n]
        Room for the packed elements and the packed scales of one row of a transfer.
    exp_codes : uint16[65536]
        bf16 code of exp by that of its argument, 0 until it is needed.
    """

    cfg: np.ndarray
    descriptors: np.ndarray
    formats: np.ndarray
    tables: np.ndarray
    halves: np.ndarray
    rows: np.ndarray
    row_words: np.ndarray
    row_pairs: np.ndarray
    row_touched: np.ndarray
    tiles: np.ndarray
    tile_pairs: np.ndarray
    tile_touched: np.ndarray
    fp: np.ndarray
    fp_sram: np.ndarray
    int_sram: np.ndarray
    m_accum: np.ndarray
    hm_accum: np.ndarray
    hv_accum: np.ndarray
    v_accum: np.ndarray
    hbm: np.ndarray
    hbm_touched: np.ndarray
    work: np.ndarray
    partial_sums: np.ndarray
    codes: np.ndarray
    exp_codes: np.ndarray
