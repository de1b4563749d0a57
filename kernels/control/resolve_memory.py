"""Resolve addresses of H_PREFETCH_M, H_PREFETCH_V and H_STORE_V and check them (spec §1.7, §3.2, §3.3)."""

from plena_emu import isa

from ..compiler.jit import kernel
from ..dma_address import delivered_scales, element_address, scale_address
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
    DESC_ELEMENTS,
    DESC_RATIO,
    DESC_ROW_BYTES,
    DESC_ROWS,
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
from ..status import HBM_WRITE_OUTSIDE, OK
from .resolve import append, check_rows, check_tiles, fail


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
    span = (rows - 1) * step
    if rows == 0 or span > U32_MASK or index < 0 or scale_index < 0:
        return False
    if index + span + descriptor[DESC_ROW_BYTES] > size:
        return False
    return descriptor[DESC_SCALE_BYTES] == 0 or (
        scale_address(scale_index, rows - 1, step, descriptor[DESC_RATIO]) + descriptor[DESC_SCALE_BYTES] <= size
    )


@kernel
def prefetch_outside(descriptor, index, scale_index, step, size):
    """Count the bytes a prefetch asks for outside the HBM, which are delivered as 0."""
    if stays_inside(descriptor, index, scale_index, step, size):
        return 0
    outside = 0
    for row in range(descriptor[DESC_ROWS]):
        outside += bytes_outside(element_address(index, row, step), descriptor[DESC_ROW_BYTES], size)
        if descriptor[DESC_SCALE_BYTES] > 0:
            address = scale_address(scale_index, row, step, descriptor[DESC_RATIO])
            outside += bytes_outside(address, delivered_scales(address, descriptor[DESC_SCALE_BYTES]), size)
    return outside


@kernel
def store_outside(descriptor, index, scale_index, step, size):
    """Find the first byte address a store would write outside the HBM.

    Returns `size` - 1 when there is none.
    """
    if stays_inside(descriptor, index, scale_index, step, size):
        return size - 1
    for row in range(descriptor[DESC_ROWS]):
        address = element_address(index, row, step)
        if bytes_outside(address, descriptor[DESC_ROW_BYTES], size) > 0:
            return max(address, size) if address >= 0 else address
        if descriptor[DESC_SCALE_BYTES] > 0:
            address = scale_address(scale_index, row, step, descriptor[DESC_RATIO])
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
    index = base + offset
    scale_index = index
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
