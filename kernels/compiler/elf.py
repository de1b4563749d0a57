"""Load an ELF object file for x86-64 into executable memory, without LLVM.

Importing llvmlite costs more than most runs, and placing one object file takes little: its sections are copied one
after the other, its symbols get addresses, and each relocation writes one address or one distance. Every relocation
that LLVM's large code model uses is known here; an object that needs another is `Unknown`, and LLVM loads it.
"""

import contextlib
import ctypes
import functools
import mmap
import sys

import numpy as np

_HEADER = 64  # bytes of the file header
_SECTION = np.dtype([("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"),
                     ("size", "<u8"), ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entry", "<u8")])
_SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"),
                    ("size", "<u8")])
_RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])

_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_RELOCATABLE, _X86_64 = 1, 62
_SYMBOL_TABLE, _RELOCATIONS, _NO_BITS, _UNWIND = 2, 4, 8, 0x70000001
_WRITE, _ALLOCATE = 1, 2
_UNDEFINED, _ABSOLUTE, _COMMON, _LARGE_COMMON = 0, 0xFFF1, 0xFFF2, 0xFF02
_ADDRESS, _DISTANCE, _SHORT_DISTANCE, _SHORT_CALL = 1, 24, 2, 4  # types of relocation
_ALIGNED = 16  # bytes: the alignment of everything that no section holds
_READ_EXECUTE = 1 | 4  # PROT_READ | PROT_EXEC



class Unknown(Exception):
    """This object file, or this machine, is not one that is loaded here."""


def load(code: bytes, symbol: str, stand_ins) -> int:
    """Place an object file in memory and give the address of one of its symbols.

    A call of what bears a name in `stand_ins` ends the process.

    Returns
    -------
    int

    Raises
    ------
    Unknown
        Another loader has to load it.
    """
    if sys.platform != "linux" or code[: len(_MAGIC)] != _MAGIC or len(code) < _HEADER:
        raise Unknown("no object file of this kind")
    kind, machine = np.frombuffer(code, "<u2", 2, 16)
    start, count = int.from_bytes(code[40:48], "little"), int.from_bytes(code[60:62], "little")
    if (kind, machine) != (_RELOCATABLE, _X86_64) or not start:
        raise Unknown("no object file for this processor")
    sections = np.frombuffer(code, _SECTION, count, start)
    symbols, names = _symbols(code, sections)
    common = np.isin(symbols["section"], (_COMMON, _LARGE_COMMON))
    ends = np.cumsum(-(-symbols["size"][common].astype(np.int64) // _ALIGNED) * _ALIGNED)
    image = _Image(code, sections, int(ends[-1]) if len(ends) else 0)
    addresses = _addresses(symbols, names, image, stand_ins)
    addresses[common] = image.room + np.concatenate(([0], ends))[:-1]
    for section in sections[sections["type"] == _RELOCATIONS]:
        if int(section["info"]) in image.places:
            image.relocate(np.frombuffer(code, _RELOCATION, int(section["size"]) // _RELOCATION.itemsize,
                                         int(section["offset"])), image.places[int(section["info"])], addresses)
    place = _find(names, symbols, symbol)
    image.make_executable()
    return int(addresses[place])


class _Image:
    """Memory of one object: code and constants first, then, on pages of their own, what may be written.

    Attributes
    ----------
    places : dict of int
        Offset in the memory by the number of the section.
    room : int
        Address of the `room` bytes for what no section holds.
    """

    def __init__(self, code, sections, room):
        used = [(number, section) for number, section in enumerate(sections)
                if int(section["flags"]) & _ALLOCATE and section["type"] != _UNWIND]
        self.places = {}
        size = self._lay_out([row for row in used if not int(row[1]["flags"]) & _WRITE], 0)
        self._executable = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._end = self._lay_out([row for row in used if int(row[1]["flags"]) & _WRITE], self._executable)
        self._end = -(-self._end // _ALIGNED) * _ALIGNED
        self._memory = mmap.mmap(-1, self._end + room + 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # For ever: a thread may still be in this code while Python takes its modules apart.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._memory))
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self.address = self._bytes.ctypes.data
        self.room = self.address + self._end
        for number, section in used:
            if section["type"] != _NO_BITS:
                first, size = int(section["offset"]), int(section["size"])
                self._memory[self.places[number] : self.places[number] + size] = code[first : first + size]

    def _lay_out(self, sections, end):
        for number, section in sections:
            align = max(1, int(section["align"]))
            end = -(-end // align) * align
            self.places[number] = end
            end += int(section["size"])
        return end

    def relocate(self, relocations, place, addresses):
        """Write what the relocations of the section at `place` say; `addresses` are those of the symbols."""
        types = relocations["type"]
        if not np.isin(types, (_ADDRESS, _DISTANCE, _SHORT_DISTANCE, _SHORT_CALL)).all():
            raise Unknown("relocations of another code model")
        offsets = relocations["offset"].astype(np.int64) + place
        values = addresses[relocations["symbol"]] + relocations["addend"]
        values = np.where(types == _ADDRESS, values, values - (offsets + self.address))
        short = (types == _SHORT_DISTANCE) | (types == _SHORT_CALL)
        if (short & (np.abs(values) >= 1 << 31)).any():
            raise Unknown("a distance that does not fit")
        for width, chosen in ((8, ~short), (4, short)):
            pieces = values[chosen].view(np.uint8).reshape(-1, 8)[:, :width]
            self._bytes[offsets[chosen, None] + np.arange(width)] = pieces

    def make_executable(self):
        """Let code and constants be executed and no longer be written."""
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if protect(self.address, self._executable, _READ_EXECUTE):
            raise Unknown(f"memory cannot be made executable: error {ctypes.get_errno()}")


def _symbols(code, sections):
    """(Table of symbols, bytes with their names)."""
    (found,) = np.flatnonzero(sections["type"] == _SYMBOL_TABLE)[:1]
    section = sections[found]
    symbols = np.frombuffer(code, _SYMBOL, int(section["size"]) // _SYMBOL.itemsize, int(section["offset"]))
    table = sections[int(section["link"])]
    return symbols, code[int(table["offset"]) : int(table["offset"]) + int(table["size"])]


def _addresses(symbols, names, image, stand_ins):
    """int64[symbols]: address of each symbol; 0 of those that `image.room` is for."""
    where = symbols["section"].astype(np.int64)
    bases = np.zeros(1 << 16, dtype=np.int64)
    for number, place in image.places.items():
        bases[number] = image.address + place
    addresses = bases[where] + symbols["value"].astype(np.int64)
    for number in np.flatnonzero((where == _UNDEFINED) & (symbols["name"] != 0)):
        addresses[number] = _outside(_name(names, symbols[number]), stand_ins)
    return addresses


def _name(names, symbol):
    start = int(symbol["name"])
    return names[start : names.index(b"\0", start)].decode()


def _find(names, symbols, wanted):
    """Number of the symbol of a name."""
    sought = wanted.encode() + b"\0"
    for number in np.flatnonzero((symbols["section"] != _UNDEFINED) & (symbols["info"] >> 4 != 0)):
        start = int(symbols[number]["name"])
        if names.startswith(sought, start):
            return number
    raise Unknown(f"no symbol {wanted[:40]}")


def _outside(name, stand_ins):
    """Address of what the C library, the mathematics library or Python defines."""
    for library in _libraries():
        with contextlib.suppress(AttributeError):
            return ctypes.cast(getattr(library, "abort" if name in stand_ins else name), ctypes.c_void_p).value
    raise Unknown(f"no symbol {name[:40]} in this process")


@functools.cache
def _libraries():
    found = [ctypes.CDLL(None)]
    with contextlib.suppress(OSError):
        found.append(ctypes.CDLL("libm.so.6"))
    return found
