"""The jit decorators of the project: the same options everywhere.

`entry` is for the few functions the host calls: their machine code is kept on disk (see `fingerprint`, `object_code`),
helpers included. `kernel` is for everything those call; it is compiled as part of its callers. `small` is a
`kernel` that is always inlined. `JIT` is False where numba compiles none of them in this process (see `modes`).
"""

import functools
import importlib

from .fingerprint import KERNELS, module_key
from .modes import LINKED, PLAIN, PYTHON, compiled_here, mode
from .object_code import NativeEntry

MODE = mode()
JIT = MODE in (LINKED, PLAIN)
ENTRIES: list = []  # dispatchers of the entry kernels of the module that is compiled here

# GIL released, IEEE arithmetic: no exceptions for 1/0. No reference counts: they would be two calls for every array
# that a kernel hands to another, and the caller of an entry holds the arrays anyway; no kernel can allocate one.
OPTIONS = {"nogil": True, "error_model": "numpy"}

if JIT:
    from numba import njit
if MODE == LINKED:
    from .linked import Part, whole
    from .numba_internals import NO_REFERENCE_COUNTS

    OPTIONS |= NO_REFERENCE_COUNTS
if MODE == PLAIN:
    from .plain import PlainEntry


def kernel(function, inlined=False):
    """Compile as part of the kernels that call it; whether LLVM inlines it is LLVM's choice."""
    # Said of every kernel: numba gives one that says nothing the option of the kernel that it is first compiled for.
    options = OPTIONS | {"forceinline": inlined}
    if MODE == LINKED:
        return Part(function, **options)
    return njit(**options)(function) if JIT else function


def small(function):
    """As `kernel`, for a few lines that are called for most instructions: LLVM inlines it wherever it is called."""
    return kernel(function, inlined=True)


def entry(function):
    """Compile for the host, and keep the machine code in the cache directory of the function's sources."""
    key = module_key(function)
    if MODE == PYTHON:
        return function
    if MODE == PLAIN:
        return PlainEntry(function, key, OPTIONS)
    if key != compiled_here():
        return functools.update_wrapper(NativeEntry(key, function.__name__), function)
    ENTRIES.append(whole(function, **OPTIONS))
    return ENTRIES[-1]


def entry_of(module: str, name: str):
    """Take an entry kernel for the host, by the key of its module and its name.

    Where it is object code the module is not imported, and neither are the kernels that it calls: importing them takes
    longer than loading the code.

    Returns
    -------
    callable
    """
    if MODE in (PYTHON, PLAIN) or module == compiled_here():
        return getattr(importlib.import_module(f"{KERNELS}.{module}"), name)
    return NativeEntry(module, name)


def bind(kernel, first: tuple, last: tuple):
    """Fix the first and the last arguments of an entry for many calls; the rest stands between them.

    The arrays among them are held until the function is dropped.

    Returns
    -------
    callable
    """
    if isinstance(kernel, NativeEntry):
        return kernel.bind(first, last)
    return lambda *args: kernel(*first, *args, *last)
