"""The jit decorators of the project: the same options everywhere.

`entry` is for the few functions the host calls: their machine code is kept on disk (see `cache`, `native`),
helpers included. `kernel` is for everything those call; it is compiled as part of its callers. `small` is a
`kernel` that is always inlined. `JIT` is False where numba compiles nothing: with NUMBA_DISABLE_JIT, and where
the entries are loaded as object code, so that numba is not even imported.
"""

from .fingerprint import cache_dir, module_key
from .object_code import NativeEntry, is_prebuilt

PREBUILT = is_prebuilt()
if PREBUILT:
    JIT = False
else:
    from numba import njit
    from numba.core import config

    from .linked import Part
    from .numba_cache import EntryCache

    JIT = not config.DISABLE_JIT

# GIL released, IEEE arithmetic: no exceptions for 1/0. No reference counts: they would be two calls for every array
# that a kernel hands to another, and the caller of an entry holds the arrays anyway; no kernel can allocate one.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
ENTRIES = {}  # dispatchers of the entry kernels, by the key of their module


def kernel(function):
    """Compile as part of the kernels that call it."""
    return Part(function, **OPTIONS) if JIT else function


def small(function):
    """As `kernel`, for a few lines that are called for most instructions: LLVM inlines it wherever it is called."""
    return Part(function, forceinline=True, **OPTIONS) if JIT else function


def entry(function):
    """Compile for the host, and keep the machine code in the cache directory of the function's sources."""
    if PREBUILT:
        return NativeEntry(function, module_key(function))
    if not JIT:
        return function
    module = module_key(function)
    compiled = njit(**OPTIONS)(function)
    if cache_dir(module) is not None:
        compiled._cache = EntryCache(function)
        ENTRIES.setdefault(module, []).append(compiled)
    return compiled


__all__ = ["ENTRIES", "JIT", "PREBUILT", "entry", "kernel", "small"]
