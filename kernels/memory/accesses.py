"""List the 64-byte accesses of a DMA transfer in issue order (spec §3.2, §3.3).

Addresses are u64 bit patterns held in int64.
"""

from ..compiler.jit import kernel
from ..layout import DESC_RATIO, DESC_ROW_BYTES, DESC_ROWS, DESC_SCALE_BYTES, DESC_STORE, MEV_INDEX, MEV_SCALE, MEV_STEP
from ..limits import ACCESS_BYTES
from .dma_address import element_address, scale_address


@kernel
def append_blocks(addr, n, first, length):
    """Append every block that [first, first + length) touches, ascending.

    Returns the new count.
    """
    block = first & -ACCESS_BYTES
    for k in range(((first & (ACCESS_BYTES - 1)) + length + ACCESS_BYTES - 1) >> 6):
        addr[n + k] = block + ACCESS_BYTES * k
    return n + (((first & (ACCESS_BYTES - 1)) + length + ACCESS_BYTES - 1) >> 6)


@kernel
def list_rows(descriptor, event, addr, rows):
    """Fill `addr` with the block addresses of the first `rows` rows of a memory event.

    A prefetch reads each of them, with one read for the scales of a row; a store reads and then writes each of
    them, with every block its scales touch.

    Returns how many there are.
    """
    n = 0
    length, slen, ratio = descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES], descriptor[DESC_RATIO]
    index, scale_index, step = event[MEV_INDEX], event[MEV_SCALE], event[MEV_STEP]
    for row in range(rows):
        n = append_blocks(addr, n, element_address(index, row, step), length)
        if slen > 0:
            first = scale_address(scale_index, row, step, ratio)
            n = append_blocks(addr, n, first, slen if descriptor[DESC_STORE] == 1 else 1)
    return n


@kernel
def list_accesses(descriptor, event, addr):
    """Fill `addr` with all block addresses of a memory event.

    Returns how many there are.
    """
    return list_rows(descriptor, event, addr, descriptor[DESC_ROWS])
