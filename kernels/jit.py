"""The jit decorators of the project: the same options everywhere.

`entry` is for the few functions the host calls: their machine code is kept on disk (see `cache`),
helpers included. `kernel` is for everything those call; it is compiled as part of its callers. `small` is a `kernel`
that is always inlined.
"""

import numba
from numba import njit
from numba.core import config

from .cache import cache_dir

JIT = not config.DISABLE_JIT


def kernel(function):
    """Compile in nopython mode: GIL released, IEEE arithmetic, no exceptions for 1/0."""
    return njit(nogil=True, error_model="numpy")(function) if JIT else function


def small(function):
    """As `kernel`, for a few lines that are called for most instructions: LLVM inlines it wherever it is called."""
    return njit(nogil=True, error_model="numpy", forceinline=True)(function) if JIT else function


def entry(function):
    """As `kernel`, and keep the machine code in the cache directory of the function's sources."""
    if not JIT:
        return function
    directory = cache_dir(function.__module__.rpartition(".")[2])
    if directory is None:
        return kernel(function)
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory)
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before


__all__ = ["JIT", "entry", "kernel", "numba", "small"]
