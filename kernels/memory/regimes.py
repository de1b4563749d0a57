"""Decide about each read before the memory engine sees it, by the regime of the memory model (spec §3.7-§3.9).

The address space is cut into sorted segments on the host, so that "the first region in list order that contains
the address" is one lookup. Three codes serve all models: every read alike (resident), some reads behind the
host link (host-stream, weight-stream), regions or layers swapped in (layer-swap, kv-swap). Decisions are made in
issue order.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel

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
RG_SWAPS = 11  # items swapped in
RG_SWAPPED_HI = 12  # their bytes in two limbs, which are never carried
RG_SWAPPED_LO = 13
RG_LINK_PS = 14  # picoseconds that bytes took on the host link
RG_WIDTH = 15

# Columns of `Regime.table`.
ITEM_KEY = 0  # residency slot: items of one layer, or of one region offset, share it
ITEM_SIZE_HI = 1  # bytes, in two limbs
ITEM_SIZE_LO = 2
ITEM_WAIT = 3  # picoseconds its transfer takes
ITEM_SWAPS = 4  # how often it was swapped in
ITEM_WIDTH = 5

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
    table : int64[items, ITEM_WIDTH]
        What is swapped as one: a layer, or a KV or activation region.
    listed : int64[keys]
        Ring of resident items, oldest first.
    resident : int64[keys]
        1 while the slot is resident.
    """

    reg: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    table: np.ndarray
    listed: np.ndarray
    resident: np.ndarray


@kernel
def find_segment(starts, low, address):
    """Find the segment that holds `address` (u64 bit pattern); `low` is a guess."""
    at = address ^ SIGN
    if at >= starts[low] and at < starts[low + 1]:
        return low
    low, high = 0, len(starts) - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if at < starts[middle]:
            high = middle
        else:
            low = middle
    return low


@kernel
def add_used(reg, high, low):
    """Add a size in two limbs to the resident bytes."""
    total = reg[RG_USED_LO] + low
    reg[RG_USED_LO] = total & 0xFFFFFFFF
    reg[RG_USED_HI] += high + (total >> 32)


@kernel
def fits(reg, high, low):
    """Tell whether a size fits beside what is resident."""
    total = reg[RG_USED_LO] + low
    high += reg[RG_USED_HI] + (total >> 32)
    if high != reg[RG_CAPACITY_HI]:
        return high < reg[RG_CAPACITY_HI]
    return (total & 0xFFFFFFFF) <= reg[RG_CAPACITY_LO]


@kernel
def swap_in(reg, table, listed, resident, item):
    """Make `item` resident, dropping the oldest while it does not fit (§3.8); even if it never will."""
    high, low = table[item, ITEM_SIZE_HI], table[item, ITEM_SIZE_LO]
    while reg[RG_LISTED] > 0 and not fits(reg, high, low):
        dropped = listed[reg[RG_OLDEST]]
        reg[RG_OLDEST] = (reg[RG_OLDEST] + 1) % len(listed)
        reg[RG_LISTED] -= 1
        resident[table[dropped, ITEM_KEY]] = 0
        add_used(reg, -table[dropped, ITEM_SIZE_HI], -table[dropped, ITEM_SIZE_LO])
    listed[(reg[RG_OLDEST] + reg[RG_LISTED]) % len(listed)] = item
    reg[RG_LISTED] += 1
    resident[table[item, ITEM_KEY]] = 1
    add_used(reg, high, low)
    table[item, ITEM_SWAPS] += 1
    reg[RG_SWAPS] += 1
    reg[RG_SWAPPED_HI] += high
    reg[RG_SWAPPED_LO] += low
    reg[RG_LINK_PS] += table[item, ITEM_WAIT]


@kernel
def decide_streamed(reg, starts, items, addr, n, wait, link):
    """Put reads of weights behind the host link, where they wait (§3.7, §3.9).

    Returns how many.
    """
    line_ps = reg[RG_LINE_PS]
    at = reg[RG_LAST]
    streamed = 0
    for i in range(n):
        at = find_segment(starts, at, addr[i])
        behind = 1 if items[at] != NOTHING else 0
        link[i] = behind
        wait[i] = line_ps * behind
        streamed += behind
    reg[RG_LAST] = at
    reg[RG_STREAMED] += streamed
    reg[RG_LINK_PS] += streamed * line_ps
    reg[RG_PLAIN] += n - streamed
    return streamed


@kernel
def decide_swapped(reg, starts, items, table, listed, resident, addr, n, wait):
    """Let the read that misses wait for the whole transfer; reads that find it listed do not (§3.8, §3.9).

    Returns how many wait.
    """
    at = reg[RG_LAST]
    plain = missed = 0
    for i in range(n):
        at = find_segment(starts, at, addr[i])
        item = items[at]
        wait[i] = 0
        if item == NOTHING:
            plain += 1
        elif resident[table[item, ITEM_KEY]] == 0:
            swap_in(reg, table, listed, resident, item)
            wait[i] = table[item, ITEM_WAIT]
            missed += 1
    reg[RG_LAST] = at
    reg[RG_PLAIN] += plain
    return missed


@kernel
def decide(regime, addr, n, wait, link):
    """Set `wait` (ps, 0 for none) and `link` (1: behind the host link) of the reads `addr[:n]`, in issue order.

    Both arrays hold zeros where a regime never sets them.

    Returns how many reads wait or take the link.
    """
    code = regime.reg[RG_CODE]
    if code == RESIDENT:
        regime.reg[RG_PLAIN] += n
        return 0
    if code == STREAM:
        return decide_streamed(regime.reg, regime.starts, regime.items, addr, n, wait, link)
    return decide_swapped(
        regime.reg, regime.starts, regime.items, regime.table, regime.listed, regime.resident, addr, n, wait
    )
