"""Memory in proportion to use: anonymous maps without reservation (spec §5.4).

Declared sizes are far larger than what programs touch (a 128 GiB HBM, 4,194,304 vector rows). A
private anonymous map costs address space only; pages appear when they are first written.
"""

import contextlib
import mmap

import numpy as np

from .errors import EmuError

# Not in every version of the standard module; the value is that of Linux.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)

HUGE_PAGE = 1 << 21


def lazy_zeros(count: int, dtype, what: str, huge: int = 0) -> np.ndarray:
    """Array of `count` zeros of `dtype` that occupies memory only where it is written.

    Its first `huge` bytes are in huge pages where the system has them.

    Raises
    ------
    EmuError
        The address space (or a limit on it) does not allow the map; `what` names it.
    """
    size = max(1, count * np.dtype(dtype).itemsize)
    try:
        area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    except (OSError, ValueError, OverflowError) as error:
        raise EmuError(f"{what}: cannot map {size} bytes of address space: {error}") from None
    array = np.frombuffer(area, dtype=dtype, count=count)
    use_huge_pages(array, min(size, huge))
    return array


def use_huge_pages(array: np.ndarray, size: int) -> None:
    """Ask for pages of 2 MiB in the first `size` bytes of an array of `lazy_zeros`.

    First touches of small pages took a tenth of a run. It is only a wish; where it is granted, what is touched may
    occupy up to `size` bytes.
    """
    area = getattr(array.base, "obj", None)
    if size >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE") and isinstance(area, mmap.mmap):
        with contextlib.suppress(OSError):
            area.madvise(mmap.MADV_HUGEPAGE, 0, size)


def runs_of(touched: np.ndarray) -> list[tuple[int, int]]:
    """(first, end) of every run of non-zero entries of a uint8 map, in order."""
    marked = np.flatnonzero(touched)
    if not len(marked):
        return []
    breaks = np.flatnonzero(np.diff(marked) > 1)
    first = marked[np.concatenate(([0], breaks + 1))]
    last = marked[np.concatenate((breaks, [len(marked) - 1]))]
    return [(int(a), int(b) + 1) for a, b in zip(first, last)]
