"""Remember what prefetches do to the idealised banks, exactly (spec §3.5).

A batch's timing depends on which reads share a bank and a row, on which are behind the host link, and on the
precharges it meets; not on the addresses. All that follows from a few numbers of the memory event. So the memo is a
table from keys of these numbers to *values*: the time a batch takes and the precharges it leaves. A batch whose key is
in the table is finished without even listing its reads. A key is normalised, so that batches alike have the same one:

- Reads are blocks at fixed offsets from two first blocks, that of the elements and that of the scales. Moving
  both by the same number of blocks turns the banks round, and all banks are alike: only the difference counts.
- Rows change where an offset passes the end of a row of the memory (16 KiB). A first block may slide down towards its
  row's start as long as none of its blocks leaves its row, and a first byte within its block as long as nothing leaves
  its block: the key has the lowest place.
- Rows of elements and of scales are the same or not by the distance of the two first blocks, and never where they are
  farther apart than either reaches.

Example: a prefetch of 16 rows of 64 bytes, 4096 bytes apart and without scales, has one key at the addresses 0, 0x40
and 0x44400, if no precharge is pending: each time its first block slides down to the start of a 16 KiB row.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..layout import (
    DESC_RATIO,
    DESC_ROW_BYTES,
    DESC_ROWS,
    DESC_SCALE_BYTES,
    MEV_DESCRIPTOR,
    MEV_INDEX,
    MEV_SCALE,
    MEV_STEP,
)
from ..limits import ACCESS_BYTES, OVERFLOW, U32_MASK
from ..memory.accesses import list_rows
from ..memory.dma_address import scale_address
from ..memory.memo_table import insert, make_room
from .state import BANK_DUE, BANK_TURN, BANKS, LAST_EVENT, TCK

SLOTS = 1 << 13  # patterns, a power of two
ARENA = 1 << 17  # words of all keys and values
WIDEST = 1 << 12  # longest batch with reads behind the host link that is remembered

# The emulator's memory (§3.5): where a block's bank and row are in its address.
BANK_SHIFT = 6
BANK_BITS = 4
ROW_SHIFT = 14
IN_ROW = (1 << ROW_SHIFT) - 1
IN_BLOCK = ACCESS_BYTES - 1
ROW_MASK = 0xFFFF
EARLY = 16  # reads that reach their banks before the first one is done, one each tCK

LINK_WORD = 32  # reads whose links share a word of the key
KEY_WIDTH = 2 + BANKS + WIDEST // LINK_WORD

# Words of a value, behind its key: duration in ps, reads, precharges pending at the end; then those precharges.
VALUE_TOOK, VALUE_READS, VALUE_PENDING, VALUE_WIDTH = range(4)


class SimpleMemo(NamedTuple):
    """Remembered prefetches of one memory.

    Attributes
    ----------
    reg : int64[MEMO_WIDTH]
    table : int64[SLOTS, ENTRY_WIDTH] (`memo_table`)
    arena : int64[ARENA]
        Keys, each followed by its value (`VALUE_*`). A precharge is the picoseconds from the batch's start to its
        end, and its bank counted from that of the first element; those that end together in the order of their
        creation.
    key : int64[KEY_WIDTH]
        Key of the present batch.
    """

    reg: np.ndarray
    table: np.ndarray
    arena: np.ndarray
    key: np.ndarray


# --- keys ------------------------------------------------------------------------------------------


@small
def elements_slide(descriptor, index, step):
    """Find how far a prefetch's elements may slide down without a block that leaves its row, or a byte its block.

    Returns (bytes, rows they reach up).
    """
    slide, within, reach = IN_ROW, IN_BLOCK, 0
    low = index & IN_ROW
    for row in range(descriptor[DESC_ROWS]):
        first = low + ((row * step) & U32_MASK)
        last = first + descriptor[DESC_ROW_BYTES] - 1
        slide = min(slide, first & IN_ROW if first >> ROW_SHIFT == last >> ROW_SHIFT else 0)
        within = min(within, min(first & IN_BLOCK, last & IN_BLOCK))
        reach = max(reach, last)
    return (slide & -ACCESS_BYTES) + within, reach >> ROW_SHIFT


@small
def scales_slide(descriptor, scale_index, step):
    """Do the same for its scales, of which each row reads one block."""
    slide, within, reach = IN_ROW, IN_BLOCK, 0
    low = scale_index & IN_ROW
    for row in range(descriptor[DESC_ROWS]):
        first = scale_address(low, row, step, descriptor[DESC_RATIO])
        slide = min(slide, first & IN_ROW)
        within = min(within, first & IN_BLOCK)
        reach = max(reach, first)
    return (slide & -ACCESS_BYTES) + within, reach >> ROW_SHIFT


@kernel
def place_of(index, slide):
    """Find where in its row a stream of blocks begins once it has slid down, and where in its block: 14 bits."""
    return (index & IN_ROW) - slide


@small
def write_place(key, descriptor, event):
    """Write what an event says of its reads into `key[:2]`."""
    index, step = event[MEV_INDEX], event[MEV_STEP]
    slide, reach = elements_slide(descriptor, index, step)
    word = event[MEV_DESCRIPTOR] << ROW_SHIFT | place_of(index, slide)
    if descriptor[DESC_SCALE_BYTES] > 0:
        scale_index = event[MEV_SCALE]
        slide, scale_reach = scales_slide(descriptor, scale_index, step)
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
    """Insert a bank's pending precharge among those from `key[start]` on, in the order in which they are acted on.

    Returns the new length.
    """
    at = length
    due = banks[bank, BANK_DUE] - now
    while at > start:
        other = key[at - 1]
        other_bank = (other & (BANKS - 1)) + first & (BANKS - 1)
        if other >> BANK_BITS < due or (
            other >> BANK_BITS == due and banks[other_bank, BANK_TURN] < banks[bank, BANK_TURN]
        ):
            break
        key[at] = other
        at -= 1
    key[at] = due << BANK_BITS | ((bank - first) & (BANKS - 1))
    return length + 1


@kernel
def append_early(banks, key, length, first, addr, n, now):
    """Append the precharges that reads of a batch meet: a bank that is idle when its first read comes is like any.

    Returns the new length.
    """
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
    """Append all pending precharges, and which reads are behind the host link.

    Returns the new length.
    """
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
def write_key(key, state, addr, link, event, descriptor, n, held, now):
    """Write an event's key; `n` reads are in `addr`, `held` of them are behind the host link.

    Returns its length.
    """
    first = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    write_place(key, descriptor, event)
    if held > 0:
        return append_links(state.banks, key, 2, first, link, n, now)
    if state.queues[LAST_EVENT] <= now + TCK:
        return 2
    if n == 0:
        n = list_rows(descriptor, event, addr, min(descriptor[DESC_ROWS], EARLY))
    return append_early(state.banks, key, 2, first, addr, n, now)


# --- values ----------------------------------------------------------------------------------------


@small
def recall(arena, at, state, first, now):
    """Apply the value at `at` to a batch that starts at `now`.

    Returns the instant at which it is done.
    """
    banks, queues = state.banks, state.queues
    for k in range(arena[at + VALUE_PENDING]):
        word = arena[at + VALUE_WIDTH + k]
        bank = (word + first) & (BANKS - 1)
        banks[bank, BANK_DUE] = now + (word >> BANK_BITS)
        banks[bank, BANK_TURN] = k
        queues[LAST_EVENT] = max(queues[LAST_EVENT], banks[bank, BANK_DUE])
    return now + arena[at + VALUE_TOOK]


@kernel
def write_value(arena, at, banks, first, n, now, done):
    """Write the value of `n` reads from `now` to `done` to `arena[at:]`; they leave `banks`.

    Returns the first word behind it.
    """
    end = at + VALUE_WIDTH
    for bank in range(BANKS):
        if banks[bank, BANK_DUE] > done:
            end = insert_pending(banks, arena, end, first, bank, at + VALUE_WIDTH, now)
    arena[at + VALUE_TOOK] = done - now
    arena[at + VALUE_READS] = n
    arena[at + VALUE_PENDING] = end - at - VALUE_WIDTH
    return end


@small
def insert_value(memo, state, length, key_hash, first, n, now, done):
    """Insert the value of the key in `memo.key`, whose hash is `key_hash`."""
    if done == OVERFLOW:
        return
    reg, arena = memo.reg, memo.arena
    at = make_room(reg, memo.table, arena, length + VALUE_WIDTH + BANKS) + length
    end = write_value(arena, at, state.banks, first, n, now, done)
    insert(reg, memo.table, arena, memo.key, length, key_hash, end)
