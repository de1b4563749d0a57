"""Lay out an ELF object file for x86-64 as `placed_code` takes it, when it is compiled.

The sections are copied one after the other, and symbols get offsets from the beginning. Every relocation that LLVM's
large code model uses is known here: a distance is written at once, an address when the code is loaded. An object that
needs another is `Unknown`, and LLVM loads it.
"""

import mmap
import struct
import sys
from typing import NamedTuple

from .modes import KernelError
from .placed_code import PlacedCode, address_of

_HEADER = 64  # bytes of the file header
_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_RELOCATABLE, _X86_64 = 1, 62
_SYMBOL_TABLE, _RELOCATIONS, _NO_BITS, _UNWIND = 2, 4, 8, 0x70000001
_WRITE, _ALLOCATE = 1, 2
_UNDEFINED, _COMMON, _LARGE_COMMON = 0, 0xFFF2, 0xFF02
_ADDRESS, _DISTANCE, _SHORT_DISTANCE, _SHORT_CALL = 1, 24, 2, 4  # types of relocation
_ALIGNED = 16  # bytes: the alignment of everything that no section holds


class Unknown(Exception):
    """This object file is not one that is laid out here."""


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int

    def rows(self, code, layout):
        """Its content as rows of numbers."""
        return struct.iter_unpack(layout, code[self.offset : self.offset + self.size])


def place(code: bytes, symbol: str, stand_ins) -> PlacedCode:
    """Lay out an object file, of which `symbol` is to be called; calls of what is in `stand_ins` end the process.

    Returns
    -------
    PlacedCode

    Raises
    ------
    Unknown
        Another loader has to load it.
    """
    if sys.platform != "linux" or code[: len(_MAGIC)] != _MAGIC or len(code) < _HEADER:
        raise Unknown("no object file of this kind")
    kind, machine = struct.unpack_from("<HH", code, 16)
    (start,), (count,) = struct.unpack_from("<Q", code, 40), struct.unpack_from("<H", code, 60)
    if (kind, machine) != (_RELOCATABLE, _X86_64) or not start:
        raise Unknown("no object file for this processor")
    sections = [_Section(*row) for row in struct.iter_unpack("<IIQQQQIIQQ", code[start : start + 64 * count])]
    image = _Image(code, sections)
    symbols = _Symbols(code, sections, image)
    for section in sections:
        if section.type == _RELOCATIONS and section.info in image.places:
            first = image.places[section.info]
            for offset, info, addend in section.rows(code, "<QQq"):
                image.relocate(first + offset, info & 0xFFFFFFFF, symbols.found[info >> 32], addend)
    outside = [(name, _packed(uses)) for name, uses in image.outside.items()]
    for name, _ in outside:
        try:
            address_of(name, stand_ins)
        except KernelError as error:
            raise Unknown(str(error)) from None
    return PlacedCode(bytes(image.bytes), image.executable, image.end + 1, symbols.offset_of(symbol),
                      _packed(image.inside), outside)


def _packed(pairs):
    return b"".join(struct.pack("<qq", *pair) for pair in pairs)


class _Image:
    """Memory of one object: code and constants first, then, on pages of their own, what may be written.

    Attributes
    ----------
    places : dict of int
        Offset by the number of the section.
    executable, end : int
        Bytes of code and constants, whole pages; bytes in all.
    inside : list of (int, int)
        Where an address within the object belongs, and its offset.
    outside : dict of list
        The same by the name of a symbol that is defined elsewhere; what is added to its address.
    """

    def __init__(self, code, sections):
        used = [(number, section) for number, section in enumerate(sections)
                if section.flags & _ALLOCATE and section.type != _UNWIND]
        self.places: dict[int, int] = {}
        self.inside: list[tuple[int, int]] = []
        self.outside: dict[str, list[tuple[int, int]]] = {}
        end = self._lay_out([row for row in used if not row[1].flags & _WRITE], 0)
        self.executable = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        self.end = self._lay_out([row for row in used if row[1].flags & _WRITE], self.executable)
        self.bytes = bytearray(self.end)
        for number, section in used:
            if section.type != _NO_BITS:
                first = self.places[number]
                self.bytes[first : first + section.size] = code[section.offset : section.offset + section.size]

    def _lay_out(self, sections, end):
        for number, section in sections:
            align = max(1, section.align)
            self.places[number] = end = -(-end // align) * align
            end += section.size
        return end

    def reserve(self, size):
        """Make room behind the sections, all zero; returns its offset."""
        first = -(-self.end // _ALIGNED) * _ALIGNED
        self.end = first + size
        return first

    def relocate(self, at, kind, symbol, addend):
        """Write at an offset what a relocation says, or note it down for when addresses are known."""
        if kind == _ADDRESS:
            if isinstance(symbol, str):
                self.outside.setdefault(symbol, []).append((at, addend))
            else:
                self.inside.append((at, symbol + addend))
            return
        if kind not in (_DISTANCE, _SHORT_DISTANCE, _SHORT_CALL):
            raise Unknown("relocations of another code model")
        if isinstance(symbol, str):
            raise Unknown("a distance to another object")
        layout = "<q" if kind == _DISTANCE else "<i"
        try:
            struct.pack_into(layout, self.bytes, at, symbol + addend - at)
        except struct.error:
            raise Unknown("a distance that does not fit") from None


class _Symbols:
    """Symbols of an object: `found` has for each its offset, or its name where another object defines it."""

    def __init__(self, code, sections, image):
        table = next((section for section in sections if section.type == _SYMBOL_TABLE), None)
        if table is None:
            raise Unknown("no symbols")
        names = sections[table.link]
        self._names = code[names.offset : names.offset + names.size]
        self._global: list[tuple[int, int]] = []  # (place of the name, number)
        self.found: list[int | str] = []
        for name, info, _, section, value, size in table.rows(code, "<IBBHQQ"):
            if section != _UNDEFINED and info >> 4:
                self._global.append((name, len(self.found)))
            if section in (_COMMON, _LARGE_COMMON):
                self.found.append(image.reserve(size))
            elif section in image.places:
                self.found.append(image.places[section] + value)
            else:
                self.found.append(self._names[name : self._names.index(b"\0", name)].decode())

    def offset_of(self, wanted):
        """Offset of the function of a name."""
        sought = wanted.encode() + b"\0"
        for name, number in self._global:
            if self._names.startswith(sought, name) and isinstance(self.found[number], int):
                return self.found[number]
        raise Unknown(f"no symbol {wanted[:40]}")
