"""Resolve addresses of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V, check them (spec §1.7, §3.2, §3.3; packed: §7.2)."""

from plena_emu import isa

from ..compiler.jit import kernel
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
    DESC_BITS,
    DESC_BLOCK,
    DESC_ELEMENTS,
    DESC_PACKED,
    DESC_RATIO,
    DESC_ROW_BYTES,
    DESC_ROWS,
    DESC_SCALE_BITS,
    DESC_SCALE_BYTES,
    DESCRIPTOR_M_WEIGHT,
    DESCRIPTOR_STORE_ACT,
    DESCRIPTOR_V_ACT,
    MEV_DELTA,
    MEV_DESCRIPTOR,
    MEV_INDEX,
    MEV_PC,
    MEV_SCALE,
    MEV_STEP,
)
from ..limits import U32_MASK
from ..memory.dma_address import packed_step, row_elements, row_scales, row_scales_delivered
from ..status import BITS_UNEVEN, BLOCK_MISALIGNED, HBM_WRITE_OUTSIDE, OK, PARTIAL_BYTES
from .address_checks import append, check_rows, check_tiles, fail


@kernel
def bytes_outside(address, length, size):
    """Count the bytes of [address, address + length) that lie outside an HBM of `size` bytes."""
    if address < 0:  # u64 addresses of 2^63 and more
        return length
    return min(length, max(0, address + length - size))


@kernel
def stays_inside(descriptor, index, scale_index, step, size):
    """Tell whether every row's bytes lie in the HBM, decided from the last row alone (False: not known)."""
    rows = descriptor[DESC_ROWS]
    packed = descriptor[DESC_PACKED] == 1
    span = (rows - 1) * (packed_step(descriptor, step, descriptor[DESC_ROW_BYTES]) if packed else step)
    scale_span = (rows - 1) * packed_step(descriptor, step, descriptor[DESC_SCALE_BYTES]) if packed else 0
    if rows == 0 or max(span, scale_span) > U32_MASK or index < 0 or scale_index < 0:
        return False
    if index + span + descriptor[DESC_ROW_BYTES] > size:
        return False
    scale_bytes = descriptor[DESC_SCALE_BYTES]
    return scale_bytes == 0 or row_scales(descriptor, scale_index, rows - 1, step) + scale_bytes <= size


@kernel
def prefetch_outside(descriptor, index, scale_index, step, size):
    """Count the bytes a prefetch asks for outside the HBM, which are delivered as 0."""
    if stays_inside(descriptor, index, scale_index, step, size):
        return 0
    outside = 0
    for row in range(descriptor[DESC_ROWS]):
        outside += bytes_outside(row_elements(descriptor, index, row, step), descriptor[DESC_ROW_BYTES], size)
        if descriptor[DESC_SCALE_BYTES] > 0:
            address = row_scales(descriptor, scale_index, row, step)
            outside += bytes_outside(address, row_scales_delivered(descriptor, address), size)
    return outside


@kernel
def store_outside(descriptor, index, scale_index, step, size):
    """Find the first byte address a store would write outside the HBM.

    Returns `size` - 1 when there is none.
    """
    if stays_inside(descriptor, index, scale_index, step, size):
        return size - 1
    for row in range(descriptor[DESC_ROWS]):
        address = row_elements(descriptor, index, row, step)
        if bytes_outside(address, descriptor[DESC_ROW_BYTES], size) > 0:
            return max(address, size) if address >= 0 else address
        if descriptor[DESC_SCALE_BYTES] > 0:
            address = row_scales(descriptor, scale_index, row, step)
            if bytes_outside(address, descriptor[DESC_SCALE_BYTES], size) > 0:
                return max(address, size) if address >= 0 else address
    return size - 1


@kernel
def check_target(op, address, rows, ctl):
    """Check the SRAM side of a transfer; counts prefetched rows past the vector SRAM, which are dropped.

    Returns a status.
    """
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
def select_descriptor(op, precision):
    """Select the DMA descriptor of an operation and its precision field (0: weight or activation, else KV)."""
    first = DESCRIPTOR_M_WEIGHT
    if op == isa.H_PREFETCH_V:
        first = DESCRIPTOR_V_ACT
    elif op == isa.H_STORE_V:
        first = DESCRIPTOR_STORE_ACT
    return first if precision == 0 else first + 1


@kernel
def whole_bytes(ctl, count, bits):
    """Check that `count` values of `bits` bits are a whole number of bytes (§7.2)."""
    if (count * bits) & 7 != 0:
        return fail(ctl, PARTIAL_BYTES, count, bits)
    return OK


@kernel
def check_packing(ctl, descriptor, offset, step):
    """Check what §7.2 refuses instead of rounding it; `offset` and `step` count elements."""
    bits, scale_bits = descriptor[DESC_BITS], descriptor[DESC_SCALE_BITS]
    block, n = descriptor[DESC_BLOCK], descriptor[DESC_ELEMENTS]
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
def packed_addresses(descriptor, base, offset, scale):
    """(first element byte, first scale byte) of row 0 (§7.2); everything but `base` counts elements."""
    bits, block = descriptor[DESC_BITS], descriptor[DESC_BLOCK]
    index = base + (offset * bits >> 3)
    if block == 0:
        return index, index
    scales = (scale * bits >> 3) + (offset // block * descriptor[DESC_SCALE_BITS] >> 3)
    return index, base + (scales & U32_MASK)


@kernel
def append_memory(ctl, mem_events, number, index, scale_index, step):
    """Append a memory event and start counting compute time anew."""
    at = ctl[CTL_MEM_EVENTS]
    mem_events[at, MEV_DELTA] = ctl[CTL_DELTA]
    mem_events[at, MEV_DESCRIPTOR] = number
    mem_events[at, MEV_INDEX] = index
    mem_events[at, MEV_SCALE] = scale_index
    mem_events[at, MEV_STEP] = step
    mem_events[at, MEV_PC] = ctl[CTL_PC]
    ctl[CTL_MEM_EVENTS] = at + 1
    ctl[CTL_DELTA] = 0


@kernel
def resolve_memory(op, rd, rs1, rs2, rs3, f1, descriptors, ctl, events, mem_events):
    """Append the events of a prefetch or a store, for data and for timing.

    Returns a status.
    """
    number = select_descriptor(op, f1)
    descriptor = descriptors[number]
    target = ctl[CTL_GP + rd]
    status = check_target(op, target, descriptor[DESC_ROWS], ctl)
    if status != OK:
        return status
    offset = ctl[CTL_GP + rs1]
    base = ctl[CTL_ADDR + rs2]
    step = ctl[CTL_STRIDE] if rs3 == 1 else descriptor[DESC_ELEMENTS]
    if descriptor[DESC_PACKED] == 1:
        status = check_packing(ctl, descriptor, offset, step)
        if status != OK:
            return status
        index, scale_index = packed_addresses(descriptor, base, offset, ctl[CTL_SCALE])
    else:
        index = scale_index = base + offset
        if descriptor[DESC_SCALE_BYTES] > 0:
            scale_index = base + ctl[CTL_SCALE] + offset // descriptor[DESC_RATIO]
    size = ctl[CFG_HBM_SIZE]
    if op == isa.H_STORE_V:
        outside = store_outside(descriptor, index, scale_index, step, size)
        if outside != size - 1:
            return fail(ctl, HBM_WRITE_OUTSIDE, outside, size)
    else:
        ctl[CTL_OUTSIDE] += prefetch_outside(descriptor, index, scale_index, step, size)
    append_memory(ctl, mem_events, number, index, scale_index, step)
    unit = ctl[CFG_MLEN] * ctl[CFG_MLEN] if op == isa.H_PREFETCH_M else ctl[CFG_VLEN]
    return append(ctl, events, op, target // unit, number, index, scale_index, step)
