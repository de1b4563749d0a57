"""Remember what batches of lines do to the idealised banks, exactly (spec §3.5, §7.3).

As `kernels.simple.memo` does for the reads of a prefetch, but with two keys for the same thing, which have a table
each:

- A *place* is where a prefetch begins, as there: elements and scales, each slid down within their rows of the memory;
  then the precharges that its first lines meet. It costs no line, and is used where nothing is decided about lines
  (regime `resident`) and elements and scales share no row, so that all lines of one come before those of the other.
- A *pattern* has each line of a batch: its bank, counted from that of the first line, and whether the line opens a row,
  so that it differs from the line before in the same bank. As lines ascend, no row comes back. Places whose lines make
  one pattern share what is remembered; the two batches of a store, reads and writes, have a pattern each.

A store has a place, too, for both batches at once, where it meets no precharge. Nothing slides there: which banks its
writes find depends on four more bits of an address, up to its row, and how its reads leave these banks on all of them.

Example: the reads of lines 0, 64 and 16384 have the pattern (0, opens), (1, opens), (0, opens). So have those of lines
128, 192 and 1 MiB + 128.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import kernel, small
from ...layout import (
    DESC_ROW_BYTES,
    DESC_ROWS,
    DESC_SCALE_BYTES,
    DESC_STORE,
    MEV_DESCRIPTOR,
    MEV_INDEX,
    MEV_SCALE,
    MEV_STEP,
)
from ...limits import ACCESS_BYTES, OVERFLOW, TIME_LIMIT, U32_MASK
from ...memory.dma_address import packed_step
from ...memory.memo_table import MEMO_ON, look_up
from ...memory.regimes import STREAM
from ...simple.batch import run_batch
from ...simple.memo import (
    BANK_BITS,
    BANK_SHIFT,
    EARLY,
    IN_ROW,
    LINK_WORD,
    ROW_MASK,
    ROW_SHIFT,
    SimpleMemo,
    insert_pending,
    insert_value,
    place_of,
    recall,
)
from ...simple.state import BANK_DUE, BANKS, LAST_EVENT, ORG_READ_SHIFT, ORG_WRITE_SHIFT, TCK
from .lines import HIGHEST, list_ascending

WIDEST = 1 << 12  # longest batch that is remembered
LINE_BITS = BANK_BITS + 1
LINES_A_WORD = 12
PATTERN_WIDTH = 1 + BANKS + WIDEST // LINES_A_WORD + 1 + WIDEST // LINK_WORD
PLACE_WORDS = 2
PLACE_WIDTH = PLACE_WORDS + BANKS


class BatchMemo(NamedTuple):
    """What is remembered of one memory.

    Attributes
    ----------
    places, patterns : SimpleMemo
        Their keys have PLACE_WIDTH and PATTERN_WIDTH words.
    opened : int64[BANKS]
        Room for a pattern: the row that its latest line in each bank has, -1 without one.
    """

    places: SimpleMemo
    patterns: SimpleMemo
    opened: np.ndarray


# --- places ----------------------------------------------------------------------------------------


@small
def slide_of(address, rows, length, jump):
    """Find how far `rows` rows of `length` bytes may slide down within their rows of the memory.

    Returns (bytes, rows of the memory that they reach up).
    """
    low = address & IN_ROW
    if low + (rows - 1) * jump + length <= IN_ROW + 1:  # all in one row, as is usual
        return low & -ACCESS_BYTES, 0
    slide, reach = IN_ROW, 0
    for row in range(rows):
        first = low + ((row * jump) & U32_MASK)
        last = first + length - 1
        slide = min(slide, first & IN_ROW if first >> ROW_SHIFT == last >> ROW_SHIFT else 0)
        reach = max(reach, last)
    return slide & -ACCESS_BYTES, reach >> ROW_SHIFT


@kernel
def write_place(key, descriptor, event):
    """Write the place of a prefetch into `key`.

    Returns its length in words, 0 where elements and scales may share a row.
    """
    rows, length, slen = descriptor[DESC_ROWS], descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    index, scale_index, step = event[MEV_INDEX], event[MEV_SCALE], event[MEV_STEP]
    if index < 0 or index >= HIGHEST or rows == 0 or length == 0:
        return 0
    slide, reach = slide_of(index, rows, length, packed_step(descriptor, step, length))
    word = event[MEV_DESCRIPTOR] << ROW_SHIFT | place_of(index, slide)
    if slen > 0:
        if scale_index < 0 or scale_index >= HIGHEST:
            return 0
        slide, scale_reach = slide_of(scale_index, rows, slen, packed_step(descriptor, step, slen))
        apart = ((scale_index >> ROW_SHIFT) - (index >> ROW_SHIFT)) & ROW_MASK
        if apart <= reach or apart + scale_reach > ROW_MASK:
            return 0
        word = word << ROW_SHIFT | place_of(scale_index, slide)
        word = word << BANK_BITS | (((scale_index >> BANK_SHIFT) - (index >> BANK_SHIFT)) & (BANKS - 1))
        word = word << 1 | (scale_index > index)
    key[0] = word
    key[1] = step
    return PLACE_WORDS


@kernel
def write_store_place(key, descriptor, event):
    """Write the place of a store into `key`.

    Returns its length in words, 0 where elements and scales may share a row.
    """
    rows, length, slen = descriptor[DESC_ROWS], descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    index, scale_index, step = event[MEV_INDEX], event[MEV_SCALE], event[MEV_STEP]
    jump, scale_jump = packed_step(descriptor, step, length), packed_step(descriptor, step, slen)
    if index < 0 or index >= HIGHEST or rows == 0 or length == 0 or max(jump, scale_jump) * rows > U32_MASK:
        return 0
    word = event[MEV_DESCRIPTOR] << ROW_SHIFT | (index & IN_ROW)
    if slen > 0:
        if scale_index < 0 or scale_index >= HIGHEST:
            return 0
        apart = ((scale_index >> ROW_SHIFT) - (index >> ROW_SHIFT)) & ROW_MASK
        reach = ((index & IN_ROW) + (rows - 1) * jump + length - 1) >> ROW_SHIFT
        scale_reach = ((scale_index & IN_ROW) + (rows - 1) * scale_jump + slen - 1) >> ROW_SHIFT
        if apart <= reach or apart + scale_reach > ROW_MASK:
            return 0
        word = (word << ROW_SHIFT | (scale_index & IN_ROW)) << 1 | (scale_index > index)
    key[0] = word
    key[1] = step
    return PLACE_WORDS


@small
def place_words(places, state, lines, descriptor, event, now):
    """Write the place of a transfer that starts at `now` into `places.key`; `lines` has room for its first lines.

    Returns its length in words, 0 where it has none.
    """
    if places.reg[MEMO_ON] == 0:
        return 0
    if descriptor[DESC_STORE] == 1:
        return write_store_place(places.key, descriptor, event) if state.queues[LAST_EVENT] <= now + TCK else 0
    length = write_place(places.key, descriptor, event)
    if length == 0 or state.queues[LAST_EVENT] <= now + TCK:
        return length
    n = list_ascending(lines, EARLY, descriptor, event)
    bank_0 = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    return append_pending(places.key, length, state.banks, lines, n, TCK, BANK_SHIFT, bank_0, now) if n > 0 else 0


@kernel
def append_pending(key, length, banks, lines, n, apart, shift, bank_0, now):
    """Append the precharges that `lines[:n]` meet in their banks, counted from `bank_0`, to a key.

    The first line reaches its bank one tCK after `now`, each further one `apart` (ps) later, or later still.

    Returns the new length of the key.
    """
    start, seen, arrival = length, 0, now + TCK
    for i in range(n):
        bank = (lines[i] >> shift) & (BANKS - 1)
        if (seen >> bank) & 1 == 0 and banks[bank, BANK_DUE] > arrival:
            length = insert_pending(banks, key, length, bank_0, bank, start, now)
        seen |= 1 << bank
        arrival += apart
    return length


# --- patterns --------------------------------------------------------------------------------------


@kernel
def append_lines(key, opened, lines, n, shift):
    """Append the bank of each of `lines[:n]` and whether it opens a row to `key[:1]`.

    Returns the new length of the key, 0 where a row may come back.
    """
    opened[:] = -1
    first = lines[0]
    length = 1
    for at in range(0, n, LINES_A_WORD):
        word = 0
        for i in range(at, min(n, at + LINES_A_WORD)):
            line = lines[i]
            bank = ((line >> shift) - (first >> shift)) & (BANKS - 1)
            row = ((line >> ROW_SHIFT) - (first >> ROW_SHIFT)) & ROW_MASK
            before = opened[bank]
            if row < before:  # farther from the first line than there are rows
                return 0
            opened[bank] = row
            word = word << LINE_BITS | bank << 1 | int(row != before)
        key[length] = word
        length += 1
    return length


@small
def append_line_links(key, length, link, n):
    """Append which of `n` lines take the host link.

    Returns the new length of the key.
    """
    for at in range(0, n, LINK_WORD):
        word = 0
        for i in range(at, min(n, at + LINK_WORD)):
            word |= link[i] << (i - at)
        key[length] = word
        length += 1
    return length


@kernel
def write_pattern(memo, state, lines, link, n, held, shift, write, now):
    """Write the key of a batch into `memo.patterns.key`: its length, its lines, the precharges that it meets.

    Returns its length in words, 0 where it has none.
    """
    key = memo.patterns.key
    key[0] = (n << 1 | int(held > 0)) << 1 | write
    length = append_lines(key, memo.opened, lines, n, shift)
    if held > 0 and length > 0:
        length = append_line_links(key, length, link, n)
    if length == 0 or state.queues[LAST_EVENT] <= now + TCK:
        return length
    # Beside lines that wait for the host, any line may be the first to reach its bank.
    early, apart = (n, 0) if held > 0 else (min(n, EARLY), TCK)
    return append_pending(key, length, state.banks, lines, early, apart, shift, (lines[0] >> shift) & (BANKS - 1), now)


@small
def remember_batch(memo, state, code, lines, wait, link, n, held, write, now):
    """Run a batch of lines, all submitted at `now`, through the memo.

    Parameters
    ----------
    memo : BatchMemo
    code : int
        Regime: a streamed line always waits the same, which a swapped one does not.
    lines, wait, link : int64[>= n]
        `held` of the lines wait for the host or take its link.
    write : int
        1 for writes.

    Returns
    -------
    int
        The instant of the end, ps, or `OVERFLOW`.
    """
    if n == 0:
        return now
    patterns = memo.patterns
    shift = state.organisation[ORG_WRITE_SHIFT if write == 1 else ORG_READ_SHIFT]
    length = 0
    if patterns.reg[MEMO_ON] == 1 and n <= WIDEST and (held == 0 or code == STREAM):
        length = write_pattern(memo, state, lines, link, n, held, shift, write, now)
    if length == 0:
        return run_batch(state, lines, wait, link, n, held, now, write)
    bank_0 = (lines[0] >> shift) & (BANKS - 1)
    key_hash, at = look_up(patterns, patterns.key, length)
    if at > 0:
        done = recall(patterns.arena, at, state, bank_0, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    done = run_batch(state, lines, wait, link, n, held, now, write)
    insert_value(patterns, state, length, key_hash, bank_0, n, now, done)
    return done
