"""Does compiled code get every machine word, whichever way words are passed?"""

import ctypes
import random

import pytest

from plena_emu.kernels.compiler.native_call import native_call, pack, passes_blocks


def takes(count, status):
    """Code that takes two addresses and `count` words: it, its address, and what it was called with."""
    calls = []

    def body(*args):
        calls.append(args)
        return status

    code = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * count)(body)
    return code, ctypes.cast(code, ctypes.c_void_p).value, calls


@pytest.mark.parametrize("in_blocks", [False, pytest.param(True, marks=pytest.mark.skipif(
    not passes_blocks(), reason="structures lie elsewhere on this machine"))])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7, 8, 9, 20, 21, 330])
def test_each_word_arrives_in_its_place(count, in_blocks):
    rng = random.Random(count)
    words = [rng.randrange(-(2**63), 2**63) for _ in range(count)]
    code, address, calls = takes(count, -7)
    call = native_call(address, count, in_blocks)
    assert call(16, 24, pack(words)) == -7
    assert call(32, 40, pack(words[::-1])) == -7
    assert calls == [(16, 24, *words), (32, 40, *words[::-1])]
    del code  # it had to live until here


def test_words_are_packed_in_order():
    assert pack([1, -1, 2**63 - 1]) == bytes([1] + [0] * 7 + [255] * 15 + [127])
    assert pack([]) == b""
