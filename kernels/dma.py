"""Data movement of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V (spec §3.2, §3.3, MX blocks §2.4).

Only what is in the HBM is delivered: bytes outside it, and scale bytes past the end of the one
64-byte block that is read for them, are 0.
"""

import numpy as np

from plena_emu import isa

from .dma_address import delivered_scales, element_address, scale_address
from .jit import kernel
from .layout import (
    CFG_MLEN, CFG_MOE, CFG_ROWS, CFG_SRAM_MANTISSA, CFG_VLEN, FMT_BITS, SH_BLOCK, SH_ELEM, SH_LEN, SH_N, SH_RATIO,
    SH_ROWS, SH_SCALE_FMT, SH_SLEN,
)
from .numerics import decode, encode_block, encode_plain, read_code, round_row, write_code

HBM_PAGE = 16  # log2 of the bytes of a tracked HBM page


@kernel
def fetch(hbm, address, length, out):
    """Copy HBM bytes [address, address + length) to `out`; bytes outside the HBM are 0."""
    size = hbm.shape[0]
    if address >= 0 and address + length <= size:
        out[:length] = hbm[address : address + length]
        return
    out[:length] = 0
    if 0 <= address < size:
        inside = size - address
        out[:inside] = hbm[address:size]


@kernel
def decode_codes(d, fmt_id, codes, n, out, o):
    """out[o : o + n] = values of `n` packed codes of format `fmt_id`."""
    fmt = d.formats[fmt_id]
    width = fmt[FMT_BITS]
    if width == 8:
        table = d.tables[fmt_id]
        for i in range(n):
            out[o + i] = table[codes[i]]
    elif width < 8:
        for i in range(n):
            out[o + i] = d.tables[fmt_id, read_code(codes, i * width, width)]
    else:
        for i in range(n):
            out[o + i] = decode(read_code(codes, i * width, width), fmt)


@kernel
def apply_scales(d, shape, n, out, o):
    """Multiply every block of a decoded row by its scale (§2.4)."""
    block = shape[SH_BLOCK]
    scale_id = shape[SH_SCALE_FMT]
    width = d.formats[scale_id, FMT_BITS]
    for b in range(n // block):
        code = read_code(d.scale_codes, b * width, width)
        scale = d.tables[scale_id, code] if width <= 8 else decode(code, d.formats[scale_id])
        for i in range(o + b * block, o + (b + 1) * block):
            out[i] *= scale


@kernel
def fetch_row(d, shape, index, scale_index, step, row, out, o):
    """Read and decode one row of a prefetch into out[o : o + n]."""
    n = shape[SH_N]
    fetch(d.hbm, element_address(index, row, step), shape[SH_LEN], d.codes)
    decode_codes(d, shape[SH_ELEM], d.codes, n, out, o)
    slen = shape[SH_SLEN]
    if slen > 0:
        address = scale_address(scale_index, row, step, shape[SH_RATIO])
        got = delivered_scales(address, slen)
        fetch(d.hbm, address, got, d.scale_codes)
        d.scale_codes[got:slen] = 0
        apply_scales(d, shape, n, out, o)


@kernel
def prefetch_tiles(d, shape, tile, index, scale_index, step):
    """H_PREFETCH_M: rows fill tiles row-major, MLEN rows a tile."""
    mlen = d.cfg[CFG_MLEN]
    for row in range(shape[SH_ROWS]):
        fetch_row(d, shape, index, scale_index, step, row, d.tiles, (tile * mlen + row) * mlen)
    for t in range(shape[SH_ROWS] // mlen):
        d.tile_touched[tile + t] = 1


@kernel
def prefetch_rows(d, shape, first, index, scale_index, step):
    """H_PREFETCH_V: rows past the end of the SRAM are dropped."""
    vlen = d.cfg[CFG_VLEN]
    count = min(shape[SH_ROWS], d.cfg[CFG_ROWS] - first)
    for row in range(count):
        at = (first + row) * vlen
        fetch_row(d, shape, index, scale_index, step, row, d.rows, at)
        round_row(d.row_words, at, vlen, d.cfg[CFG_SRAM_MANTISSA])
        d.row_touched[first + row] = 1


@kernel
def mark_written(d, address, length):
    """Remember the HBM pages a store wrote."""
    for page in range(address >> HBM_PAGE, ((address + length - 1) >> HBM_PAGE) + 1):
        d.hbm_touched[page] = 1


@kernel
def encode_row(d, shape, at):
    """Encode the row of f32 at `at` into `codes` and `scale_codes`."""
    n = shape[SH_N]
    fmt = d.formats[shape[SH_ELEM]]
    width = fmt[FMT_BITS]
    block = shape[SH_BLOCK]
    if block == 0:
        for i in range(n):
            write_code(d.codes, i * width, width, encode_plain(d.rows[at + i], fmt))
        return
    scale_fmt = d.formats[shape[SH_SCALE_FMT]]
    for b in range(n // block):
        encode_block(
            d.rows, at + b * block, block, fmt, scale_fmt, d.cfg[CFG_MOE],
            d.codes, b * block * width, d.scale_codes, b * scale_fmt[FMT_BITS],
        )


@kernel
def store_rows(d, shape, first, index, scale_index, step):
    """H_STORE_V: encode rows and write them to the HBM; control has checked every address."""
    vlen = d.cfg[CFG_VLEN]
    length = shape[SH_LEN]
    slen = shape[SH_SLEN]
    for row in range(shape[SH_ROWS]):
        encode_row(d, shape, (first + row) * vlen)
        address = element_address(index, row, step)
        d.hbm[address : address + length] = d.codes[:length]
        mark_written(d, address, length)
        if slen > 0:
            address = scale_address(scale_index, row, step, shape[SH_RATIO])
            d.hbm[address : address + slen] = d.scale_codes[:slen]
            mark_written(d, address, slen)


@kernel
def transfer(d, op, target, shape_id, index, scale_index, step):
    """Execute an H_* event."""
    shape = d.shapes[shape_id]
    if op == isa.H_PREFETCH_M:
        prefetch_tiles(d, shape, target, index, scale_index, step)
    elif op == isa.H_PREFETCH_V:
        prefetch_rows(d, shape, target, index, scale_index, step)
    else:
        store_rows(d, shape, target, index, scale_index, step)
