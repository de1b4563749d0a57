"""Remember what batches of lines do to the idealised banks, exactly (spec §3.5, §7.3).

As `kernels.simple.memo` does for the reads of a prefetch, with two kinds of keys:

- A *place* is where a prefetch begins, as there: elements and scales, each slid down within their rows of the memory;
  then the precharges that its first lines meet. It is used, and no line planned, where nothing is decided about lines
  (regime `resident`) and elements and scales share no row, so that all lines of one come before those of the other.
- A *list* has each line of a batch, by its bank and its row from those of the first line, and by whether it takes the
  host link. It serves all other batches, unless a line waits for a swap.

Example of a list: the reads of lines 0, 64 and 16384 have the key of those of lines 128, 192 and 16512: the same bank,
the next one, and the first bank in the next row.
"""

from ...compiler.jit import kernel, small
from ...layout import (
    DESC_ROW_BYTES,
    DESC_ROWS,
    DESC_SCALE_BYTES,
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
from ...simple.event_loop import simulate_loop
from ...simple.memo import (
    BANK_BITS,
    BANK_SHIFT,
    EARLY,
    IN_ROW,
    ROW_MASK,
    ROW_SHIFT,
    insert_pending,
    insert_value,
    place_of,
    recall,
)
from ...simple.state import (
    BANK_DUE,
    BANKS,
    LAST_EVENT,
    ORG_READ_SHIFT,
    ORG_ROW_SHIFT,
    ORG_WRITE_SHIFT,
    TCK,
)

WIDEST = 1 << 12  # longest batch that is remembered
ROW_BITS = 16
LINE_BITS = 1 + BANK_BITS + ROW_BITS
LINES_A_WORD = 3
KEY_WIDTH = 2 + BANKS + WIDEST // LINES_A_WORD
PLACE = 1 << 62  # first word of a place; that of a list is small
PLACE_WORDS = 2
HIGHEST = 1 << 62  # places end below, so that no address passes the last one


# --- places ----------------------------------------------------------------------------------------


@small
def slide_of(address, rows, length, jump):
    """Find how far `rows` rows of `length` bytes may slide down within their rows of the memory.

    Returns (bytes, rows of the memory that they reach up).
    """
    slide, reach = IN_ROW, 0
    low = address & IN_ROW
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
    key[0] = PLACE | word
    key[1] = step
    return PLACE_WORDS


@small
def append_rows(lines, n, first, rows, length, jump):
    """Append lines of ascending rows to `lines[:n]`, which ascend too, until there are EARLY.

    Returns how many there are.
    """
    for row in range(rows):
        end = first + row * jump + length
        line = (end - length) & -ACCESS_BYTES
        if n > 0 and lines[n - 1] == line:
            line += ACCESS_BYTES
        while line < end and n < EARLY:
            lines[n] = line
            n += 1
            line += ACCESS_BYTES
        if n == EARLY:
            break
    return n


@small
def first_lines(lines, descriptor, event):
    """Find the first lines, at most EARLY, of a prefetch that has a place.

    Returns how many, 0 where its rows do not ascend.
    """
    rows, length, slen = descriptor[DESC_ROWS], descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    index, scale_index, step = event[MEV_INDEX], event[MEV_SCALE], event[MEV_STEP]
    jump, scale_jump = packed_step(descriptor, step, length), packed_step(descriptor, step, slen)
    if jump < length or scale_jump < slen or max(jump, scale_jump) * rows > U32_MASK:
        return 0
    if slen > 0 and scale_index < index:
        n = append_rows(lines, 0, scale_index, rows, slen, scale_jump)
        return append_rows(lines, n, index, rows, length, jump)
    n = append_rows(lines, 0, index, rows, length, jump)
    return append_rows(lines, n, scale_index, rows if slen > 0 else 0, slen, scale_jump)


@small
def place_words(memo, state, lines, descriptor, event, now):
    """Write the place of a prefetch that starts at `now` into `memo.key`; `lines` has room for its first lines.

    Returns its length in words, 0 where it has none.
    """
    if memo.reg[MEMO_ON] == 0:
        return 0
    length = write_place(memo.key, descriptor, event)
    if length == 0 or state.queues[LAST_EVENT] <= now + TCK:
        return length
    n = first_lines(lines, descriptor, event)
    bank_0 = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    return append_pending(memo.key, length, state.banks, lines, n, BANK_SHIFT, bank_0, now) if n > 0 else 0


@kernel
def append_pending(key, length, banks, lines, n, shift, bank_0, now):
    """Append the precharges that `lines[:n]` meet in their banks, counted from `bank_0`, to a key.

    Returns its new length.
    """
    start, seen = length, 0
    for i in range(n):
        bank = (lines[i] >> shift) & (BANKS - 1)
        if (seen >> bank) & 1 == 0 and banks[bank, BANK_DUE] > now + TCK:
            length = insert_pending(banks, key, length, bank_0, bank, start, now)
        seen |= 1 << bank
    return length


# --- lists -----------------------------------------------------------------------------------------


@small
def line_word(organisation, line, first, shift, link):
    """Say what a line shares with the first one: rows and banks apart, and whether it takes the link; 21 bits."""
    row_shift = organisation[ORG_ROW_SHIFT]
    rows = ((line >> row_shift) - (first >> row_shift)) & ((1 << ROW_BITS) - 1)
    banks = ((line >> shift) - (first >> shift)) & (BANKS - 1)
    return (rows << BANK_BITS | banks) << 1 | link


@kernel
def write_key(key, state, lines, link, n, held, shift, write, now):
    """Write the key of a batch into `key`: its length, its lines, the precharges that it meets.

    Returns its length in words.
    """
    organisation, first = state.organisation, lines[0]
    key[0] = n << 1 | write
    length = 1
    for at in range(0, n, LINES_A_WORD):
        word = 0
        for i in range(at, min(n, at + LINES_A_WORD)):
            word = word << LINE_BITS | line_word(organisation, lines[i], first, shift, link[i] if held > 0 else 0)
        key[length] = word
        length += 1
    if state.queues[LAST_EVENT] <= now + TCK:
        return length
    early = n if held > 0 else min(n, EARLY)  # a line that waits for nobody comes early or meets none
    return append_pending(key, length, state.banks, lines, early, shift, (first >> shift) & (BANKS - 1), now)


@small
def run_phase(state, lines, wait, link, n, held, write, now):
    """Run a batch itself: the instant of its end, or `OVERFLOW`."""
    if write == 0:
        return run_batch(state, lines, wait, link, n, held, now)
    took = simulate_loop(state, lines, wait, link, n, now, TIME_LIMIT - now, 1)
    return OVERFLOW if took == OVERFLOW else now + took


@kernel
def remember_phase(memo, state, code, lines, wait, link, n, held, write, now):
    """Run a batch of lines, all submitted at `now`, through the memo.

    Parameters
    ----------
    memo : SimpleMemo
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
    if memo.reg[MEMO_ON] == 0 or n > WIDEST or (held > 0 and code != STREAM):
        return run_phase(state, lines, wait, link, n, held, write, now)
    shift = state.organisation[ORG_WRITE_SHIFT if write == 1 else ORG_READ_SHIFT]
    bank_0 = (lines[0] >> shift) & (BANKS - 1)
    length = write_key(memo.key, state, lines, link, n, held, shift, write, now)
    key_hash, at = look_up(memo, memo.key, length)
    if at > 0:
        done = recall(memo.arena, at, state, bank_0, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    done = run_phase(state, lines, wait, link, n, held, write, now)
    insert_value(memo, state, length, key_hash, bank_0, n, now, done)
    return done
