"""Compute the row addresses of a DMA transfer (spec §3.2, §3.3; packed: §7.2)."""

import numpy as np

from ..compiler.jit import kernel, small
from ..layout import DESC_ELEMENTS, DESC_PACKED, DESC_RATIO, DESC_ROW_BYTES, DESC_SCALE_BYTES
from ..limits import ACCESS_BYTES, U32_MASK


@kernel
def element_address(index, row, step):
    """Compute the byte address of the first element of `row`; `index` is that of row 0."""
    return index + ((row * step) & U32_MASK)


@kernel
def scale_slope(step, ratio):
    """Compute the bytes, an f32, from the scales of one row to those of the next (§3.2)."""
    return np.float32(step) / np.float32(ratio)


@kernel
def scale_address_on(scale_index, row, slope):
    """Compute the byte address of the first scale of `row`, in the f32 arithmetic of §3.2."""
    return scale_index + np.int64(np.float32(row) * slope)


@kernel
def scale_address(scale_index, row, step, ratio):
    """Do the same from the step and the ratio of the type."""
    return scale_address_on(scale_index, row, scale_slope(step, ratio))


@kernel
def delivered_scales(address, slen):
    """Count the scale bytes one 64-byte read delivers: those up to the end of its block (§3.2)."""
    return min(slen, ACCESS_BYTES - (address & (ACCESS_BYTES - 1)))


@kernel
def packed_step(descriptor, step, row_bytes):
    """Compute the bytes, modulo 2^32, from one row of `row_bytes` bytes a row (elements or scales) to the next (§7.2).

    The division is exact: control has refused any step that is no whole number of bytes.
    """
    return (step * row_bytes // descriptor[DESC_ELEMENTS]) & U32_MASK


@kernel
def row_elements(descriptor, index, row, step):
    """Compute the byte address of the first element of `row` by the descriptor's rules; `step` counts elements."""
    if descriptor[DESC_PACKED] == 1:
        step = packed_step(descriptor, step, descriptor[DESC_ROW_BYTES])
    return element_address(index, row, step)


@kernel
def row_scales(descriptor, scale_index, row, step):
    """Compute the byte address of the first scale of `row` by the descriptor's rules; `step` counts elements."""
    if descriptor[DESC_PACKED] == 1:
        return element_address(scale_index, row, packed_step(descriptor, step, descriptor[DESC_SCALE_BYTES]))
    return scale_address(scale_index, row, step, descriptor[DESC_RATIO])


@kernel
def row_scales_delivered(descriptor, address):
    """Count the scale bytes that a prefetch delivers for a row whose scales begin at `address`."""
    scale_bytes = descriptor[DESC_SCALE_BYTES]
    return scale_bytes if descriptor[DESC_PACKED] == 1 else delivered_scales(address, scale_bytes)


@kernel
def row_steps(descriptor, step):
    """Work out once, for `rows_at`, what leads from one row to the next.

    Returns (whether rows are packed, bytes of elements, bytes of scales if packed, bytes of scales if not: an f32).
    """
    packed = descriptor[DESC_PACKED] == 1
    elements = packed_step(descriptor, step, descriptor[DESC_ROW_BYTES]) if packed else step
    scales = packed_step(descriptor, step, descriptor[DESC_SCALE_BYTES]) if packed else np.int64(0)
    return packed, elements, scales, scale_slope(step, descriptor[DESC_RATIO])


@small
def rows_at(steps, index, scale_index, row):
    """Compute the byte addresses of the first element and the first scale of `row`, as `row_elements`, `row_scales` do.

    Returns (address of the elements, of the scales).
    """
    packed, elements, scales, slope = steps
    if packed:
        return element_address(index, row, elements), element_address(scale_index, row, scales)
    return element_address(index, row, elements), scale_address_on(scale_index, row, slope)
