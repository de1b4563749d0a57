"""Addresses and checks of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V (spec §1.7, §3.2, §3.3; packed: §7.2)."""

from plena_emu import isa

from ..compiler.jit import kernel
from ..dma_address import packed_step, row_elements, row_scales, row_scales_delivered
from ..layout import (
    CFG_HBM_SIZE,
    CFG_MLEN,
    CFG_ROWS,
    CFG_VLEN,
    CTL_ADDR,
    CTL_DELTA,
    CTL_GP,
    CTL_MEM_EVENTS,
    CTL_OUTSIDE,
    CTL_PC,
    CTL_ROWS_DROPPED,
    CTL_SCALE,
    CTL_STRIDE,
    MEV_DELTA,
    MEV_INDEX,
    MEV_PC,
    MEV_SCALE,
    MEV_SHAPE,
    MEV_STEP,
    SH_BITS,
    SH_BLOCK,
    SH_LEN,
    SH_N,
    SH_PACKED,
    SH_RATIO,
    SH_ROWS,
    SH_SCALE_BITS,
    SH_SLEN,
    SHAPE_M_WEIGHT,
    SHAPE_STORE_ACT,
    SHAPE_V_ACT,
)
from ..limits import U32_MASK
from ..status import BITS_UNEVEN, BLOCK_MISALIGNED, HBM_WRITE_OUTSIDE, OK, PARTIAL_BYTES
from .resolve import append, check_rows, check_tiles, fail


@kernel
def bytes_outside(address, length, size):
    """How many of the bytes [address, address + length) lie outside an HBM of `size` bytes."""
    if address < 0:  # u64 addresses of 2^63 and more
        return length
    return min(length, max(0, address + length - size))


@kernel
def stays_inside(shape, index, scale_index, step, size):
    """Whether every row's bytes lie in the HBM, decided from the last row alone (False: not known)."""
    rows = shape[SH_ROWS]
    packed = shape[SH_PACKED] == 1
    span = (rows - 1) * (packed_step(shape, step, shape[SH_LEN]) if packed else step)
    scale_span = (rows - 1) * packed_step(shape, step, shape[SH_SLEN]) if packed else 0
    if rows == 0 or max(span, scale_span) > U32_MASK or index < 0 or scale_index < 0:
        return False
    if index + span + shape[SH_LEN] > size:
        return False
    return shape[SH_SLEN] == 0 or row_scales(shape, scale_index, rows - 1, step) + shape[SH_SLEN] <= size


@kernel
def prefetch_outside(shape, index, scale_index, step, size):
    """Bytes a prefetch asks for outside the HBM, which are delivered as 0."""
    if stays_inside(shape, index, scale_index, step, size):
        return 0
    outside = 0
    for row in range(shape[SH_ROWS]):
        outside += bytes_outside(row_elements(shape, index, row, step), shape[SH_LEN], size)
        if shape[SH_SLEN] > 0:
            address = row_scales(shape, scale_index, row, step)
            outside += bytes_outside(address, row_scales_delivered(shape, address), size)
    return outside


@kernel
def store_outside(shape, index, scale_index, step, size):
    """First byte address a store would write outside the HBM; `size` - 1 when there is none."""
    if stays_inside(shape, index, scale_index, step, size):
        return size - 1
    for row in range(shape[SH_ROWS]):
        address = row_elements(shape, index, row, step)
        if bytes_outside(address, shape[SH_LEN], size) > 0:
            return max(address, size) if address >= 0 else address
        if shape[SH_SLEN] > 0:
            address = row_scales(shape, scale_index, row, step)
            if bytes_outside(address, shape[SH_SLEN], size) > 0:
                return max(address, size) if address >= 0 else address
    return size - 1


@kernel
def check_target(op, address, rows, ctl):
    """Check the SRAM side of a transfer; counts prefetched rows past the vector SRAM, which are dropped."""
    if op == isa.H_PREFETCH_M:
        return check_tiles(ctl, address, rows // ctl[CFG_MLEN])
    if op == isa.H_STORE_V:
        return check_rows(ctl, address, rows, 1)
    first = address // ctl[CFG_VLEN]
    status = check_rows(ctl, address, 1, 1) if first < ctl[CFG_ROWS] else OK
    if status == OK:
        ctl[CTL_ROWS_DROPPED] += min(rows, max(0, first + rows - ctl[CFG_ROWS]))
    return status


@kernel
def select_shape(op, precision):
    """Row of the shape table for an operation and its precision field (0: weight or activation, else KV)."""
    first = SHAPE_M_WEIGHT
    if op == isa.H_PREFETCH_V:
        first = SHAPE_V_ACT
    elif op == isa.H_STORE_V:
        first = SHAPE_STORE_ACT
    return first if precision == 0 else first + 1


@kernel
def whole_bytes(ctl, count, bits):
    """Check that `count` values of `bits` bits are a whole number of bytes (§7.2)."""
    if (count * bits) & 7 != 0:
        return fail(ctl, PARTIAL_BYTES, count, bits)
    return OK


@kernel
def check_packing(ctl, shape, offset, step):
    """Check what §7.2 refuses instead of rounding it; `offset` and `step` count elements."""
    bits, scale_bits, block, n = shape[SH_BITS], shape[SH_SCALE_BITS], shape[SH_BLOCK], shape[SH_N]
    if bits & (bits - 1) != 0:
        return fail(ctl, BITS_UNEVEN, bits, 0)
    if scale_bits & (scale_bits - 1) != 0:
        return fail(ctl, BITS_UNEVEN, scale_bits, 0)
    for count in (n, offset, step):
        if block > 0 and count % block != 0:
            return fail(ctl, BLOCK_MISALIGNED, count, block)
        status = whole_bytes(ctl, count, bits)
        if status == OK and block > 0:
            status = whole_bytes(ctl, count // block, scale_bits)
        if status != OK:
            return status
    return whole_bytes(ctl, ctl[CTL_SCALE], bits) if block > 0 else OK


@kernel
def packed_addresses(shape, base, offset, scale):
    """(first element byte, first scale byte) of row 0 (§7.2); everything but `base` counts elements."""
    index = base + (offset * shape[SH_BITS] >> 3)
    if shape[SH_BLOCK] == 0:
        return index, index
    scales = (scale * shape[SH_BITS] >> 3) + (offset // shape[SH_BLOCK] * shape[SH_SCALE_BITS] >> 3)
    return index, base + (scales & U32_MASK)


@kernel
def append_memory(ctl, mem_events, shape_id, index, scale_index, step):
    """Append a memory event and start counting compute time anew."""
    at = ctl[CTL_MEM_EVENTS]
    mem_events[at, MEV_DELTA] = ctl[CTL_DELTA]
    mem_events[at, MEV_SHAPE] = shape_id
    mem_events[at, MEV_INDEX] = index
    mem_events[at, MEV_SCALE] = scale_index
    mem_events[at, MEV_STEP] = step
    mem_events[at, MEV_PC] = ctl[CTL_PC]
    ctl[CTL_MEM_EVENTS] = at + 1
    ctl[CTL_DELTA] = 0


@kernel
def resolve_memory(op, rd, rs1, rs2, rs3, f1, shapes, ctl, events, mem_events):
    """Events of a prefetch or a store."""
    shape_id = select_shape(op, f1)
    shape = shapes[shape_id]
    target = ctl[CTL_GP + rd]
    status = check_target(op, target, shape[SH_ROWS], ctl)
    if status != OK:
        return status
    offset = ctl[CTL_GP + rs1]
    base = ctl[CTL_ADDR + rs2]
    step = ctl[CTL_STRIDE] if rs3 == 1 else shape[SH_N]
    if shape[SH_PACKED] == 1:
        status = check_packing(ctl, shape, offset, step)
        if status != OK:
            return status
        index, scale_index = packed_addresses(shape, base, offset, ctl[CTL_SCALE])
    else:
        index = scale_index = base + offset
        if shape[SH_SLEN] > 0:
            scale_index = base + ctl[CTL_SCALE] + offset // shape[SH_RATIO]
    size = ctl[CFG_HBM_SIZE]
    if op == isa.H_STORE_V:
        outside = store_outside(shape, index, scale_index, step, size)
        if outside != size - 1:
            return fail(ctl, HBM_WRITE_OUTSIDE, outside, size)
    else:
        ctl[CTL_OUTSIDE] += prefetch_outside(shape, index, scale_index, step, size)
    append_memory(ctl, mem_events, shape_id, index, scale_index, step)
    unit = ctl[CFG_MLEN] * ctl[CFG_MLEN] if op == isa.H_PREFETCH_M else ctl[CFG_VLEN]
    return append(ctl, events, op, target // unit, shape_id, index, scale_index, step)
