"""Memory in proportion to use: anonymous maps without reservation (spec §5.4).

Declared sizes are far larger than what programs touch (a 128 GiB HBM, 4,194,304 vector rows). A
private anonymous map costs address space only; pages appear when they are first written.
"""

import contextlib
import ctypes
import functools
import mmap
import sys
import threading
import weakref

import numpy as np

from ..errors import EmuError

# Not in every version of the standard module; the value is that of Linux.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_FIXED = 0x10  # of Linux: in place of what lies at the address
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # of Linux: as if every page were read, or written
READ_AHEAD = 1 << 24  # bytes of a mapped file whose pages are laid at once

HUGE_PAGE = 1 << 21
WORTH_HUGE = 1 << 19  # bytes: touching more in small pages takes longer than clearing a huge one
FEW_PAGES = 64
PAGE_ENTRY = 8  # bytes of a page in /proc/self/pagemap
MOST_SPARE = 2  # maps of a size that are kept for the next runs of the process
MOST_SIZES = 12
KEPT = 1 << 24  # bytes at the front of such a map whose pages are kept

_spare: dict[tuple[int, int], list[mmap.mmap]] = {}  # by size and bytes in huge pages


def lazy_zeros(count: int, dtype, what: str, huge: int = 0, again: bool = False) -> np.ndarray:
    """Make an array of `count` zeros of `dtype` that occupies memory only where it is written.

    Its first `huge` bytes are in huge pages where the system has them and the array is not small. With `again` its map
    may be that of an array which nobody holds any more: its pages, cleared, need not be had from the system again.

    Returns
    -------
    np.ndarray

    Raises
    ------
    EmuError
        The address space (or a limit on it) does not allow the map; `what` names it.
    """
    size = max(1, count * np.dtype(dtype).itemsize)
    if huge and size >= WORTH_HUGE:
        size = max(size, HUGE_PAGE)
    key = size, min(size, huge)
    area = _take_spare(key) if again else None
    if area is None:
        area = _new_map(size, what)
        use_huge_pages(np.frombuffer(area, dtype=np.uint8), key[1])
    array = np.frombuffer(area, dtype=dtype, count=count)
    if again:  # every view of the array holds its base
        weakref.finalize(array.base, _give_back, key, area).atexit = False
    return array


def _new_map(size, what):
    """Map zeros; spare maps are given up where there is no address space beside them."""
    while True:
        try:
            return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            if not _spare:
                raise EmuError(f"{what}: cannot map {size} bytes of address space:"
                               f" {getattr(error, 'strerror', None) or error}") from None
            _spare.clear()


def _take_spare(key):
    """Take a map that was given back, and clear it; None where there is none, or the system does not help."""
    try:
        area = _spare[key].pop()
    except (KeyError, IndexError):
        return None
    size = len(area)
    if size > KEPT:  # what lies behind is dropped: zeros again, in the time that it takes to drop what is there
        if not sys.platform.startswith("linux"):
            return None
        try:
            area.madvise(mmap.MADV_DONTNEED, KEPT, size - KEPT)
        except OSError:  # pages that are locked in memory stay
            return None
    kept = np.frombuffer(area, dtype=np.uint8, count=min(size, KEPT))
    occupied = _occupied(kept)
    if occupied is None:
        return None
    for first, end in occupied:
        kept[first:end] = 0
    return area


def _give_back(key, area):
    """Keep the map of an array that nobody holds any more."""
    areas = _spare.setdefault(key, [])
    if len(areas) < MOST_SPARE:
        areas.append(area)
    while len(_spare) > MOST_SIZES:
        _spare.pop(list(_spare)[0], None)  # the size that came first


def use_huge_pages(array: np.ndarray, size: int) -> None:
    """Ask for pages of 2 MiB in the first `size` bytes of an array of `lazy_zeros`.

    First touches of small pages took a tenth of a run. It is only a wish; where it is granted, what is touched may
    occupy up to `size` bytes.
    """
    area = getattr(array.base, "obj", None)
    if size >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE") and isinstance(area, mmap.mmap):
        with contextlib.suppress(OSError):
            area.madvise(mmap.MADV_HUGEPAGE, 0, size)


def touch(array: np.ndarray, first: int, past: int) -> None:
    """Have bytes [first, past) of an array occupy memory; what they hold stays, whoever writes it meanwhile.

    The first touch of a huge page takes as long as clearing it, and on a virtual machine whose host took the memory
    back, some milliseconds. It is only a wish: Linux from 5.14 on grants it.
    """
    madvise = _madvise()
    if madvise is not None and first < past:
        madvise(array.__array_interface__["data"][0] + first, past - first, _POPULATE_WRITE)


@functools.cache
def _madvise():
    """The C library's function; None where it knows other advice."""
    if not sys.platform.startswith("linux"):
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call


def touch_ahead(arrays: list[np.ndarray], size: int) -> None:
    """Have the first `size` bytes of each array occupy memory soon, on a thread that nobody waits for; see `touch`."""

    def touch_all():
        for array in arrays:  # holds them until it is done
            touch(array, 0, min(size, array.nbytes))

    with contextlib.suppress(RuntimeError):  # no more threads here
        threading.Thread(target=touch_all, daemon=True).start()


def map_file(descriptor: int, array: np.ndarray, size: int) -> bool:
    """Lay the first `size` bytes of a file over those of an array of `lazy_zeros`; writes do not reach the file.

    Pages are copied when they are first written. Those of a large file are laid when they are first touched.

    Returns
    -------
    bool
        False where the system does not map it there; the array is as before then.
    """
    address = array.__array_interface__["data"][0]
    area = getattr(array.base, "obj", None)
    if not sys.platform.startswith("linux") or address % mmap.PAGESIZE or not isinstance(area, mmap.mmap):
        return False
    call = ctypes.CDLL(None).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    flags = mmap.MAP_PRIVATE | _FIXED | _NORESERVE
    if call(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0) != address:
        return False
    madvise = _madvise()
    if madvise is not None and size <= READ_AHEAD:
        madvise(address, size, _POPULATE_READ)
    return True


def _occupied(array):
    """(first, end) of the parts of a uint8 array that can hold anything but 0, in order; None where nobody knows.

    Of a long map of `lazy_zeros` these are the pages that occupy memory, by the system's page table: time, too, goes by
    what was touched. A short one is one part.
    """
    address, page = array.__array_interface__["data"][0], mmap.PAGESIZE
    if len(array) < FEW_PAGES * page:
        return [(0, len(array))]
    if address % page:
        return None
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(address // page * PAGE_ENTRY)
            entries = np.frombuffer(file.read(-(-len(array) // page) * PAGE_ENTRY), dtype=np.uint64)
    except OSError:
        return None
    if len(entries) * page < len(array):
        return None
    used = np.flatnonzero(entries >> np.uint64(62))  # present or swapped out
    return [(first * page, min(end * page, len(array))) for first, end in _runs(used)]


def _runs(places):
    """(first, end) of every run of adjacent numbers in an ascending array."""
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > 1)
    first = places[np.concatenate(([0], breaks + 1))]
    last = places[np.concatenate((breaks, [len(places) - 1]))]
    return [(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]


def runs_of(touched: np.ndarray) -> list[tuple[int, int]]:
    """Yield (first, end) of every run of non-zero entries of a uint8 map, in order.

    Returns
    -------
    list[tuple[int, int]]
    """
    occupied = _occupied(touched)
    parts = [(0, len(touched))] if occupied is None else occupied
    found = [np.flatnonzero(touched[first:end]) + first for first, end in parts]
    return _runs(np.concatenate(found)) if found else []
