"""Exact memoisation of DDR batches: the same pattern of banks and rows takes the same time (spec §3.5).

A batch's timing depends on which reads share a bank and a row, on which are behind the host link, and on the
precharges its banks still wait for; not on the addresses. So banks are numbered in the order in which the
batch first touches them, rows of a bank likewise, and the answer to the resulting pattern is remembered. Keys are
compared in full: a hash collision costs time, never correctness. The tables have a fixed size; when they
are full they are emptied.
"""

from typing import NamedTuple

import numpy as np

from .ddr import (
    BANK_DUE, BANK_TURN, GEO_BANKS, GEO_CHANNEL_MASK, GEO_READ_SHIFT, LAST, OVERFLOW, TIME_LIMIT, bank_of, ddr_batch,
    row_of,
)
from .jit import kernel

SLOTS = 1 << 12  # patterns, a power of two
POOL = 1 << 20  # words of all keys and answers
WIDEST = 1 << 12  # longest batch that is remembered

# Slots of `Memo.reg`.
MEMO_ON = 0
MEMO_LOOKUPS = 1
MEMO_HITS = 2
MEMO_USED = 3  # words of the pool
MEMO_PATTERNS = 4
MEMO_CLEARED = 5  # times the tables were full
MEMO_WIDTH = 6

# Columns of `Memo.table`.
ENTRY_HASH = 0
ENTRY_AT = 1  # first word in the pool
ENTRY_LENGTH = 2  # words of the key
ENTRY_WIDTH = 3

LINK_BIT = 1 << 30
ROW_SHIFT = 8


class Memo(NamedTuple):
    """Remembered patterns of one memory.

    Attributes
    ----------
    reg : int64[MEMO_WIDTH]
    table : int64[SLOTS, ENTRY_WIDTH]
        Open hash table; ENTRY_LENGTH is 0 where it is free.
    pool : int64[POOL]
        Keys, each followed by its answer: duration, banks that precharge at the end, then for each of those its
        number in the pattern, picoseconds from the start to the end of the precharge, its order.
    key : int64[WIDEST + 2 * banks]
        Pattern of the batch in hand.
    label : int64[banks]
        Number of a bank in the pattern, -1 before the batch touches it.
    touched : int64[banks]
        Banks by their number.
    rows : int64[banks, WIDEST]
        Rows of a bank by their number in the pattern.
    row_count : int64[banks]
    """

    reg: np.ndarray
    table: np.ndarray
    pool: np.ndarray
    key: np.ndarray
    label: np.ndarray
    touched: np.ndarray
    rows: np.ndarray
    row_count: np.ndarray


@kernel
def row_number(rows, row_count, bank, row):
    """Number of a row among those the batch has touched in its bank; a new one gets the next number."""
    count = row_count[bank]
    for k in range(count):
        if rows[bank, k] == row:
            return k
    rows[bank, count] = row
    row_count[bank] = count + 1
    return count


@kernel
def pattern_of(geo, label, touched, rows, row_count, key, addr, link, n):
    """Write the pattern of the reads into `key`; returns how many banks they touch."""
    label[:] = -1
    row_count[:] = 0
    count = 0
    for i in range(n):
        bank = bank_of(geo, addr[i], geo[GEO_READ_SHIFT])
        if label[bank] < 0:
            label[bank] = count
            touched[count] = bank
            count += 1
        row = row_number(rows, row_count, bank, row_of(geo, addr[i]))
        key[i] = (row << ROW_SHIFT) | label[bank] | (LINK_BIT if link[i] != 0 else 0)
    return count


@kernel
def pending_of(banks, touched, count, key, n, now):
    """Append what each touched bank still has to precharge; -1 when two of them end at the same instant."""
    for k in range(count):
        due = max(0, banks[touched[k], BANK_DUE] - now)
        key[n + k] = due
        for j in range(k):
            if due > 0 and key[n + j] == due:
                return -1
    return n + count


@kernel
def hash_of(key, length):
    """63-bit hash of a key."""
    h = length
    for i in range(length):
        h = ((h ^ key[i]) * 0x2545F4914F6CDD1D) & 0x7FFFFFFFFFFFFFFF
        h ^= h >> 29
    return h


@kernel
def find(table, pool, key, length, h):
    """Slot of a key, or the free slot where it belongs."""
    slot = h & (SLOTS - 1)
    while table[slot, ENTRY_LENGTH] != 0:
        if table[slot, ENTRY_HASH] == h and table[slot, ENTRY_LENGTH] == length:
            at = table[slot, ENTRY_AT]
            same = True
            for i in range(length):
                same = same and pool[at + i] == key[i]
            if same:
                return slot
        slot = (slot + 1) & (SLOTS - 1)
    return slot


@kernel
def recall(pool, at, q, banks, touched, now):
    """Apply a remembered answer: the instant at which the batch is done."""
    for k in range(pool[at + 1]):
        bank = touched[pool[at + 2 + 3 * k]]
        banks[bank, BANK_DUE] = now + pool[at + 3 + 3 * k]
        banks[bank, BANK_TURN] = pool[at + 4 + 3 * k]
        q[LAST] = max(q[LAST], banks[bank, BANK_DUE])
    return now + pool[at]


@kernel
def remember(memo, banks, count, length, h, slot, now, done):
    """Keep the answer to the pattern in `memo.key` in a free slot."""
    reg, pool = memo.reg, memo.pool
    at = reg[MEMO_USED]
    memo.table[slot, ENTRY_HASH] = h
    memo.table[slot, ENTRY_AT] = at
    memo.table[slot, ENTRY_LENGTH] = length
    for i in range(length):
        pool[at + i] = memo.key[i]
    at += length
    pool[at] = done - now
    pending = 0
    for k in range(count):
        bank = memo.touched[k]
        if banks[bank, BANK_DUE] > done:
            pool[at + 2 + 3 * pending] = k
            pool[at + 3 + 3 * pending] = banks[bank, BANK_DUE] - now
            pool[at + 4 + 3 * pending] = banks[bank, BANK_TURN]
            pending += 1
    pool[at + 1] = pending
    reg[MEMO_USED] = at + 2 + 3 * pending
    reg[MEMO_PATTERNS] += 1


@kernel
def make_room(memo, words):
    """Empty the tables when the next answer might not fit; whether they were emptied."""
    reg = memo.reg
    if reg[MEMO_USED] + words <= POOL and reg[MEMO_PATTERNS] < SLOTS // 2:
        return False
    memo.table[:] = 0
    reg[MEMO_USED] = 0
    reg[MEMO_PATTERNS] = 0
    reg[MEMO_CLEARED] += 1
    return True


@kernel
def waits_alone(wait, link, n):
    """Whether some read waits for the host without taking its link (a swap): such batches are not remembered."""
    for i in range(n):
        if wait[i] != 0 and link[i] == 0:
            return True
    return False


@kernel
def memo_batch(memo, d, addr, wait, link, n, now):
    """`ddr_batch` through the memo; a read behind the host link always waits the same time in a run."""
    reg, geo, banks = memo.reg, d.geo, d.banks
    if reg[MEMO_ON] == 0 or n == 0 or n > WIDEST or geo[GEO_CHANNEL_MASK] != 0 or waits_alone(wait, link, n):
        return ddr_batch(d, addr, wait, link, n, now)
    reg[MEMO_LOOKUPS] += 1
    count = pattern_of(geo, memo.label, memo.touched, memo.rows, memo.row_count, memo.key, addr, link, n)
    length = pending_of(banks, memo.touched, count, memo.key, n, now)
    if length < 0:
        return ddr_batch(d, addr, wait, link, n, now)
    h = hash_of(memo.key, length)
    slot = find(memo.table, memo.pool, memo.key, length, h)
    if memo.table[slot, ENTRY_LENGTH] != 0:
        at = memo.table[slot, ENTRY_AT] + length
        # Near the end of time the batch itself has to say that it overflows.
        if memo.pool[at] <= TIME_LIMIT - now:
            reg[MEMO_HITS] += 1
            return recall(memo.pool, at, d.q, banks, memo.touched, now)
    done = ddr_batch(d, addr, wait, link, n, now)
    if done != OVERFLOW and memo.table[slot, ENTRY_LENGTH] == 0:
        if make_room(memo, length + 2 + 3 * geo[GEO_BANKS]):
            slot = h & (SLOTS - 1)
        remember(memo, banks, count, length, h, slot, now, done)
    return done
