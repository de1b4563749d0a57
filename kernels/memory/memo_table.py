"""The tables of a memo: keys of words, each with an answer of words behind it.

Keys are compared in full: a hash collision costs time, never correctness. Sizes are fixed; full tables are emptied.
"""

from ..compiler.jit import kernel, small

# First slots of a memo's registers.
MEMO_ON = 0
MEMO_LOOKUPS = 1
MEMO_HITS = 2
MEMO_USED = 3  # words of the pool
MEMO_PATTERNS = 4
MEMO_CLEARED = 5  # times the tables were full
MEMO_WIDTH = 6

# Columns of a table, int64[power of two, ENTRY_WIDTH]: open hashing, ENTRY_WORDS is 0 where it is free.
ENTRY_HASH = 0
ENTRY_AT = 1  # first word of the key in the pool
ENTRY_WORDS = 2  # words of the key
ENTRY_WIDTH = 3


@kernel
def hash_of(key, words):
    """63-bit hash of a key."""
    h = words
    for i in range(words):
        h = ((h ^ key[i]) * 0x2545F4914F6CDD1D) & 0x7FFFFFFFFFFFFFFF
        h ^= h >> 29
    return h


@kernel
def find(table, pool, key, words, h):
    """Slot of a key, or the free slot where it belongs."""
    slot = h & (len(table) - 1)
    while table[slot, ENTRY_WORDS] != 0:
        if table[slot, ENTRY_HASH] == h and table[slot, ENTRY_WORDS] == words:
            at = table[slot, ENTRY_AT]
            same = True
            for i in range(words):
                same = same and pool[at + i] == key[i]
            if same:
                return slot
        slot = (slot + 1) & (len(table) - 1)
    return slot


@small
def look_up(memo, key, words):
    """(hash, first word of its answer in the pool or 0) of a key; counts the look-up and the hit."""
    memo.reg[MEMO_LOOKUPS] += 1
    h = hash_of(key, words)
    slot = find(memo.table, memo.pool, key, words, h)
    if memo.table[slot, ENTRY_WORDS] == 0:
        return h, 0
    memo.reg[MEMO_HITS] += 1
    return h, memo.table[slot, ENTRY_AT] + words


@kernel
def make_room(reg, table, pool, words):
    """Empty the tables when a key and its answer might not fit: first free word of the pool."""
    if reg[MEMO_USED] + words > len(pool) or reg[MEMO_PATTERNS] >= len(table) // 2:
        table[:] = 0
        reg[MEMO_USED] = reg[MEMO_PATTERNS] = 0
        reg[MEMO_CLEARED] += 1
    return reg[MEMO_USED]


@kernel
def enter(reg, table, pool, key, words, h, end):
    """Enter a new key, for which `make_room` was called and whose answer reaches up to word `end` of the pool."""
    at = reg[MEMO_USED]
    slot = find(table, pool, key, words, h)
    table[slot, ENTRY_HASH] = h
    table[slot, ENTRY_AT] = at
    table[slot, ENTRY_WORDS] = words
    for i in range(words):
        pool[at + i] = key[i]
    reg[MEMO_USED] = end
    reg[MEMO_PATTERNS] += 1
