"""Large arrays of memory models, which go from run to run of a process.

The first touch of a page may take longer than its use: a virtual machine's host takes free memory back, and gives it
again page by page, some microseconds each.
"""

import mmap
import weakref

import numpy as np

MOST_SPARE = 3  # large arrays of a size that are kept

_spare: dict[int, list[np.ndarray]] = {}  # by words


def take_words(count: int) -> np.ndarray:
    """Make words with any contents, in small pages; their memory is kept for the next ones when nobody holds it.

    Returns
    -------
    int64[count]
    """
    try:
        whole = _spare.setdefault(count, []).pop()
    except IndexError:
        size = count * np.dtype(np.int64).itemsize
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a shared map would be one memory for a process and its forks
        whole = np.frombuffer(mmap.mmap(-1, size, private), dtype=np.int64)
    words = whole[:]
    weakref.finalize(words, _give_back, whole).atexit = False
    return words


def _give_back(whole):
    spare = _spare[len(whole)]
    if len(spare) < MOST_SPARE:
        spare.append(whole)
