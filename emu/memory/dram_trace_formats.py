"""Text formats of DRAM traces: the project's CSV and those of other simulators, line by line.

Each reader takes a line without its comment and gives the 64-byte accesses it stands for, `(time, op, address)`. A
format without times gives None for them; `FORMATS` tells what a format's times count. `guess` names the format of a
line that can be no other.
"""

import re
from typing import NamedTuple

from ..errors import EmuError
from ..inputs.words import shown
from ..kernels.limits import ACCESS_BYTES, TIME_LIMIT

READ, WRITE = 0, 1
HEADER = ["time_ps", "op", "address"]
COMPLETIONS = [*HEADER, "accept_ps", "done_ps"]
OPS = {"read": READ, "write": WRITE}
MAX_ADDRESS = (1 << 64) - 1
MAX_PACKET = 1 << 20  # bytes of a gem5 packet
DIGITS = 40  # characters of a number, at most

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]+", re.ASCII)
_CYCLE = re.compile(r"(-?[0-9]+)(\.0*)?", re.ASCII)


def _number(text, most, what):
    if not _NUMBER.fullmatch(text):
        raise EmuError(f"{what}: found {shown(text)}, expected a decimal or 0x hexadecimal number")
    value = int(text, 16 if text[:2].lower() == "0x" else 10) if len(text) <= DIGITS else most + 1
    if value > most:
        raise EmuError(f"{what}: found {shown(text)}, expected at most {most}")
    return value


def _block(address):
    """First byte of the 64-byte block of an address: other simulators' addresses are those of any byte."""
    return address & -ACCESS_BYTES


class CsvReader:
    """`time_ps,read|write,address`; a header is optional, and that of the completions brings two more fields."""

    def __init__(self, word_bytes=1):
        self._fields = len(HEADER)
        self._first = True

    def expect_accesses(self) -> None:
        """Take no header any more: lines were read elsewhere."""
        self._first = False

    @property
    def more_fields(self) -> int:
        """Fields behind the address."""
        return self._fields - len(HEADER)

    def read(self, text, where):
        """Yield the access of a line."""
        fields = [field.strip() for field in text.split(",")]
        header, self._first = self._first and fields[0].lower() == HEADER[0], False
        if header:
            names = [field.lower() for field in fields]
            if names not in (HEADER, COMPLETIONS):
                raise EmuError(f"{where}: found header {shown(text)}, expected {','.join(HEADER)}")
            self._fields = len(names)
            return
        if len(fields) != self._fields:
            expected = "time_ps,read|write,address" if self._fields == len(HEADER) else "as many as in the header"
            raise EmuError(f"{where}: found {len(fields)} field{'s' * (len(fields) != 1)}, expected {self._fields}:"
                           f" {expected}")
        time = _number(fields[0], TIME_LIMIT, f"{where}: time_ps")
        if fields[1].lower() not in OPS:
            raise EmuError(f"{where}: found {shown(fields[1])}, expected read or write")
        address = _number(fields[2], MAX_ADDRESS, f"{where}: address")
        if address % ACCESS_BYTES:
            raise EmuError(f"{where}: address: found {shown(fields[2])}, expected a multiple of {ACCESS_BYTES}")
        yield time, OPS[fields[1].lower()], address


class RamulatorReader:
    """`LD|ST address`, or `address R|W`: no times."""

    OPS = {"LD": READ, "ST": WRITE, "R": READ, "W": WRITE}

    def __init__(self, word_bytes=1):
        pass

    def read(self, text, where):
        """Yield the access of a line."""
        fields = text.split()
        if len(fields) == 2 and fields[0] in ("LD", "ST"):
            op, address = fields
        elif len(fields) == 2 and fields[1] in ("R", "W"):
            address, op = fields
        else:
            raise EmuError(f"{where}: found {shown(text)}, expected LD or ST and an address, or an address and R or W")
        yield None, self.OPS[op], _block(_number(address, MAX_ADDRESS, f"{where}: address"))


class DramsimReader:
    """`address READ|WRITE cycle`; an address is hexadecimal with or without 0x."""

    OPS = {"READ": READ, "WRITE": WRITE}

    def __init__(self, word_bytes=1):
        pass

    def read(self, text, where):
        """Yield the access of a line."""
        fields = text.split()
        if len(fields) != 3 or fields[1].upper() not in self.OPS:
            raise EmuError(f"{where}: found {shown(text)}, expected an address, READ or WRITE, and a cycle")
        address = fields[0] if fields[0][:2].lower() == "0x" else f"0x{fields[0]}"
        cycle = _number(fields[2], TIME_LIMIT, f"{where}: cycle")
        yield cycle, self.OPS[fields[1].upper()], _block(_number(address, MAX_ADDRESS, f"{where}: address"))


class Gem5Reader:
    """`[id,]r|w,address,size[,flags],tick[,pc]`, as gem5 decodes its packet traces; a tick is a picosecond."""

    OPS = {"r": READ, "w": WRITE}

    def __init__(self, word_bytes=1):
        pass

    def read(self, text, where):
        """Yield an access for each block that a packet touches."""
        fields = [field.strip() for field in text.split(",")]
        if len(fields) > 1 and fields[0].isdecimal():
            fields = fields[1:]
        if fields[0] not in self.OPS or not 4 <= len(fields) <= 6:
            raise EmuError(f"{where}: found {shown(text)}, expected r or w, an address, a size, flags and a tick")
        op, first = self.OPS[fields[0]], _number(fields[1], MAX_ADDRESS, f"{where}: address")
        size = _number(fields[2], MAX_PACKET, f"{where}: size")
        tick = _number(fields[3] if len(fields) == 4 else fields[4], TIME_LIMIT, f"{where}: tick")
        last = first + max(size, 1) - 1
        if last > MAX_ADDRESS:
            raise EmuError(f"{where}: size: found {size}, expected a packet that ends below 2^64")
        for address in range(_block(first), last + 1, ACCESS_BYTES):
            yield tick, op, address


class ScaleSimReader:
    """`cycle, address, address, ...` of words; -1 is no address, and cycles may begin below 0.

    The words of a row that share a 64-byte block are one access. The first row's cycle, if negative, becomes 0.
    """

    OP = READ

    def __init__(self, word_bytes=1):
        self._word_bytes = word_bytes
        self._shift = None

    def read(self, text, where):
        """Yield an access for each block of a row."""
        fields = [field.strip() for field in text.rstrip(", \t").split(",")]
        numbers = [_CYCLE.fullmatch(field) if len(field) <= DIGITS else None for field in fields]
        for field, number in zip(fields, numbers, strict=True):
            if number is None:
                raise EmuError(f"{where}: found {shown(field)}, expected a cycle and addresses, all of them integers")
        cycle, *words = (int(number[1]) for number in numbers)
        if self._shift is None:
            self._shift = max(-cycle, 0)
        cycle += self._shift
        if not 0 <= cycle <= TIME_LIMIT:
            raise EmuError(f"{where}: cycle: found {shown(fields[0])}, expected a rising one, at most {TIME_LIMIT}")
        addresses = [word * self._word_bytes for word in words if word != -1]
        if any(not 0 <= address <= MAX_ADDRESS for address in addresses):
            raise EmuError(f"{where}: address: expected -1 for none, or 0 to 2^64 - 1")
        for address in dict.fromkeys(_block(address) for address in addresses):
            yield cycle, self.OP, address


class ScaleSimWriteReader(ScaleSimReader):
    """The same of writes, as in the traces of outputs."""

    OP = WRITE


class Format(NamedTuple):
    """A format: its reader, what its times count (`ps`, `clocks`, None without any), and lines that are no other's."""

    reader: type
    times: str | None
    sure: str


_HEX = r"0[xX][0-9a-fA-F]+"
FORMATS = {
    "csv": Format(CsvReader, "ps", r"time_ps\s*,.*|[0-9]+\s*,\s*(read|write)\s*,.*"),
    "ramulator": Format(RamulatorReader, None, rf"(LD|ST)\s+({_HEX}|[0-9]+)|{_HEX}\s+[RW]"),
    "dramsim3": Format(DramsimReader, "clocks", r"(0[xX])?[0-9a-fA-F]+\s+(READ|WRITE)\s+[0-9]+"),
    "gem5": Format(Gem5Reader, "ps", r"([0-9]+,)?[rwu],[0-9]+,[0-9]+(,[0-9]+){1,3}"),
    "scalesim": Format(ScaleSimReader, "clocks", r"-?[0-9]+(\.0*)?(\s*,\s*-?[0-9]+(\.0*)?)+\s*,?"),
    "scalesim-ofmap": Format(ScaleSimWriteReader, "clocks", ""),
}


def guess(text: str, name: str) -> str:
    """Return the format of a trace by its first line; `csv` where the line is no other's for sure.

    SCALE-Sim names the traces of its outputs OFMAP, and those are writes: `name` is the trace's.
    """
    for form, (_, _, sure) in FORMATS.items():
        if sure and len(text) <= 1 << 16 and re.fullmatch(sure, text, re.ASCII):
            return "scalesim-ofmap" if form == "scalesim" and "OFMAP" in name.upper() else form
    return "csv"
