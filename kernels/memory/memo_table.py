"""Keep the table of a memo: keys of words, each followed by its value, words too.

Keys are compared in full: a hash collision costs time, never correctness. Sizes are fixed; full tables are emptied.
"""

import numpy as np

from ..compiler.jit import kernel, small

# First slots of a memo's registers.
MEMO_ON = 0
MEMO_LOOKUPS = 1
MEMO_HITS = 2
MEMO_USED = 3  # words of the arena
MEMO_PATTERNS = 4
MEMO_CLEARED = 5  # times the tables were full
MEMO_WIDTH = 6

# Columns of a table, int64[power of two, ENTRY_WIDTH]: open hashing, ENTRY_WORDS is 0 where it is free.
ENTRY_HASH = 0
ENTRY_AT = 1  # first word of the key in the arena
ENTRY_WORDS = 2  # words of the key
ENTRY_WIDTH = 3


@kernel
def hash_of(key, words):
    """Compute the 63-bit hash of a key."""
    key_hash = words
    for i in range(words):
        key_hash = ((key_hash ^ key[i]) * 0x2545F4914F6CDD1D) & 0x7FFFFFFFFFFFFFFF
        key_hash ^= key_hash >> 29
    return key_hash


@kernel
def find(table, arena, key, words, key_hash):
    """Find the slot of a key, or the free slot where it belongs."""
    slot = key_hash & (len(table) - 1)
    while table[slot, ENTRY_WORDS] != 0:
        if table[slot, ENTRY_HASH] == key_hash and table[slot, ENTRY_WORDS] == words:
            at = table[slot, ENTRY_AT]
            same = True
            for i in range(words):
                same = same and arena[at + i] == key[i]
            if same:
                return slot
        slot = (slot + 1) & (len(table) - 1)
    return slot


@small
def look_up_hash(memo, key, words, key_hash):
    """Look up a key whose hash is known; counts the look-up and the hit.

    Returns the first word of its value in the arena, or 0.
    """
    memo.reg[MEMO_LOOKUPS] += 1
    slot = find(memo.table, memo.arena, key, words, key_hash)
    if memo.table[slot, ENTRY_WORDS] == 0:
        return np.int64(0)
    memo.reg[MEMO_HITS] += 1
    return memo.table[slot, ENTRY_AT] + words


@small
def look_up(memo, key, words):
    """Look up a key; counts the look-up and the hit.

    Returns (hash, first word of its value in the arena or 0).
    """
    key_hash = hash_of(key, words)
    return key_hash, look_up_hash(memo, key, words, key_hash)


@kernel
def make_room(reg, table, arena, words):
    """Empty the tables when a key and its value might not fit.

    Returns the first free word of the arena.
    """
    if reg[MEMO_USED] + words > len(arena) or reg[MEMO_PATTERNS] >= len(table) // 2:
        table[:] = 0
        reg[MEMO_USED] = reg[MEMO_PATTERNS] = 0
        reg[MEMO_CLEARED] += 1
    return reg[MEMO_USED]


@kernel
def insert(reg, table, arena, key, words, key_hash, end):
    """Insert a new key, for which `make_room` was called and whose value reaches up to word `end` of the arena."""
    at = reg[MEMO_USED]
    slot = find(table, arena, key, words, key_hash)
    table[slot, ENTRY_HASH] = key_hash
    table[slot, ENTRY_AT] = at
    table[slot, ENTRY_WORDS] = words
    for i in range(words):
        arena[at + i] = key[i]
    reg[MEMO_USED] = end
    reg[MEMO_PATTERNS] += 1
