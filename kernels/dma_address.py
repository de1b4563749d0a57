"""Compute the row addresses of a DMA transfer (spec §3.2, §3.3)."""

import numpy as np

from .compiler.jit import kernel
from .limits import ACCESS_BYTES, U32_MASK


@kernel
def element_address(index, row, step):
    """Compute the byte address of the first element of `row`; `index` is that of row 0."""
    return index + ((row * step) & U32_MASK)


@kernel
def scale_address(scale_index, row, step, ratio):
    """Compute the byte address of the first scale of `row`, in the f32 arithmetic of §3.2."""
    return scale_index + np.int64(np.float32(row) * (np.float32(step) / np.float32(ratio)))


@kernel
def delivered_scales(address, slen):
    """Count the scale bytes one 64-byte read delivers: those up to the end of its block (§3.2)."""
    return min(slen, ACCESS_BYTES - (address & (ACCESS_BYTES - 1)))
