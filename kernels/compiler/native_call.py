"""Calls of compiled code whose arguments are hundreds of machine words.

Compiled code takes the addresses of its result and of its error, then one integer of 64 bits after the other. The
calling convention of x86-64 (System V) passes the first six of these in registers and all others side by side on the
stack, where a structure that is passed by value lies just the same. So there the words behind the registers are passed
as one structure: ctypes converts half a dozen arguments in place of hundreds. Elsewhere each word is an argument.
"""

import ctypes
import platform
import struct
import sys
from collections.abc import Callable

_WORD = 8  # bytes
_IN_REGISTERS = 4  # words, beside the two addresses
_ON_STACK = 3  # least words on the stack: a structure of two or fewer may go elsewhere
_TWO_ADDRESSES = (ctypes.c_void_p, ctypes.c_void_p)


def pack(words: list[int]) -> bytes:
    """Lay out machine words side by side."""
    return struct.pack(f"{len(words)}q", *words)


def passes_blocks() -> bool:
    """Tell whether a structure that is passed by value lies on the stack like separate words, on this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def native_call(address: int, words: int, in_blocks: bool) -> Callable[[int, int, bytes], int]:
    """Make a function of the code at `address`, which takes two addresses and `words` machine words.

    Parameters
    ----------
    address, words : int
    in_blocks : bool
        Whether words may be passed as a structure (`passes_blocks`); only the time of a call differs.

    Returns
    -------
    callable
        Of the two addresses and the packed words; what it returns is the status that the code returns.
    """
    if not in_blocks or words < _IN_REGISTERS + _ON_STACK:
        single = ctypes.CFUNCTYPE(ctypes.c_int32, *_TWO_ADDRESSES, *[ctypes.c_int64] * words)(address)
        unpack = struct.Struct(f"{words}q").unpack
        return lambda result, error, packed: single(result, error, *unpack(packed))
    fields = [("words", ctypes.c_int64 * (words - _IN_REGISTERS))]
    block = type("WordsOnStack", (ctypes.Structure,), {"_fields_": fields})
    registers = struct.Struct(f"{_IN_REGISTERS}q").unpack_from
    behind = _WORD * _IN_REGISTERS
    together = ctypes.CFUNCTYPE(ctypes.c_int32, *_TWO_ADDRESSES, *[ctypes.c_int64] * _IN_REGISTERS, block)(address)

    def call(result, error, packed):
        return together(result, error, *registers(packed), block.from_buffer_copy(packed, behind))

    return call
