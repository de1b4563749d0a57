"""Is object code that is placed without LLVM the same as what LLVM loads, and is anything else left to LLVM?"""

import ctypes
import platform
import sys

import numpy as np
import pytest

from plena_emu.kernels.compiler import elf, object_code, object_file
from plena_emu.kernels.compiler.arguments import Kinds
from plena_emu.kernels.compiler.fingerprint import cache_path, owner_of

KEY = "data.tables"
VALUES = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x80000001], dtype=np.uint32)

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="elf loads for Linux on x86-64 alone"
)


@pytest.fixture
def code(warm, monkeypatch):
    """Object code of the module with the small kernels."""
    monkeypatch.delenv("PLENA_CACHE_DIR")
    return object_file.read(cache_path(KEY), owner_of(KEY))


def rounded(address, kinds):
    """What `round_words` at an address makes of `VALUES`."""
    out = np.zeros_like(VALUES)
    words = Kinds(kinds).words_of((VALUES, out, 7))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * len(words))(address)
    place = ctypes.c_int64(0)
    assert call(ctypes.addressof(place), ctypes.addressof(place), *words) == 0
    return out.tolist()


def test_both_loaders_give_the_same(code):
    entry = code.entries["round_words"]
    wanted = [0x3F800000, 0x3F800000, 0x3F820000, 0x7F800000, 0x80000000]
    assert rounded(elf.load(entry.code, entry.symbol, frozenset(code.stand_ins)), entry.kinds) == wanted
    assert rounded(object_code._load_by_llvm(code)["round_words"], entry.kinds) == wanted


def test_what_is_not_known_goes_to_llvm(code, monkeypatch):
    def refuse(*arguments):
        raise elf.Unknown("a test")

    monkeypatch.setattr(elf, "load", refuse)
    assert rounded(object_code.load(code)["round_words"], code.entries["round_words"].kinds)[0] == 0x3F800000


def changed(code, at, byte):
    return code[:at] + bytes([byte]) + code[at + 1 :]


@pytest.mark.parametrize("change", [
    lambda code: code[:40], lambda code: b"\xcf\xfa\xed\xfe" + code[4:], lambda code: changed(code, 18, 183),
    lambda code: changed(code, 16, 3), lambda code: changed(code, 4, 1),
], ids=["cut", "another format", "another processor", "a library", "32 bits"])
def test_other_objects_are_refused(code, change):
    entry = code.entries["round_words"]
    with pytest.raises(elf.Unknown):
        elf.load(change(entry.code), entry.symbol, frozenset(code.stand_ins))


def test_a_symbol_that_nothing_defines_is_refused(code):
    entry = code.entries["round_words"]
    with pytest.raises(elf.Unknown, match="no symbol numba_"):
        elf.load(entry.code, entry.symbol, frozenset())
    with pytest.raises(elf.Unknown, match="no symbol wrong"):
        elf.load(entry.code, "wrong", frozenset(code.stand_ins))


def test_relocations_of_another_kind_are_refused(code):
    entry = code.entries["round_words"]
    start, count = int.from_bytes(entry.code[40:48], "little"), int.from_bytes(entry.code[60:62], "little")
    data = bytearray(entry.code)
    sections = np.frombuffer(data, elf._SECTION, count, start)
    (place,) = [int(row["offset"]) for row in sections if row["type"] == elf._RELOCATIONS][:1]
    data[place + 8] = 9  # R_X86_64_GOTPCREL
    with pytest.raises(elf.Unknown, match="code model"):
        elf.load(bytes(data), entry.symbol, frozenset(code.stand_ins))
