"""Describe a list of accesses by what they share: channel record, rank, bank group, bank, row (spec §4.2, §4.5).

That is all on which the behaviour of an idle DRAM depends. The numbers of banks and rows and the addresses themselves
do not matter, as all nodes of a level are alike. Banks are numbered in the order in which the accesses first touch
them, nodes above them by the first bank touched there, rows of a bank in order too, the open one first:

    accesses (bank, row)            (5, 90)  (5, 90)  (2, 7)  (5, 8)      bank 5 has row 8 open, bank 2 is closed
    numbered                        (0, 1)   (0, 1)   (1, 0)  (0, 0)
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from .front_end import BLOCK_MASK, channel_of, place_of
from .state import BANK_MASK, BANKS, NONE, PLACE_ROW

WIDEST = 2048  # longest list of accesses that is remembered
TOUCHED = 256  # most banks in one list
LEVELS = 4  # record, rank, bank group, bank

# A word of the key: bank and row of an access; before the first of a bank what it shares, and whether it is open.
ROW_SHIFT = 8
FIRST_TOUCH = 1 << 40
OPEN = 1 << 41
STORE, ALIGNED = 1, 2  # first word
ROW, NUMBER, NEXT, ROW_WIDTH = range(4)


class Pattern(NamedTuple):
    """Pattern of the present list, and the way back from its numbers to banks and rows.

    Attributes
    ----------
    key : int64[2 * WIDEST + TOUCHED + 1]
    node : int64[LEVELS, channel records * BANKS]
        Number of the first touched bank of a node, NONE before; a node has the index of its first bank.
    bank : int64[TOUCHED]
        Record and bank (record * BANKS + bank) of a number.
    first : int64[TOUCHED]
        Number of the first touched bank of the same record.
    latest : int64[TOUCHED]
        Where the list of a number's rows begins, NONE without any.
    row : int64[WIDEST + TOUCHED, ROW_WIDTH]
        Rows: the row, its number in its bank, the next of the list.
    """

    key: np.ndarray
    node: np.ndarray
    bank: np.ndarray
    first: np.ndarray
    latest: np.ndarray
    row: np.ndarray


@small
def node_at(cfg, level, bank):
    """Find the index of a bank's node on a level; `bank` is record * BANKS + bank."""
    if level == 0:
        return bank & -BANKS
    if level == 1:
        return bank & -(np.int64(1) << cfg.rank_bits)
    return bank & -cfg.group_banks if level == 2 else bank


@small
def add_row(pattern, number, row, at):
    """Add a row of a touched bank; its rows are numbered from 0."""
    before = pattern.latest[number]
    pattern.row[at, ROW] = row
    pattern.row[at, NUMBER] = 0 if before == NONE else pattern.row[before, NUMBER] + 1
    pattern.row[at, NEXT] = before
    pattern.latest[number] = at


@small
def touch(cfg, state, pattern, count, bank, rows):
    """Give `count` as number to a bank that is touched first; `rows` is where its open row is added.

    Returns what it shares with the banks before, as a word of the key.
    """
    word = FIRST_TOUCH
    for level in range(LEVELS):
        at = node_at(cfg, level, bank)
        if pattern.node[level, at] == NONE:
            pattern.node[level, at] = count
        word |= pattern.node[level, at] << (ROW_SHIFT * level)
    pattern.bank[count] = bank
    pattern.first[count] = pattern.node[0, node_at(cfg, 0, bank)]
    pattern.latest[count] = NONE
    row = state.channels[bank // BANKS].open_row[bank % BANKS]
    if row == NONE:
        return word
    add_row(pattern, count, row, rows)
    return word | OPEN


@small
def find_row(pattern, number, column, value):
    """Find the place in `Pattern.row` of a bank's row that has a value in a column, or NONE."""
    at = pattern.latest[number]
    while at != NONE and pattern.row[at, column] != value:
        at = pattern.row[at, NEXT]
    return at


@small
def first_equal(addr, i):
    """Find the first access to the block of access i."""
    block = addr[i] & BLOCK_MASK
    for k in range(i):
        if addr[k] & BLOCK_MASK == block:
            return k
    return i


@kernel
def pattern_of(state, pattern, addr, n, is_store, aligned):
    """Write the key of a list of accesses that finds the memory idle.

    A store's writes forward to reads of the same block, so equal blocks count too. `aligned`: the list begins at the
    instant of a tick.

    Returns (words of the key, banks touched); no words if it touches too many banks.
    """
    cfg, key = state.config[0], pattern.key
    key[0] = (STORE if is_store else 0) | (ALIGNED if aligned else 0)
    words, count, rows = np.int64(1), np.int64(0), np.int64(0)
    for i in range(n):
        place = place_of(cfg, addr[i])
        bank = channel_of(place) * BANKS + (place & BANK_MASK)
        number = pattern.node[LEVELS - 1, bank]
        if number == NONE:
            if count == TOUCHED:
                words = 0
                break
            number = count
            key[words] = touch(cfg, state, pattern, number, bank, rows)
            rows += pattern.latest[number] != NONE
            words += 1
            count += 1
        at = find_row(pattern, number, ROW, place >> PLACE_ROW)
        if at == NONE:
            at = rows
            add_row(pattern, number, place >> PLACE_ROW, rows)
            rows += 1
        key[words] = number | pattern.row[at, NUMBER] << ROW_SHIFT
        words += 1
        if is_store:
            key[words] = first_equal(addr, i)
            words += 1
    for number in range(count):
        for level in range(LEVELS):
            pattern.node[level, node_at(cfg, level, pattern.bank[number])] = NONE
    return words, count
