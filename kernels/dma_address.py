"""Row addresses of a DMA transfer (spec §3.2, §3.3; packed: §7.2)."""

import numpy as np

from .compiler.jit import kernel
from .layout import SH_LEN, SH_N, SH_PACKED, SH_RATIO, SH_SLEN
from .limits import ACCESS_BYTES, U32_MASK


@kernel
def element_address(index, row, step):
    """Byte address of the first element of `row`; `index` is that of row 0."""
    return index + ((row * step) & U32_MASK)


@kernel
def scale_address(scale_index, row, step, ratio):
    """Byte address of the first scale of `row`, in the f32 arithmetic of §3.2."""
    return scale_index + np.int64(np.float32(row) * (np.float32(step) / np.float32(ratio)))


@kernel
def delivered_scales(address, slen):
    """Scale bytes one 64-byte read delivers: those up to the end of its block (§3.2)."""
    return min(slen, ACCESS_BYTES - (address & (ACCESS_BYTES - 1)))


@kernel
def packed_step(shape, step, row_bytes):
    """Bytes, modulo 2^32, from one row of `row_bytes` bytes a row (elements or scales) to the next (§7.2).

    The division is exact: control has refused any step that is no whole number of bytes.
    """
    return (step * row_bytes // shape[SH_N]) & U32_MASK


@kernel
def row_elements(shape, index, row, step):
    """Byte address of the first element of `row` under the rules of the shape; `step` counts elements."""
    if shape[SH_PACKED] == 1:
        step = packed_step(shape, step, shape[SH_LEN])
    return element_address(index, row, step)


@kernel
def row_scales(shape, scale_index, row, step):
    """Byte address of the first scale of `row` under the rules of the shape; `step` counts elements."""
    if shape[SH_PACKED] == 1:
        return element_address(scale_index, row, packed_step(shape, step, shape[SH_SLEN]))
    return scale_address(scale_index, row, step, shape[SH_RATIO])


@kernel
def row_scales_delivered(shape, address):
    """Scale bytes that a prefetch delivers for a row whose scales begin at `address`."""
    return shape[SH_SLEN] if shape[SH_PACKED] == 1 else delivered_scales(address, shape[SH_SLEN])
