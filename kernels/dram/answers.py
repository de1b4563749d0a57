"""Answers to memory events that come later: what `foresight` tells the timing pass.

An *answer* begins at `Foresight.at[event]` in `Foresight.text`: hash and words of its key, where key and value begin in
the arena of the memo that foresees, words of the value, banks (`A_*`). Then come, for each bank, its number in the
memory, its row before and its row after.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.atomics import load_acquire
from ..compiler.jit import kernel
from .state import BANKS, NONE

MOST_EVENTS = 1 << 14  # of a batch
MOST_TEXT = 1 << 20  # words of the answers of a batch

# An answer.
A_HASH, A_WORDS, A_KEY, A_VALUE, A_LENGTH, A_BANKS, A_ALIGNED, A_WIDTH = range(8)

# Slots of `Foresight.reg`, each on a cache line of its own.
F_ON = 0  # 1: there may be answers
F_USED = 8  # words of `text`
F_WIDTH = 16


class Foresight(NamedTuple):
    """Answers to the events of a batch.

    Attributes
    ----------
    reg : int64[F_WIDTH]
    at : int64[MOST_EVENTS]
        Where an event's answer begins, NONE without any; written when the answer is.
    text : int64[MOST_TEXT]
    arena : int64[ARENA]
        Of the memo that foresees.
    """

    reg: np.ndarray
    at: np.ndarray
    text: np.ndarray
    arena: np.ndarray


@kernel
def answer_to(answers, event):
    """Find the answer to an event of the batch, or NONE."""
    return load_acquire(answers.at, event) if answers.reg[F_ON] == 1 else NONE


@kernel
def holds(state, answers, at, aligned):
    """Tell whether the rows are open that the answer at `at` was found for, and the list begins as it expects."""
    text = answers.text
    same = text[at + A_ALIGNED] == aligned
    for number in range(text[at + A_BANKS]):
        bank = text[at + A_WIDTH + 3 * number]
        same = same and state.channels[bank // BANKS].open_row[bank % BANKS] == text[at + A_WIDTH + 3 * number + 1]
    return same
