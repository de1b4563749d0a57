"""Large arrays that go from run to run of a process: the first touch of their pages may take longer than their use.

A virtual machine's host takes free memory back, and gives it again page by page, some microseconds each.
"""

import weakref

import numpy as np

from ..machine.lazy_arrays import lazy_zeros

MOST_SPARE = 3  # arrays of a size that are kept

_spare: dict[int, list[np.ndarray]] = {}  # by words


def take_words(count: int) -> np.ndarray:
    """Make an array of `count` words with any contents; its memory is kept for the next one when nobody holds it.

    Returns
    -------
    int64[count]
    """
    try:
        whole = _spare.setdefault(count, []).pop()
    except IndexError:
        whole = lazy_zeros(count, np.int64, "memo of a DRAM")
    words = whole[:]
    weakref.finalize(words, _give_back, whole).atexit = False
    return words


def _give_back(whole):
    spare = _spare[len(whole)]
    if len(spare) < MOST_SPARE:
        spare.append(whole)
