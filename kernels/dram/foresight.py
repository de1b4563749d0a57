"""Answer the lists of memory events ahead of their time, on another thread (spec §4.11).

What a list of reads does to an idle DRAM depends on the rows that are open when it begins, and on no time. Which rows
those will be can mostly be told beforehand: the last row of each bank in issue order, and exactly after a list whose
value is known. So while the *follower* (`memory.following`) runs the events of a batch, the thread of control, when it
has given all of them, finds values of lists that are still to come, each from foreseen rows. The follower takes a value
if just those rows are open and the memory is idle when it comes to the list. If not, it works as without foresight. So
its figures, and the contents of its memo, are the same.

Values are found window by window, in each from the last piece back until the follower is met. The follower finds the
rest of the window answered, which takes it little time, while the other thread is in the next window.

`answers` says what the timing pass is told.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.atomics import load_acquire, store_release
from ..compiler.jit import kernel, small
from ..layout import DESC_ROW_BYTES, DESC_ROWS, DESC_STORE, MEV_DELTA, MEV_DESCRIPTOR
from ..limits import ACCESS_BYTES
from ..memory.accesses import list_accesses
from ..memory.following import DONE
from ..memory.memo_table import ENTRY_AT, ENTRY_WORDS, MEMO_PATTERNS, MEMO_USED, find, hash_of
from .answers import (
    A_ALIGNED,
    A_BANKS,
    A_HASH,
    A_KEY,
    A_LENGTH,
    A_VALUE,
    A_WIDTH,
    A_WORDS,
    F_USED,
    Foresight,
)
from .front_end import place_of
from .memo import HEADER, PEND_BANKS, DramMemo, longest_value, time_list, value_length
from .pattern import PLACE_MASK, WIDEST, pattern_of, row_of
from .state import BANKS, NONE, PLACE_ROW, DramState

LOOK_BACK = 64  # lists before the first one that tell which rows will be open
PIECE = 1 << 11  # accesses of events that are answered in order, from one look back
WINDOW = 1 << 15  # accesses


class Foreseer(NamedTuple):
    """What the thread that foresees works on.

    Attributes
    ----------
    shared : int64[SHARED_WIDTH]
        Counters of both threads (`memory.following`).
    answers : Foresight
    memo : DramMemo
        Of its own.
    dram : DramState
        Of its own: only the open rows are used.
    addr : int64[accesses]
        Accesses of a list.
    row : int64[banks]
        Rows that are open when the batch begins.
    """

    shared: np.ndarray
    answers: Foresight
    memo: DramMemo
    dram: DramState
    addr: np.ndarray
    row: np.ndarray


@small
def row_at(state, bank):
    """Open row of a bank (record * BANKS + bank)."""
    return state.channels[bank // BANKS].open_row[bank % BANKS]


@kernel
def open_last_rows(foreseer, events, descriptors, first):
    """Open in each bank the last row that the lists before event `first` ask for, as far back as `LOOK_BACK`."""
    state, pattern = foreseer.dram, foreseer.memo.pattern
    cfg, banks = state.config[0], len(foreseer.row)
    for bank in range(banks):
        state.channels[bank // BANKS].open_row[bank % BANKS] = foreseer.row[bank]
        pattern.more[bank] = NONE
    known = 0
    for back in range(1, min(first, LOOK_BACK) + 1):
        event = events[first - back]
        n = list_accesses(descriptors[event[MEV_DESCRIPTOR]], event, foreseer.addr)
        for i in range(n - 1, -1, -1):
            place = place_of(cfg, foreseer.addr[i])
            bank = place & PLACE_MASK
            if pattern.more[bank] == NONE:
                pattern.more[bank] = 0
                state.channels[bank // BANKS].open_row[bank % BANKS] = place >> PLACE_ROW
                known += 1
        if known == banks:
            break
    for bank in range(banks):
        pattern.more[bank] = NONE


@kernel
def open_in_order(foreseer, n):
    """Leave the last row open that the list asks for in each bank, where nothing better is known."""
    state = foreseer.dram
    for i in range(n):
        place = place_of(state.config[0], foreseer.addr[i])
        bank = place & PLACE_MASK
        state.channels[bank // BANKS].open_row[bank % BANKS] = place >> PLACE_ROW


@kernel
def value_of(foreseer, n, aligned, words, key_hash):
    """Find the value of the present pattern in the foreseeing memo, or insert it.

    Returns its first word in the arena, 0 where there is no room, NONE when it has too many latencies.
    """
    memo = foreseer.memo
    slot = find(memo.table, memo.arena, memo.pattern.key, words, key_hash)
    if memo.table[slot, ENTRY_WORDS] != 0:
        return memo.table[slot, ENTRY_AT] + words
    room = words + longest_value(memo.reg[PEND_BANKS])
    if memo.reg[MEMO_USED] + room > len(memo.arena) or memo.reg[MEMO_PATTERNS] >= len(memo.table) // 2:
        return np.int64(0)
    return time_list(memo, foreseer.dram, n, aligned, words, key_hash)


@kernel
def write_answer(foreseer, event, aligned, words, key_hash, value):
    """Write the answer to an event, and leave open what its list leaves open."""
    state, answers, pattern, arena = foreseer.dram, foreseer.answers, foreseer.memo.pattern, foreseer.memo.arena
    text, banks = answers.text, foreseer.memo.reg[PEND_BANKS]
    at = answers.reg[F_USED]
    text[at + A_HASH], text[at + A_WORDS] = key_hash, words
    text[at + A_KEY], text[at + A_VALUE] = value - words, value
    text[at + A_LENGTH], text[at + A_BANKS] = value_length(arena, value, banks), banks
    text[at + A_ALIGNED] = aligned
    start = at
    at += A_WIDTH
    for number in range(banks):
        bank = pattern.bank[number]
        after = row_of(pattern, bank, arena[value + HEADER + number])
        text[at], text[at + 1], text[at + 2] = bank, row_at(state, bank), after
        state.channels[bank // BANKS].open_row[bank % BANKS] = after
        at += 3
    answers.reg[F_USED] = at
    store_release(answers.at, event, start)


@kernel
def foresee_list(foreseer, event, events, descriptors):
    """Answer one event, if it is a list of reads.

    Returns whether there was room.
    """
    memo, state, answers = foreseer.memo, foreseer.dram, foreseer.answers
    descriptor = descriptors[events[event, MEV_DESCRIPTOR]]
    n = list_accesses(descriptor, events[event], foreseer.addr)
    value = NONE
    if descriptor[DESC_STORE] == 0 and 0 < n <= WIDEST:
        aligned = events[event, MEV_DELTA] % state.config[0].tck_ps == 0
        words, banks = pattern_of(state, memo.pattern, foreseer.addr, n, False, aligned)
        if words > 0:
            if answers.reg[F_USED] + A_WIDTH + 3 * banks > len(answers.text):
                return False
            memo.reg[PEND_BANKS] = banks
            key_hash = hash_of(memo.pattern.key, words)
            value = value_of(foreseer, n, aligned, words, key_hash)
            if value == 0:
                return False
            if value != NONE:
                write_answer(foreseer, event, aligned, words, key_hash, value)
    if value == NONE:
        open_in_order(foreseer, n)
    return True


@small
def accesses_of(event, descriptors):
    """Count the accesses of an event, about."""
    descriptor = descriptors[event[MEV_DESCRIPTOR]]
    return descriptor[DESC_ROWS] * (descriptor[DESC_ROW_BYTES] // ACCESS_BYTES + 1)


@kernel
def foresee_window(foreseer, events, first, past, descriptors):
    """Answer the events [first, past) piece by piece, from the last one back, until the follower is met.

    Returns whether there was room.
    """
    while past > first:
        start, accesses = past, 0
        while start > first and accesses < PIECE:
            start -= 1
            accesses += accesses_of(events[start], descriptors)
        start = max(start, load_acquire(foreseer.shared, DONE) + 1)
        if start >= past:
            break
        open_last_rows(foreseer, events, descriptors, start)
        for event in range(start, past):
            if not foresee_list(foreseer, event, events, descriptors):
                return False
        past = start
    return True


@kernel
def foresee_windows(foreseer, events, first, count, windows, descriptors):
    """Answer the events [first, count) ahead of the follower, at most `windows` windows of them.

    Returns the event behind the last window, `count` where there is no room for more.
    """
    for _ in range(windows):
        first = max(first, load_acquire(foreseer.shared, DONE) + 1)
        past, accesses = first, 0
        while past < count and accesses < WINDOW:
            accesses += accesses_of(events[past], descriptors)
            past += 1
        if past <= first or not foresee_window(foreseer, events, first, past, descriptors):
            return count
        first = past
    return first
