"""What a memory model decides about each read before the inner memory sees it (spec §3.7-§3.9).

The address space is cut into sorted segments on the host, so that "the first region in list order that contains
the address" is one lookup. Three machines serve all models: every read alike (resident), some reads behind the
host link (host-stream, weight-stream), regions or layers swapped in (layer-swap, kv-swap). Decisions are made in
issue order.
"""

from typing import NamedTuple

import numpy as np

from .jit import kernel

# Regime codes.
RESIDENT = 0
STREAM = 1
SWAP = 2

# Slots of `Regime.reg`.
RG_CODE = 0
RG_LAST = 1  # segment of the last lookup
RG_PLAIN = 2  # reads that nothing was decided about
RG_STREAMED = 3  # reads behind the host link
RG_LINE_PS = 4  # picoseconds of 64 bytes over the host link
RG_OLDEST = 5  # slot of the oldest entry of `listed`
RG_LISTED = 6  # entries of `listed`
RG_USED_HI = 7  # resident bytes in two limbs of 32 bits: sums of u64 sizes do not fit int64
RG_USED_LO = 8
RG_CAPACITY_HI = 9
RG_CAPACITY_LO = 10
RG_WIDTH = 11

NOTHING = -1  # segment without an item
SIGN = -(2**63)  # flips u64 order into int64 order


class Regime(NamedTuple):
    """State of one memory model.

    Attributes
    ----------
    reg : int64[RG_WIDTH]
        Code, counters, constants (`RG_*`).
    starts : int64[segments + 1]
        First address of every segment, sign bit flipped, ascending from the smallest; a guard at the end.
    items : int64[segments]
        What the segment's reads concern: `NOTHING`, or an item (any item for `STREAM`).
    item_key : int64[items]
        Residency slot of an item: items of one layer, or of one region offset, share it.
    item_size : int64[items, 2]
        Bytes an item occupies, in two limbs (high, low 32 bits).
    item_wait : int64[items]
        Picoseconds its transfer takes.
    item_swaps : int64[items]
        How often it was swapped in.
    key_resident : int64[keys]
        1 while the slot is resident.
    listed : int64[keys]
        Ring of resident items, oldest first.
    """

    reg: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    item_key: np.ndarray
    item_size: np.ndarray
    item_wait: np.ndarray
    item_swaps: np.ndarray
    key_resident: np.ndarray
    listed: np.ndarray


@kernel
def item_of(rg, address):
    """Item of the segment that holds `address` (u64 bit pattern)."""
    at = address ^ SIGN
    low = rg.reg[RG_LAST]
    if at < rg.starts[low] or at >= rg.starts[low + 1]:
        low, high = 0, len(rg.items)
        while high - low > 1:
            middle = (low + high) >> 1
            if at < rg.starts[middle]:
                high = middle
            else:
                low = middle
        rg.reg[RG_LAST] = low
    return rg.items[low]


@kernel
def add_used(reg, high, low):
    """Add a size in two limbs to the resident bytes."""
    total = reg[RG_USED_LO] + low
    reg[RG_USED_LO] = total & 0xFFFFFFFF
    reg[RG_USED_HI] += high + (total >> 32)


@kernel
def fits(reg, high, low):
    """Whether a size fits beside what is resident."""
    total = reg[RG_USED_LO] + low
    high += reg[RG_USED_HI] + (total >> 32)
    if high != reg[RG_CAPACITY_HI]:
        return high < reg[RG_CAPACITY_HI]
    return (total & 0xFFFFFFFF) <= reg[RG_CAPACITY_LO]


@kernel
def swap_in(rg, item):
    """Make `item` resident, dropping the oldest while it does not fit (§3.8); even if it never will."""
    reg = rg.reg
    high, low = rg.item_size[item, 0], rg.item_size[item, 1]
    while reg[RG_LISTED] > 0 and not fits(reg, high, low):
        dropped = rg.listed[reg[RG_OLDEST]]
        reg[RG_OLDEST] = (reg[RG_OLDEST] + 1) % len(rg.listed)
        reg[RG_LISTED] -= 1
        rg.key_resident[rg.item_key[dropped]] = 0
        add_used(reg, -rg.item_size[dropped, 0], -rg.item_size[dropped, 1])
    rg.listed[(reg[RG_OLDEST] + reg[RG_LISTED]) % len(rg.listed)] = item
    reg[RG_LISTED] += 1
    rg.key_resident[rg.item_key[item]] = 1
    add_used(reg, high, low)
    rg.item_swaps[item] += 1


@kernel
def decide_streamed(rg, addr, n, wait, link):
    """Reads of weights take the host link and wait there (§3.7, §3.9)."""
    line_ps = rg.reg[RG_LINE_PS]
    streamed = 0
    for i in range(n):
        behind = item_of(rg, addr[i]) != NOTHING
        link[i] = 1 if behind else 0
        wait[i] = line_ps if behind else 0
        streamed += link[i]
    rg.reg[RG_STREAMED] += streamed
    rg.reg[RG_PLAIN] += n - streamed


@kernel
def decide_swapped(rg, addr, n, wait):
    """The read that misses waits for the whole transfer; reads that find it listed do not (§3.8, §3.9)."""
    for i in range(n):
        item = item_of(rg, addr[i])
        wait[i] = 0
        if item == NOTHING:
            rg.reg[RG_PLAIN] += 1
        elif rg.key_resident[rg.item_key[item]] == 0:
            swap_in(rg, item)
            wait[i] = rg.item_wait[item]


@kernel
def decide(rg, addr, n, wait, link):
    """Set `wait` (ps, 0 for none) and `link` (1: behind the host link) of the reads `addr[:n]`, in issue order.

    Both arrays hold zeros where a regime never sets them.
    """
    code = rg.reg[RG_CODE]
    if code == RESIDENT:
        rg.reg[RG_PLAIN] += n
    elif code == STREAM:
        decide_streamed(rg, addr, n, wait, link)
    else:
        decide_swapped(rg, addr, n, wait)
