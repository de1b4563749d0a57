"""Data movement of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V (spec §3.2, §3.3, MX blocks §2.4).

Only what is in the HBM is delivered: bytes outside it, and scale bytes past the end of the one
64-byte block that is read for them, are 0. With production DMA (spec §7.2) all scale bytes are delivered.

`codes` is scratch uint8[2, n]: the packed elements and the packed scales of one row.
"""

from ..compiler.jit import kernel
from ..dma_address import row_elements, row_scales, row_scales_delivered
from ..layout import (
    CFG_MOE,
    FMT_BITS,
    SH_BLOCK,
    SH_ELEM,
    SH_LEN,
    SH_N,
    SH_ROWS,
    SH_SCALE_FMT,
    SH_SLEN,
)
from ..limits import ACCESS_BYTES
from .mx_decode import decode_lanes, fits_lanes, touch
from .numerics import decode, encode_block, encode_plain, read_code, write_code
from .row_lanes import round_values

HBM_PAGE = 16  # log2 of the bytes of a tracked HBM page
AHEAD = 4  # rows


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
    slen = shape[SH_SLEN]
    got = 0
    fetch(hbm, row_elements(shape, index, row, step), shape[SH_LEN], codes[0])
    if slen > 0:
        scale_at = row_scales(shape, scale_index, row, step)
        got = row_scales_delivered(shape, scale_at)
        fetch(hbm, scale_at, got, codes[1])
    # And one more: scales of less than a byte may end within a byte that is not read.
    for i in range(got, min(slen + 1, codes.shape[1])):
        codes[1, i] = 0
    decode_row(formats, tables, shape, codes, out, o)


@kernel
def touch_row(hbm, shape, index, scale_index, step, row):
    """Have a row that is decoded soon brought into the cache: rows are too far apart for the CPU to see it coming."""
    address = row_elements(shape, index, row, step)
    for line in range(0, shape[SH_LEN], ACCESS_BYTES):
        touch(hbm, address + line)
    touch(hbm, row_scales(shape, scale_index, row, step))


@kernel
def prefetch_lanes(formats, tables, hbm, codes, shape, index, scale_index, step, count, out, first):
    """`prefetch` for the formats of `mx_lanes`; a row that is not wholly inside the HBM goes the general way."""
    n, length, slen, block = shape[SH_N], shape[SH_LEN], shape[SH_SLEN], shape[SH_BLOCK]
    fmt = formats[shape[SH_ELEM]]
    scales = tables[shape[SH_SCALE_FMT]]
    size = hbm.shape[0]
    for row in range(count):
        if row + AHEAD < count:
            touch_row(hbm, shape, index, scale_index, step, row + AHEAD)
        address = row_elements(shape, index, row, step)
        scale_at = row_scales(shape, scale_index, row, step)
        inside = 0 <= address <= size - length and 0 <= scale_at <= size - slen
        if inside and row_scales_delivered(shape, scale_at) == slen:
            decode_lanes(hbm, address, scale_at, fmt, scales, n, block, out, (first + row) * n)
        else:
            fetch_row(formats, tables, hbm, codes, shape, index, scale_index, step, row, out, (first + row) * n)


@kernel
def prefetch(formats, tables, hbm, codes, shape, index, scale_index, step, count, out, first):
    """Read and decode `count` rows into `out` from row `first` on (rows of n f32, row-major)."""
    n = shape[SH_N]
    if fits_lanes(formats[shape[SH_ELEM]], shape[SH_BLOCK]) and formats[shape[SH_SCALE_FMT], FMT_BITS] == 8:
        prefetch_lanes(formats, tables, hbm, codes, shape, index, scale_index, step, count, out, first)
        return
    for row in range(count):
        fetch_row(formats, tables, hbm, codes, shape, index, scale_index, step, row, out, (first + row) * n)


@kernel
def finish_rows(rows, row_words, row_touched, first, count, vlen, man_bits):
    """Round prefetched vector rows to the SRAM type."""
    round_values(rows, first * vlen, row_words, first * vlen, count * vlen, man_bits)
    for row in range(first, first + count):
        row_touched[row] = 1


@kernel
def put(hbm, address, length, source):
    """Copy bytes to the HBM."""
    target = hbm[address : address + length]
    for i in range(length):
        target[i] = source[i]


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
        address = row_elements(shape, index, row, step)
        put(hbm, address, length, codes[0])
        mark_written(hbm_touched, address, length)
        if slen > 0:
            address = row_scales(shape, scale_index, row, step)
            put(hbm, address, slen, codes[1])
            mark_written(hbm_touched, address, slen)


@kernel
def mark_tiles(tile_touched, first, count):
    """Remember the tiles a prefetch wrote."""
    for tile in range(first, first + count):
        tile_touched[tile] = 1
