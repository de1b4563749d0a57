"""Describe a list of accesses by what they share: channel record, rank, bank group, bank, row (spec §4.2, §4.5).

That is all on which the behaviour of an idle DRAM depends. The numbers of banks and rows and the addresses themselves
do not matter, as all nodes of a level are alike. Banks are numbered in the order in which the accesses first touch
them, nodes above them by the first bank touched there. Row 0 of a bank is its open one, the others follow in order:

    accesses (bank, row)            (5, 90)  (5, 90)  (2, 7)  (5, 8)      bank 5 has row 8 open, bank 2 is closed
    numbered                        (0, 1)   (0, 1)   (1, 1)  (0, 0)

The key is written in half-words of 16 bits: flags and length, then bank and row of each access, of a store then the
first access to the same block, then what each bank shares with those before. Most banks of a list see at most one
row beside the open one; a bank's third row and those that follow are in a list.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from .front_end import BLOCK_MASK, place_of
from .state import BANKS, NONE, PLACE_ROW

WIDEST = 2048  # longest list of accesses that is remembered
TOUCHED = 256  # most banks in one list
LEVELS = 3  # record, rank, bank group
WORD = 4  # half-words of a word of the key
KEY_WIDTH = 1 + 2 * WIDEST // WORD + 2 * TOUCHED // WORD + 1
PLACE_MASK = (1 << PLACE_ROW) - 1  # record and bank of a place

STORE, ALIGNED = 1, 2  # flags, above them the length of the list
LENGTH_SHIFT = 2
ROW_SHIFT = 8  # an access: the bank, then the row
MOST_ROWS = 256  # of a bank, the open one included
LEVEL_BITS = 8  # a bank: the first banks touched of record, rank and group, then whether it is open
OPEN = 1 << LEVEL_BITS

ROW, NUMBER, NEXT, ROW_WIDTH = range(4)  # a row in the list of a bank


class Pattern(NamedTuple):
    """Pattern of the present list, and the way back from its numbers to banks and rows.

    A bank of the memory is its record * BANKS + its number in the channel.

    Attributes
    ----------
    key : int64[KEY_WIDTH]
    half : uint16[WORD * KEY_WIDTH]
        The same memory.
    touched : int64[1]
        Banks that the present list touches.
    bank : int64[TOUCHED + 1]
        Bank of a number.
    first : int64[TOUCHED]
        Number of the first touched bank of the same record.
    number : int64[banks]
        Number of a bank, NONE where it is not touched.
    row : int64[banks, 2]
        Rows 0 and 1 of a touched bank, NONE without any.
    more : int64[banks]
        Where the list of a bank's other rows begins, NONE without any.
    listed : int64[WIDEST, ROW_WIDTH]
        Those rows: the row, its number in its bank, the next of the list.
    node : int64[LEVELS, banks]
        Number of the first touched bank of a node, NONE before; a node has the index of its first bank.
    block : int64[WIDEST]
        Of a store: the latest access before that is the first one to another block of the same row.
    latest_block : int64[banks]
        Of a store: the latest such access in a bank.
    place : int64[WIDEST]
        Places of the accesses, with the row's number in the place of the row.
    left_bank, left_row : int64[TOUCHED]
        Of the pending list: the banks it touches, and the rows that its value leaves open, NONE for none.
    """

    key: np.ndarray
    half: np.ndarray
    touched: np.ndarray
    bank: np.ndarray
    first: np.ndarray
    number: np.ndarray
    row: np.ndarray
    more: np.ndarray
    listed: np.ndarray
    node: np.ndarray
    block: np.ndarray
    latest_block: np.ndarray
    place: np.ndarray
    left_bank: np.ndarray
    left_row: np.ndarray


@small
def node_at(cfg, level, bank):
    """Find the index of a bank's node on a level."""
    if level == 0:
        return bank & -BANKS
    return bank & -(np.int64(1) << cfg.rank_bits) if level == 1 else bank & -cfg.group_banks


@small
def find_other(pattern, bank, column, value):
    """Find the place in `Pattern.listed` of a bank's third or later row that has a value in a column, or NONE."""
    at = pattern.more[bank]
    while at != NONE and pattern.listed[at, column] != value:
        at = pattern.listed[at, NEXT]
    return at


@small
def row_of(pattern, bank, number):
    """Look up the row of a touched bank that has a number; NONE for NONE, a closed bank."""
    if number == NONE:
        return NONE
    return pattern.row[bank, number] if number < 2 else pattern.listed[find_other(pattern, bank, NUMBER, number), ROW]


@small
def number_of(pattern, bank, row):
    """Look up the number of a row of a touched bank; NONE for NONE, a closed bank."""
    if row == NONE:
        return NONE
    if row == pattern.row[bank, 0]:
        return np.int64(0)
    return np.int64(1) if row == pattern.row[bank, 1] else pattern.listed[find_other(pattern, bank, ROW, row), NUMBER]


@kernel
def number_other(pattern, bank, row, listed):
    """Number a bank's third or a later row; `listed` is where it is added, if it is new.

    Returns its number.
    """
    at = find_other(pattern, bank, ROW, row)
    if at != NONE:
        return pattern.listed[at, NUMBER]
    before = pattern.more[bank]
    pattern.listed[listed, ROW] = row
    pattern.listed[listed, NUMBER] = 2 if before == NONE else pattern.listed[before, NUMBER] + 1
    pattern.listed[listed, NEXT] = before
    pattern.more[bank] = listed
    return pattern.listed[listed, NUMBER]


@kernel
def forget(cfg, pattern):
    """Forget the pattern before."""
    for number in range(pattern.touched[0]):
        bank = pattern.bank[number]
        pattern.number[bank] = pattern.row[bank, 1] = pattern.more[bank] = pattern.latest_block[bank] = NONE
        for level in range(LEVELS):
            pattern.node[level, node_at(cfg, level, bank)] = NONE
    pattern.touched[0] = 0


@kernel
def number_accesses(state, pattern, addr, n):
    """Number banks and rows of accesses, and write them to the key; without branches that the addresses decide.

    Returns whether there were not too many of them.
    """
    cfg, half = state.config[0], pattern.half
    count, listed = np.int64(0), np.int64(0)
    for i in range(n):
        place = place_of(cfg, addr[i])
        bank, row = place & PLACE_MASK, place >> PLACE_ROW
        known = pattern.number[bank]
        number = count if known == NONE else known
        pattern.number[bank] = number
        pattern.bank[count] = bank
        count += known == NONE
        opened = state.channels[bank // BANKS].open_row[bank % BANKS]
        other = pattern.row[bank, 1]
        other = row if other == NONE and row != opened else other
        pattern.row[bank, 1] = other
        row_number = np.int64(row != opened)
        if row != other and row != opened:
            row_number = number_other(pattern, bank, row, listed)
            listed += 1
        if count > TOUCHED or row_number >= MOST_ROWS:
            pattern.touched[0] = count
            return False
        pattern.place[i] = row_number << PLACE_ROW | bank
        half[WORD + i] = number | row_number << ROW_SHIFT
    pattern.touched[0] = count
    return True


@kernel
def relate_banks(state, pattern, at):
    """Write to half-word `at` of the key and the following ones what the touched banks share."""
    cfg, half = state.config[0], pattern.half
    for number in range(pattern.touched[0]):
        bank = pattern.bank[number]
        opened = state.channels[bank // BANKS].open_row[bank % BANKS]
        pattern.row[bank, 0] = opened
        for level in range(LEVELS):
            node = node_at(cfg, level, bank)
            first = pattern.node[level, node]
            pattern.node[level, node] = number if first == NONE else first
        pattern.first[number] = pattern.node[0, node_at(cfg, 0, bank)]
        half[at] = pattern.first[number] | pattern.node[1, node_at(cfg, 1, bank)] << LEVEL_BITS
        half[at + 1] = pattern.node[2, node_at(cfg, 2, bank)] | (OPEN if opened != NONE else 0)
        at += 2
    return at


@kernel
def number_blocks(pattern, addr, n):
    """Write for each access of a store the first one to its block to the key: writes forward to reads of a block."""
    for i in range(n):
        bank = pattern.place[i] & PLACE_MASK
        k = pattern.latest_block[bank]
        while k != NONE and (addr[k] ^ addr[i]) & BLOCK_MASK != 0:
            k = pattern.block[k]
        if k == NONE:
            pattern.block[i] = pattern.latest_block[bank]
            pattern.latest_block[bank] = i
        pattern.half[WORD + n + i] = i if k == NONE else k


@kernel
def pattern_of(state, pattern, addr, n, is_store, aligned):
    """Write the key of a list of accesses that finds the memory idle.

    `aligned`: the list begins at the instant of a tick.

    Returns (words of the key, banks touched); no words if it touches too many banks, or too many rows of one.
    """
    forget(state.config[0], pattern)
    pattern.key[0] = (STORE if is_store else 0) | (ALIGNED if aligned else 0) | n << LENGTH_SHIFT
    if not number_accesses(state, pattern, addr, n):
        return 0, 0
    at = WORD + n
    if is_store:
        number_blocks(pattern, addr, n)
        at += n
    at = relate_banks(state, pattern, at)
    while at % WORD != 0:
        pattern.half[at] = 0
        at += 1
    return at // WORD, pattern.touched[0]
