"""The one jit decorator of the project.

`kernel` compiles with the same options everywhere and keeps the machine code in the directory
chosen by `plena_emu.kernels.cache`, whose name changes whenever any kernel source, numba or the
CPU changes: numba itself does not notice a changed helper in another file.
"""

import numba
from numba import njit
from numba.core import config

from .cache import cache_dir

JIT = not config.DISABLE_JIT


def kernel(function):
    """Compile `function` in nopython mode: GIL released, IEEE arithmetic, no exceptions for 1/0."""
    if not JIT:
        return function
    directory = cache_dir()
    if directory is None:
        return njit(nogil=True, error_model="numpy")(function)
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory)
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before


__all__ = ["JIT", "kernel", "numba"]
