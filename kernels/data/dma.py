"""Move the data of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V (spec §3.2, §3.3, MX blocks §2.4).

Only what is in the HBM is delivered: bytes outside it, and scale bytes past the end of the one
64-byte block that is read for them, are 0. With production DMA (spec §7.2) all scale bytes are delivered.

`codes` is scratch uint8[2, n]: the packed elements and the packed scales of one row.
"""

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_MOE,
    DESC_BLOCK,
    DESC_ELEMENTS,
    DESC_FORMAT,
    DESC_ROW_BYTES,
    DESC_ROWS,
    DESC_SCALE_BYTES,
    DESC_SCALE_FORMAT,
    FMT_BITS,
)
from ..limits import ACCESS_BYTES, HBM_PAGE
from ..memory.dma_address import (
    delivered_scales,
    row_elements,
    row_scales,
    row_scales_delivered,
    row_steps,
    rows_at,
)
from .mx_decode import HAS_TABLES, decode_simd, decode_tables, fits_simd, fits_tables, touch
from .numerics import decode, encode_block, encode_plain, read_code, write_code
from .row_lanes import round_values

AHEAD = 16  # rows


@kernel
def fetch(hbm, address, length, out):
    """Copy HBM bytes [address, address + length) to `out`; bytes outside the HBM are 0."""
    size = hbm.shape[0]
    for i in range(length):
        out[i] = hbm[address + i] if 0 <= address + i < size else 0


@kernel
def decode_code(formats, tables, fmt_id, codes, index):
    """Decode code number `index` of a packed row in format `fmt_id`."""
    width = formats[fmt_id, FMT_BITS]
    code = read_code(codes, index * width, width)
    return tables[fmt_id, code] if width <= 8 else decode(code, formats[fmt_id])


@kernel
def decode_row(formats, tables, descriptor, codes, out, o):
    """Compute out[o : o + n] = elements times block scales of the packed row in `codes` (§2.2, §2.4)."""
    block = descriptor[DESC_BLOCK]
    elements = codes[0]
    scales = codes[1]
    for i in range(descriptor[DESC_ELEMENTS]):
        value = decode_code(formats, tables, descriptor[DESC_FORMAT], elements, i)
        if block > 0:
            value *= decode_code(formats, tables, descriptor[DESC_SCALE_FORMAT], scales, i // block)
        out[o + i] = value


@kernel
def fetch_row(formats, tables, hbm, codes, descriptor, index, scale_index, step, row, out, o):
    """Read and decode one row of a prefetch into out[o : o + n]."""
    slen = descriptor[DESC_SCALE_BYTES]
    got = 0
    fetch(hbm, row_elements(descriptor, index, row, step), descriptor[DESC_ROW_BYTES], codes[0])
    if slen > 0:
        scale_at = row_scales(descriptor, scale_index, row, step)
        got = row_scales_delivered(descriptor, scale_at)
        fetch(hbm, scale_at, got, codes[1])
    # And one more: scales of less than a byte may end within a byte that is not read.
    for i in range(got, min(slen + 1, codes.shape[1])):
        codes[1, i] = 0
    decode_row(formats, tables, descriptor, codes, out, o)


@small
def touch_row(hbm, address, scale_at, length):
    """Have a row that is decoded soon brought into the cache: rows are too far apart for the CPU to see it coming."""
    for line in range(0, length, ACCESS_BYTES):
        touch(hbm, address + line)
    touch(hbm, scale_at)


@kernel
def prefetch_simd(formats, tables, halves, hbm, codes, descriptor, index, scale_index, step, count, out, first):
    """Run `prefetch` for the formats that `mx_decode` handles; a row partly outside the HBM goes the general way."""
    n, block = descriptor[DESC_ELEMENTS], descriptor[DESC_BLOCK]
    length, slen = descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    fmt = formats[descriptor[DESC_FORMAT]]
    scales = tables[descriptor[DESC_SCALE_FORMAT]]
    size = hbm.shape[0]
    by_tables = fits_tables(fmt, formats[descriptor[DESC_SCALE_FORMAT]], block, n)
    half = halves[descriptor[DESC_FORMAT]]
    steps = row_steps(descriptor, step)
    packed = steps[0]
    for row in range(min(AHEAD, count)):
        address, scale_at = rows_at(steps, index, scale_index, row)
        touch_row(hbm, address, scale_at, length)
    for row in range(count):
        if row + AHEAD < count:
            address, scale_at = rows_at(steps, index, scale_index, row + AHEAD)
            touch_row(hbm, address, scale_at, length)
        address, scale_at = rows_at(steps, index, scale_index, row)
        inside = 0 <= address <= size - length and 0 <= scale_at <= size - slen
        inside = inside and (packed or delivered_scales(scale_at, slen) == slen)
        if HAS_TABLES and inside and by_tables:
            decode_tables(hbm, address, scale_at, half, n, block, out, (first + row) * n)
        elif inside:
            decode_simd(hbm, address, scale_at, fmt, scales, n, block, out, (first + row) * n)
        else:
            fetch_row(formats, tables, hbm, codes, descriptor, index, scale_index, step, row, out, (first + row) * n)


@kernel
def prefetch(formats, tables, halves, hbm, codes, descriptor, index, scale_index, step, count, out, first):
    """Read and decode `count` rows into `out` from row `first` on (rows of n f32, row-major)."""
    n = descriptor[DESC_ELEMENTS]
    fmt, scale_fmt = formats[descriptor[DESC_FORMAT]], formats[descriptor[DESC_SCALE_FORMAT]]
    if fits_simd(fmt, descriptor[DESC_BLOCK]) and scale_fmt[FMT_BITS] == 8:
        prefetch_simd(formats, tables, halves, hbm, codes, descriptor, index, scale_index, step, count, out, first)
        return
    for row in range(count):
        fetch_row(formats, tables, hbm, codes, descriptor, index, scale_index, step, row, out, (first + row) * n)


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
    """Mark the HBM pages a store wrote."""
    for page in range(address >> HBM_PAGE, ((address + length - 1) >> HBM_PAGE) + 1):
        hbm_touched[page] = 1


@kernel
def encode_row(formats, descriptor, moe, rows, at, codes):
    """Encode the row of f32 at `at` into `codes`."""
    n = descriptor[DESC_ELEMENTS]
    fmt = formats[descriptor[DESC_FORMAT]]
    width = fmt[FMT_BITS]
    block = descriptor[DESC_BLOCK]
    if block == 0:
        for i in range(n):
            write_code(codes[0], i * width, width, encode_plain(rows[at + i], fmt))
        return
    scale_fmt = formats[descriptor[DESC_SCALE_FORMAT]]
    for b in range(n // block):
        encode_block(
            rows, at + b * block, block, fmt, scale_fmt, moe, codes[0], b * block * width, codes[1],
            b * scale_fmt[FMT_BITS],
        )


@kernel
def store_rows(cfg, formats, descriptor, rows, hbm, hbm_touched, codes, first, index, scale_index, step):
    """Execute H_STORE_V: encode rows and write them to the HBM; control has checked every address."""
    length = descriptor[DESC_ROW_BYTES]
    slen = descriptor[DESC_SCALE_BYTES]
    for row in range(descriptor[DESC_ROWS]):
        encode_row(formats, descriptor, cfg[CFG_MOE], rows, (first + row) * descriptor[DESC_ELEMENTS], codes)
        address = row_elements(descriptor, index, row, step)
        put(hbm, address, length, codes[0])
        mark_written(hbm_touched, address, length)
        if slen > 0:
            address = row_scales(descriptor, scale_index, row, step)
            put(hbm, address, slen, codes[1])
            mark_written(hbm_touched, address, slen)


@kernel
def mark_tiles(tile_touched, first, count):
    """Mark the tiles a prefetch wrote."""
    for tile in range(first, first + count):
        tile_touched[tile] = 1
