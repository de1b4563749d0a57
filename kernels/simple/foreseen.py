"""Values that another thread found for prefetches still to come: a table that one thread fills and another reads.

A value of the memo (`memo`) is right for its key, however it was found. So where the timing pass knows no value of a
key, it may take one from this table and put it into its memo, just as if it had simulated the batch.

A record is hash and words of a key, the key, and its value (`memo.VALUE_*`). Records are never changed or dropped while
two threads are at work, and a record is complete before a slot tells where it is.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.atomics import load_acquire, store_release
from ..compiler.jit import kernel, small
from ..memory.memo_table import insert, make_room
from .memo import VALUE_PENDING, VALUE_WIDTH, write_value
from .state import BANKS

SLOTS = 1 << 12  # a power of two
ARENA = 1 << 15  # words of all records

# Slots of `Foreseen.reg`; those of different threads are on different cache lines.
F_ON = 0  # 1: the timing pass looks here
F_USED = 8  # words of the arena; 0 stands for no record
F_PATTERNS = 9
F_WIDTH = 16

RECORD_HASH, RECORD_WORDS, RECORD_KEY = range(3)


class Foreseen(NamedTuple):
    """Values by key.

    Attributes
    ----------
    reg : int64[F_WIDTH]
    slots : int64[power of two]
        Open hashing: first word of a record, 0 where it is free.
    arena : int64[ARENA]
        Records.
    """

    reg: np.ndarray
    slots: np.ndarray
    arena: np.ndarray


@kernel
def find_foreseen(foreseen, key, words, key_hash):
    """Find the value of a key.

    Returns its first word in the arena, or 0.
    """
    slots, arena = foreseen.slots, foreseen.arena
    slot = key_hash & (len(slots) - 1)
    at = load_acquire(slots, slot)
    while at != 0:
        if arena[at + RECORD_HASH] == key_hash and arena[at + RECORD_WORDS] == words:
            same = True
            for i in range(words):
                same = same and arena[at + RECORD_KEY + i] == key[i]
            if same:
                return at + RECORD_KEY + words
        slot = (slot + 1) & (len(slots) - 1)
        at = load_acquire(slots, slot)
    return np.int64(0)


@kernel
def has_room(foreseen, words):
    """Tell whether a record of a key of `words` words fits."""
    reg = foreseen.reg
    longest = RECORD_KEY + words + VALUE_WIDTH + BANKS
    return reg[F_USED] + longest <= len(foreseen.arena) and reg[F_PATTERNS] < len(foreseen.slots) // 2


@kernel
def add_foreseen(foreseen, key, words, key_hash, banks, first, n, now, done):
    """Add the value of a key: `n` reads from `now` to `done`, which leave `banks`. Of two of one key one is found."""
    reg, slots, arena = foreseen.reg, foreseen.slots, foreseen.arena
    at = reg[F_USED]
    arena[at + RECORD_HASH] = key_hash
    arena[at + RECORD_WORDS] = words
    for i in range(words):
        arena[at + RECORD_KEY + i] = key[i]
    reg[F_USED] = write_value(arena, at + RECORD_KEY + words, banks, first, n, now, done)
    reg[F_PATTERNS] += 1
    slot = key_hash & (len(slots) - 1)
    while slots[slot] != 0:
        slot = (slot + 1) & (len(slots) - 1)
    store_release(slots, slot, at)


@small
def take_foreseen(memo, foreseen, value, length, key_hash):
    """Insert a foreseen value into the memo, for the key in `memo.key`, whose hash is `key_hash`.

    Returns the first word of the value in the memo's arena.
    """
    reg, arena = memo.reg, memo.arena
    at = make_room(reg, memo.table, arena, length + VALUE_WIDTH + BANKS) + length
    words = VALUE_WIDTH + foreseen.arena[value + VALUE_PENDING]
    for i in range(words):
        arena[at + i] = foreseen.arena[value + i]
    insert(reg, memo.table, arena, memo.key, length, key_hash, at + words)
    return at
