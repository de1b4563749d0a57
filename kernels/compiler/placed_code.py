"""Load code that `elf` has laid out for x86-64 Linux: one copy into memory, and one pass over addresses.

Neither LLVM nor numba is imported: importing llvmlite costs more than most runs.
"""

import contextlib
import ctypes
import functools
import mmap
from typing import NamedTuple

import numpy as np

from .modes import KernelError

_READ_EXECUTE = 1 | 4  # PROT_READ | PROT_EXEC


class PlacedCode(NamedTuple):
    """Code of an entry kernel, laid out for an address that is not known yet.

    Attributes
    ----------
    image : bytes
        Code and constants, then, on pages of their own, what may be written. Distances within it are written already.
    executable, room : int
        Bytes of code and constants, whole pages; bytes of memory in all, of which those behind `image` are zero.
    start : int
        Offset of the function to call.
    inside : bytes
        int64[n, 2]: an offset at which 8 bytes take an address, and the offset whose address that is.
    outside : list of (str, bytes)
        The same for symbols that the process defines: a name, and int64[n, 2] of offsets and what is added.
    """

    image: bytes
    executable: int
    room: int
    start: int
    inside: bytes
    outside: list[tuple[str, bytes]]


def load(code: PlacedCode, stand_ins) -> int:
    """Place code in memory, for as long as the process lives, and give the address of its function.

    A call of what bears a name in `stand_ins` ends the process.

    Returns
    -------
    int

    Raises
    ------
    KernelError
        Nothing defines a symbol, or the system lets no memory be made executable.
    """
    memory = mmap.mmap(-1, code.room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # For ever: a thread may still be in this code while Python takes its modules apart.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    memory[: len(code.image)] = code.image
    placed = np.frombuffer(memory, np.uint8)
    base = placed.ctypes.data
    addresses = [_pairs(code.inside) + (0, base)]
    for name, uses in code.outside:
        addresses.append(_pairs(uses) + (0, address_of(name, stand_ins)))
    written = np.concatenate(addresses)
    placed[written[:, :1] + np.arange(8)] = written[:, 1:].copy().view(np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(base, code.executable, _READ_EXECUTE):
        raise KernelError(f"memory cannot be made executable: error {ctypes.get_errno()}")
    return base + code.start


def _pairs(data):
    return np.frombuffer(data, np.int64).reshape(-1, 2)


def address_of(name: str, stand_ins) -> int:
    """Find the address of what the C library, the mathematics library or Python defines.

    Raises
    ------
    KernelError
        None of them does.
    """
    return _address("abort" if name in stand_ins else name)


@functools.cache
def _address(name):
    for library in _libraries():
        with contextlib.suppress(AttributeError):
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    raise KernelError(f"no symbol {name[:40]} in this process")


@functools.cache
def _libraries():
    found = [ctypes.CDLL(None)]
    with contextlib.suppress(OSError):
        found.append(ctypes.CDLL("libm.so.6"))
    return found
