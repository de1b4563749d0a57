"""Data movement of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V (spec §3.2, §3.3, MX blocks §2.4).

Only what is in the HBM is delivered: bytes outside it, and scale bytes past the end of the one
64-byte block that is read for them, are 0.

`codes` is scratch uint8[2, n]: the packed elements and the packed scales of one row.
"""

from .dma_address import delivered_scales, element_address, scale_address
from .jit import kernel
from .layout import (
    CFG_MOE, FMT_BITS, SH_BLOCK, SH_ELEM, SH_LEN, SH_N, SH_RATIO, SH_ROWS, SH_SCALE_FMT, SH_SLEN,
)
from .mx_lanes import decode_lanes, fits_lanes
from .numerics import decode, encode_block, encode_plain, read_code, round_row, write_code

HBM_PAGE = 16  # log2 of the bytes of a tracked HBM page


@kernel
def fetch(hbm, address, length, out):
    """Copy HBM bytes [address, address + length) to `out`; bytes outside the HBM are 0."""
    size = hbm.shape[0]
    for i in range(length):
        out[i] = hbm[address + i] if 0 <= address + i < size else 0


@kernel
def decode_code(formats, tables, fmt_id, codes, index):
    """Value of the code number `index` of a packed row in format `fmt_id`."""
    width = formats[fmt_id, FMT_BITS]
    code = read_code(codes, index * width, width)
    return tables[fmt_id, code] if width <= 8 else decode(code, formats[fmt_id])


@kernel
def decode_row(formats, tables, shape, codes, out, o):
    """out[o : o + n] = elements times block scales of the packed row in `codes` (§2.2, §2.4)."""
    block = shape[SH_BLOCK]
    elements = codes[0]
    scales = codes[1]
    for i in range(shape[SH_N]):
        value = decode_code(formats, tables, shape[SH_ELEM], elements, i)
        if block > 0:
            value *= decode_code(formats, tables, shape[SH_SCALE_FMT], scales, i // block)
        out[o + i] = value


@kernel
def fetch_row(formats, tables, hbm, codes, shape, index, scale_index, step, row, out, o):
    """Read and decode one row of a prefetch into out[o : o + n]."""
    address = element_address(index, row, step)
    length = shape[SH_LEN]
    slen = shape[SH_SLEN]
    size = hbm.shape[0]
    inside = 0 <= address <= size - length
    scale_at = 0
    got = 0
    if slen > 0:
        scale_at = scale_address(scale_index, row, step, shape[SH_RATIO])
        got = delivered_scales(scale_at, slen)
        inside = inside and got == slen and 0 <= scale_at <= size - slen
    fmt = formats[shape[SH_ELEM]]
    if inside and fits_lanes(fmt, shape[SH_BLOCK]) and formats[shape[SH_SCALE_FMT], FMT_BITS] == 8:
        scale_table = tables[shape[SH_SCALE_FMT]]
        decode_lanes(hbm, address, scale_at, fmt, scale_table, shape[SH_N], shape[SH_BLOCK], out, o)
        return
    fetch(hbm, address, length, codes[0])
    fetch(hbm, scale_at, got, codes[1])
    for i in range(got, slen):
        codes[1, i] = 0
    decode_row(formats, tables, shape, codes, out, o)


@kernel
def prefetch(formats, tables, hbm, codes, shape, index, scale_index, step, count, out, first):
    """Read and decode `count` rows into `out` from row `first` on (rows of n f32, row-major)."""
    n = shape[SH_N]
    for row in range(count):
        fetch_row(formats, tables, hbm, codes, shape, index, scale_index, step, row, out, (first + row) * n)


@kernel
def finish_rows(row_words, row_touched, first, count, vlen, man_bits):
    """Round prefetched vector rows to the SRAM type."""
    round_row(row_words, first * vlen, count * vlen, man_bits)
    for row in range(first, first + count):
        row_touched[row] = 1


@kernel
def mark_written(hbm_touched, address, length):
    """Remember the HBM pages a store wrote."""
    for page in range(address >> HBM_PAGE, ((address + length - 1) >> HBM_PAGE) + 1):
        hbm_touched[page] = 1


@kernel
def encode_row(formats, shape, moe, rows, at, codes):
    """Encode the row of f32 at `at` into `codes`."""
    n = shape[SH_N]
    fmt = formats[shape[SH_ELEM]]
    width = fmt[FMT_BITS]
    block = shape[SH_BLOCK]
    if block == 0:
        for i in range(n):
            write_code(codes[0], i * width, width, encode_plain(rows[at + i], fmt))
        return
    scale_fmt = formats[shape[SH_SCALE_FMT]]
    for b in range(n // block):
        encode_block(
            rows, at + b * block, block, fmt, scale_fmt, moe, codes[0], b * block * width, codes[1],
            b * scale_fmt[FMT_BITS],
        )


@kernel
def store_rows(cfg, formats, shape, rows, hbm, hbm_touched, codes, first, index, scale_index, step):
    """H_STORE_V: encode rows and write them to the HBM; control has checked every address."""
    length = shape[SH_LEN]
    slen = shape[SH_SLEN]
    for row in range(shape[SH_ROWS]):
        encode_row(formats, shape, cfg[CFG_MOE], rows, (first + row) * shape[SH_N], codes)
        address = element_address(index, row, step)
        for i in range(length):
            hbm[address + i] = codes[0, i]
        mark_written(hbm_touched, address, length)
        if slen > 0:
            address = scale_address(scale_index, row, step, shape[SH_RATIO])
            for i in range(slen):
                hbm[address + i] = codes[1, i]
            mark_written(hbm_touched, address, slen)


@kernel
def mark_tiles(tile_touched, first, count):
    """Remember the tiles a prefetch wrote."""
    for tile in range(first, first + count):
        tile_touched[tile] = 1
