"""Exact memoisation of DDR batches: a prefetch takes the same time wherever its banks and rows fall alike (spec §3.5).

A batch's timing depends on which reads share a bank and a row, on which are behind the host link, and on the
precharges it meets; not on the addresses. All that follows from a few numbers of the memory event, so an event whose
key is remembered is answered without even listing its reads:

- Reads are blocks at fixed offsets from two first blocks, that of the elements and that of the scales. Moving
  both by the same number of blocks turns the banks round, and all banks are alike: only the difference counts.
- Rows change where an offset passes the end of a row of the memory (16 KiB). A first block may slide down towards its
  row's start as long as none of its blocks leaves its row: the key has the lowest place.
- Rows of elements and of scales are the same or not by the distance of the two first blocks, and never where they are
  farther apart than either reaches.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..dma_address import scale_address
from ..layout import MEV_INDEX, MEV_SCALE, MEV_SHAPE, MEV_STEP, SH_LEN, SH_RATIO, SH_ROWS, SH_SLEN
from ..limits import ACCESS_BYTES, OVERFLOW, U32_MASK
from ..memory.accesses import list_rows
from ..memory.memo_table import enter, make_room
from .state import BANK_DUE, BANK_TURN, BANKS, LAST, TCK

SLOTS = 1 << 13  # patterns, a power of two
POOL = 1 << 17  # words of all keys and answers
WIDEST = 1 << 12  # longest batch with reads behind the host link that is remembered

# The emulator's memory (§3.5): where a block's bank and row are in its address.
BANK_SHIFT = 6
BANK_BITS = 4
ROW_SHIFT = 14
IN_ROW = (1 << ROW_SHIFT) - 1
ROW_MASK = 0xFFFF
EARLY = 16  # reads that reach their banks before the first one is done, one each tCK

LINK_WORD = 32  # reads whose links share a word of the key
KEY_WIDTH = 2 + BANKS + WIDEST // LINK_WORD

# Words of an answer, behind its key: duration in ps, reads, precharges pending at the end; then those precharges.
ANSWER_TOOK, ANSWER_READS, ANSWER_PENDING, ANSWER_WIDTH = range(4)


class Memo(NamedTuple):
    """Remembered prefetches of one memory.

    Attributes
    ----------
    reg : int64[MEMO_WIDTH]
    table : int64[SLOTS, ENTRY_WIDTH] (`memo_table`)
    pool : int64[POOL]
        Keys, each followed by its answer (`ANSWER_*`). A precharge is the picoseconds from the batch's start to its
        end, and its bank counted from that of the first element; those that end together in the order of their
        creation.
    key : int64[KEY_WIDTH]
        Key of the batch in hand.
    """

    reg: np.ndarray
    table: np.ndarray
    pool: np.ndarray
    key: np.ndarray


# --- keys ------------------------------------------------------------------------------------------


@small
def elements_slide(shape, index, step):
    """(how far the blocks of a prefetch's elements may slide down within their rows, rows they reach up)."""
    slide, reach = IN_ROW, 0
    low = index & IN_ROW
    for row in range(shape[SH_ROWS]):
        first = low + ((row * step) & U32_MASK)
        last = first + shape[SH_LEN] - 1
        slide = min(slide, first & IN_ROW if first >> ROW_SHIFT == last >> ROW_SHIFT else 0)
        reach = max(reach, last)
    return slide & -ACCESS_BYTES, reach >> ROW_SHIFT


@small
def scales_slide(shape, scale_index, step):
    """The same for its scales, of which each row reads one block."""
    slide, reach = IN_ROW, 0
    low = scale_index & IN_ROW
    for row in range(shape[SH_ROWS]):
        first = scale_address(low, row, step, shape[SH_RATIO])
        slide = min(slide, first & IN_ROW)
        reach = max(reach, first)
    return slide & -ACCESS_BYTES, reach >> ROW_SHIFT


@kernel
def place_of(index, slide):
    """Where in its row a stream of blocks begins once it has slid down, and where in its block: 14 bits."""
    return (index & IN_ROW) - slide


@small
def write_place(key, shape, event):
    """Write what an event says of its reads into `key[:2]`."""
    index, step = event[MEV_INDEX], event[MEV_STEP]
    slide, reach = elements_slide(shape, index, step)
    word = event[MEV_SHAPE] << ROW_SHIFT | place_of(index, slide)
    if shape[SH_SLEN] > 0:
        scale_index = event[MEV_SCALE]
        slide, scale_reach = scales_slide(shape, scale_index, step)
        word = word << ROW_SHIFT | place_of(scale_index, slide)
        word = word << BANK_BITS | (((scale_index >> BANK_SHIFT) - (index >> BANK_SHIFT)) & (BANKS - 1))
        apart = ((scale_index >> ROW_SHIFT) - (index >> ROW_SHIFT)) & ROW_MASK
        if apart <= reach or apart + scale_reach > ROW_MASK:
            word = word << (ROW_SHIFT + 3) | (apart + 1)
        else:
            word = word << (ROW_SHIFT + 3)
    key[0] = word
    key[1] = step


@kernel
def insert_pending(banks, key, length, first, bank, start, now):
    """Insert a bank's pending precharge among those from `key[start]` on, in the order in which they are acted on."""
    at = length
    due = banks[bank, BANK_DUE] - now
    while at > start:
        other = key[at - 1]
        before = (other & (BANKS - 1)) + first & (BANKS - 1)
        if other >> BANK_BITS < due or (
            other >> BANK_BITS == due and banks[before, BANK_TURN] < banks[bank, BANK_TURN]
        ):
            break
        key[at] = other
        at -= 1
    key[at] = due << BANK_BITS | ((bank - first) & (BANKS - 1))
    return length + 1


@kernel
def append_early(banks, key, length, first, addr, n, now):
    """Append the precharges that reads of a batch meet: a bank that is idle when its first read comes is like any."""
    seen = 0
    start = length
    for k in range(min(n, EARLY)):
        bank = (addr[k] >> BANK_SHIFT) & (BANKS - 1)
        if (seen >> bank) & 1 == 0 and banks[bank, BANK_DUE] - now > (k + 1) * TCK:
            length = insert_pending(banks, key, length, first, bank, start, now)
        seen |= 1 << bank
    return length


@kernel
def append_links(banks, key, length, first, link, n, now):
    """Append all pending precharges, and which reads are behind the host link."""
    start = length
    for bank in range(BANKS):
        if banks[bank, BANK_DUE] > now:
            length = insert_pending(banks, key, length, first, bank, start, now)
    for k in range(0, n, LINK_WORD):
        word = 0
        for i in range(k, min(n, k + LINK_WORD)):
            word |= link[i] << (i - k)
        key[length] = word
        length += 1
    return length


@small
def write_key(key, d, port, event, shape, n, held, now):
    """Write an event's key; returns its length. `n`: reads in `port.addr`, `held`: those behind the host link."""
    first = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    write_place(key, shape, event)
    if held > 0:
        return append_links(d.banks, key, 2, first, port.link, n, now)
    if d.q[LAST] <= now + TCK:
        return 2
    if n == 0:
        n = list_rows(shape, event, port.addr, min(shape[SH_ROWS], EARLY))
    return append_early(d.banks, key, 2, first, port.addr, n, now)


# --- answers ---------------------------------------------------------------------------------------


@small
def recall(pool, at, d, first, now):
    """Apply the remembered answer at `at` of a batch that starts at `now`: the instant at which it is done."""
    banks, q = d.banks, d.q
    for k in range(pool[at + ANSWER_PENDING]):
        word = pool[at + ANSWER_WIDTH + k]
        bank = (word + first) & (BANKS - 1)
        banks[bank, BANK_DUE] = now + (word >> BANK_BITS)
        banks[bank, BANK_TURN] = k
        q[LAST] = max(q[LAST], banks[bank, BANK_DUE])
    return now + pool[at + ANSWER_TOOK]


@small
def keep(memo, d, length, h, first, n, now, done):
    """Remember the answer to the key in `memo.key`, whose hash is `h`."""
    if done == OVERFLOW:
        return
    reg, pool, banks = memo.reg, memo.pool, d.banks
    at = make_room(reg, memo.table, pool, length + ANSWER_WIDTH + BANKS) + length
    end = at + ANSWER_WIDTH
    for bank in range(BANKS):
        if banks[bank, BANK_DUE] > done:
            end = insert_pending(banks, pool, end, first, bank, at + ANSWER_WIDTH, now)
    pool[at + ANSWER_TOOK] = done - now
    pool[at + ANSWER_READS] = n
    pool[at + ANSWER_PENDING] = end - at - ANSWER_WIDTH
    enter(reg, memo.table, pool, memo.key, length, h, end)
