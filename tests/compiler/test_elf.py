"""Is object code that is laid out for loading without LLVM the same as what LLVM loads, and is the rest left to it?"""

import ctypes
import platform
import struct
import subprocess
import sys

import numpy as np
import pytest

from plena_emu.kernels.compiler import elf, object_code, placed_code
from plena_emu.kernels.compiler.arguments import Kinds
from plena_emu.kernels.compiler.fingerprint import cache_path, owner_of
from plena_emu.kernels.compiler.modes import KernelError
from plena_emu.kernels.compiler.object_file import ModuleCode, ObjectCode, decode, encode, read

VALUES = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x80000001], dtype=np.uint32)
WANTED = [0x3F800000, 0x3F800000, 0x3F820000, 0x7F800000, 0x80000000]

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="code is laid out for Linux on x86-64 alone"
)

# Object code as LLVM makes it of `round_words`.
COMPILE = """
import sys
import numpy as np
from plena_emu.kernels.compiler import modes
assert modes.choose(modes.LINKED, "data.tables")
from plena_emu.kernels.compiler.numba_internals import object_code, stand_ins
from plena_emu.kernels.compiler.object_file import ModuleCode, ObjectCode, encode
from plena_emu.kernels.data.tables import round_words
words = np.zeros(1, dtype=np.uint32)
round_words(words, words.copy(), 7)
module = ModuleCode({"round_words": ObjectCode(*object_code(round_words))}, stand_ins())
sys.stdout.buffer.write(encode("test", module))
"""


@pytest.fixture(scope="module")
def compiled():
    """Object code of a module with one kernel, for LLVM."""
    run = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return decode("test", run.stdout)


@pytest.fixture
def entry(compiled):
    return compiled.entries["round_words"]


@pytest.fixture
def stand_ins(compiled):
    return frozenset(compiled.stand_ins)


def rounded(address, kinds):
    """What `round_words` at an address makes of `VALUES`."""
    out = np.zeros_like(VALUES)
    words = Kinds(kinds).words_of((VALUES, out, 7))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * len(words))(address)
    place = ctypes.c_int64(0)
    assert call(ctypes.addressof(place), ctypes.addressof(place), *words) == 0
    return out.tolist()


def test_both_loaders_give_the_same(compiled, entry, stand_ins):
    placed = tuple(elf.place(entry.code, entry.symbol, stand_ins))
    kept = ModuleCode({"round_words": ObjectCode(entry.symbol, entry.kinds, placed)}, compiled.stand_ins)
    for module in (kept, decode("me", encode("me", kept)), compiled):  # the last by LLVM
        assert rounded(object_code.load(module, "round_words"), entry.kinds) == WANTED


def test_code_may_lie_in_several_places_at_once(entry, stand_ins):
    placed = elf.place(entry.code, entry.symbol, stand_ins)
    addresses = [placed_code.load(placed, stand_ins) for _ in range(3)]
    assert len(set(addresses)) == 3 and all(rounded(address, entry.kinds) == WANTED for address in addresses)


def test_what_is_kept_here_needs_no_llvm(warm, monkeypatch):
    monkeypatch.delenv("PLENA_CACHE_DIR")
    for key in ("data.tables", "control.control"):
        kept = read(cache_path(key), owner_of(key))
        assert all(isinstance(entry.code, tuple) for entry in kept.entries.values())


def changed(code, at, byte):
    return code[:at] + bytes([byte]) + code[at + 1 :]


@pytest.mark.parametrize("change", [
    lambda code: code[:40], lambda code: b"\xcf\xfa\xed\xfe" + code[4:], lambda code: changed(code, 18, 183),
    lambda code: changed(code, 16, 3), lambda code: changed(code, 4, 1),
], ids=["cut", "another format", "another processor", "a library", "32 bits"])
def test_other_objects_are_refused(entry, stand_ins, change):
    with pytest.raises(elf.Unknown):
        elf.place(change(entry.code), entry.symbol, stand_ins)


def test_a_symbol_that_nothing_defines_is_refused(entry, stand_ins):
    with pytest.raises(elf.Unknown, match="no symbol numba_"):
        elf.place(entry.code, entry.symbol, frozenset())
    with pytest.raises(elf.Unknown, match="no symbol wrong"):
        elf.place(entry.code, "wrong", stand_ins)
    placed = elf.place(entry.code, entry.symbol, stand_ins)
    with pytest.raises(KernelError, match="no symbol numba_"):
        placed_code.load(placed, frozenset())


def relocation(code):
    """Place of the first relocation of code: offset (8 bytes), kind (4), symbol (4), what is added (8)."""
    start, count = struct.unpack_from("<Q", code, 40)[0], struct.unpack_from("<H", code, 60)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, start + 64 * number) for number in range(count)]
    used = [row[4] for row in sections if row[1] == 4 and sections[row[7]][2] & 4]  # of what is executed
    return used[0]


def test_relocations_of_another_kind_are_refused(entry, stand_ins):
    at = relocation(entry.code) + 8
    with pytest.raises(elf.Unknown, match="code model"):
        elf.place(changed(entry.code, at, 9), entry.symbol, stand_ins)  # R_X86_64_GOTPCREL


def test_a_distance_too_far_is_refused(entry, stand_ins):
    """A short distance between two ends of the address space; its symbol is the one that is called."""
    at = relocation(entry.code)
    start, count = struct.unpack_from("<Q", entry.code, 40)[0], struct.unpack_from("<H", entry.code, 60)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", entry.code, start + 64 * number) for number in range(count)]
    table = next(row for row in sections if row[1] == 2)
    symbols = [struct.unpack_from("<IBBHQQ", entry.code, table[4] + 24 * number) for number in range(table[5] // 24)]
    inside = next(number for number, row in enumerate(symbols) if 0 < row[3] < count and row[1] >> 4)
    code = bytearray(entry.code)
    for kind, added, words in ((2, 1 << 40, "does not fit"), (2, 0, None), (24, 1 << 40, None)):
        struct.pack_into("<IIq", code, at + 8, kind, inside, added)
        if words is None:
            elf.place(bytes(code), entry.symbol, stand_ins)
            continue
        with pytest.raises(elf.Unknown, match=words):
            elf.place(bytes(code), entry.symbol, stand_ins)
