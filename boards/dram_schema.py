"""DRAM descriptions: typed schema, checks and loader (spec §4.1, §4.2, §4.6, §4.7).

A description is a YAML file: `dram/hbm2.yaml` explains every key. `load_dram` takes a name that ships or a path.
"""

import os
import pathlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from plena_emu.errors import EmuError

from .loader import _locate, _read_yaml
from .schema import Positive, Text, _convert, _Section

LEVELS = ("channel", "rank", "bankgroup", "bank")
COMMANDS = ("ACT", "PRE", "RD", "WR", "PREA", "REF")
RANK_COMMANDS = ("PREA", "REF")  # address a rank, not a bank

# What the kernel's fixed-size records hold.
MAX_CHANNELS = 256
MAX_RANKS = 4
MAX_BANKS = 32  # a channel: the active queue holds 33 requests, at most one a bank
MAX_GROUP = 16  # banks of a bank group
MAX_QUEUE = 62
MAX_CLOCKS = 4095
MAX_WINDOW = 8
MAX_WINDOWED = 2
MAX_ROWS = 64
MIN_ROW_BIT = 14

_HERE = pathlib.Path(__file__).resolve().parent / "dram"

Clocks = Annotated[int, Meta(ge=0, le=MAX_CLOCKS)]
QueueSize = Annotated[int, Meta(ge=1, le=MAX_QUEUE)]
AddressBit = Annotated[int, Meta(ge=0, le=63)]
BitSum = AddressBit | Annotated[str, Meta(pattern=r"^[0-9]{1,2}(\^[0-9]{1,2})+$")]
Level = Literal["channel", "rank", "bankgroup", "bank"]
Command = Literal["ACT", "PRE", "RD", "WR", "PREA", "REF"]


class Organisation(_Section, frozen=True):
    """Nodes of each level below one node of the level above."""

    channel: Positive
    rank: Positive
    bankgroup: Positive
    bank: Positive


class RowBits(_Section, frozen=True, rename={"first": "from"}):
    """The row: address bits from `first` on; bit i is xored with address bit `xor[i]`."""

    first: AddressBit
    xor: tuple[AddressBit, ...] = ()


class Mapping(_Section, frozen=True):
    """Address bits of each field, lowest first; `6^4` is the exclusive or of two bits."""

    column: tuple[BitSum, ...]
    channel: tuple[BitSum, ...]
    rank: tuple[BitSum, ...]
    bankgroup: tuple[BitSum, ...]
    bank: tuple[BitSum, ...]
    row: RowBits


class Queues(_Section, frozen=True):
    """A queue takes a request while it holds no more than this (§4.3)."""

    read: QueueSize
    write: QueueSize


class WriteMode(_Section, frozen=True):
    """Queued writes at which write mode begins and ends (§4.5)."""

    enter: Positive
    leave: Annotated[int, Meta(ge=0)]


class Refresh(_Section, frozen=True):
    """All-bank refresh of every rank each `interval` clocks (§4.7)."""

    interval: Positive


class TimingRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`before` comes at least `clocks` after the `window`-th last `after` on the same node of `level` (§4.6)."""

    level: Level
    after: Command
    before: Command
    clocks: Clocks
    window: Annotated[int, Meta(ge=1, le=MAX_WINDOW)] = 1

    @property
    def key(self) -> tuple:
        """What a revision finds the row by."""
        return (self.level, self.after, self.before, self.window)


class DramFile(_Section, frozen=True):
    """The keys of a DRAM description."""

    name: Text
    description: Text
    period_ps: Annotated[int, Meta(ge=1, le=1_000_000)]
    transfer_bytes: Literal[8, 16, 32, 64]
    read_latency: Annotated[int, Meta(ge=1, le=MAX_CLOCKS)]
    organisation: Organisation
    mapping: Mapping
    queues: Queues
    write_mode: WriteMode
    timing: tuple[TimingRow, ...]
    refresh: Refresh | None = None
    revisions: dict[Literal["moe"], tuple[TimingRow, ...]] = {}


class DramDescription(DramFile, frozen=True, kw_only=True):
    """A loaded and checked DRAM description; `source` is its file."""

    source: str

    def timing_rows(self, revision: str) -> tuple[TimingRow, ...]:
        """Timing table of an ISA revision (`base` or `moe`)."""
        replaced = {row.key: row for row in self.revisions.get(revision, ())}
        return tuple(replaced.get(row.key, row) for row in self.timing)

    def bit_masks(self, field: str) -> list[int]:
        """Address-bit mask of each bit of a field other than the row; the bit is the parity of the masked address."""
        return [_mask(bit) for bit in getattr(self.mapping, field)]


def dram_names() -> list[str]:
    """Names of the DRAM descriptions that ship, sorted."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load_dram(name_or_path: str | os.PathLike) -> DramDescription:
    """DRAM description by name (`hbm2`) or path (`./mine.yaml`).

    Raises
    ------
    UsageError
        The name is none that ships.
    EmuError
        The file cannot be read, or something in it is wrong: file and dotted key are named.
    """
    source = _locate(name_or_path, "DRAM description", _HERE, dram_names(), {})
    return to_dram(_read_yaml(source, "DRAM description"), os.fspath(source))


def to_dram(data: object, source: str) -> DramDescription:
    """`DramDescription` from the parsed YAML of `source`; raises `EmuError`."""
    what = f"DRAM description {source}"
    file = _convert(data, DramFile, what)
    _check_organisation(file.organisation, what)
    _check_mapping(file, what)
    _check_queues(file, what)
    _check_timing(file.timing, f"{what}: timing")
    _check_revisions(file, what)
    _check_refresh(file, what)
    return DramDescription(**{name: getattr(file, name) for name in file.__struct_fields__}, source=source)


def _mask(bit):
    """Address-bit mask of a `BitSum`."""
    return 1 << bit if isinstance(bit, int) else sum(1 << number for number in {int(text) for text in bit.split("^")})


def _width(count):
    return count.bit_length() - 1


def _check_organisation(organisation, what):
    for level in LEVELS:
        count = getattr(organisation, level)
        if count & (count - 1):
            raise EmuError(f"{what}: organisation.{level}: found {count}, expected a power of two")
    banks = organisation.rank * organisation.bankgroup * organisation.bank
    for key, found, limit in (
        ("channel", organisation.channel, MAX_CHANNELS),
        ("rank", organisation.rank, MAX_RANKS),
        ("bank", organisation.bank, MAX_GROUP),
    ):
        if found > limit:
            raise EmuError(f"{what}: organisation.{key}: found {found}, expected at most {limit}")
    if banks > MAX_BANKS:
        raise EmuError(f"{what}: organisation: found {banks} banks a channel, expected at most {MAX_BANKS}")


def _check_mapping(file, what):
    """Every field has the bits its level needs and no two addresses share a place."""
    what = f"{what}: mapping"
    mapping, offset, first = file.mapping, _width(file.transfer_bytes), file.mapping.row.first
    if first < MIN_ROW_BIT:
        raise EmuError(f"{what}.row.from: found {first}, expected at least {MIN_ROW_BIT}")
    masks = []
    for field in ("column", *LEVELS):
        bits = getattr(mapping, field)
        needed = _width(getattr(file.organisation, field)) if field in LEVELS else len(bits)
        if len(bits) != needed:
            raise EmuError(f"{what}.{field}: found {len(bits)} bits, expected {needed}")
        masks += [(field, _mask(bit)) for bit in bits]
    masks_and_row = [*masks, *(("row.xor", 1 << bit) for bit in mapping.row.xor)]
    for field, mask in masks_and_row:
        if mask >> first or mask & ((1 << offset) - 1):
            raise EmuError(f"{what}.{field}: address bits must be {offset} to {first - 1} (row.from is {first})")
    if len(mapping.row.xor) > 64 - first:
        raise EmuError(f"{what}.row.xor: found {len(mapping.row.xor)} bits, expected at most {64 - first}")
    if len(masks) != first - offset:
        raise EmuError(f"{what}: found {len(masks)} bits in all fields, expected {first - offset} (row.from is"
                       f" {first})")
    if _rank([mask for _, mask in masks]) != len(masks):
        raise EmuError(f"{what}: two addresses of one row share a place: the bit sums depend on each other")


def _rank(masks):
    """Number of independent masks (Gaussian elimination over exclusive or)."""
    basis = []
    for mask in masks:
        for element in basis:
            mask = min(mask, mask ^ element)
        if mask:
            basis.append(mask)
    return len(basis)


def _check_queues(file, what):
    mode, size = file.write_mode, file.queues.write
    if mode.enter > size + 1:
        raise EmuError(f"{what}: write_mode.enter: found {mode.enter}, expected at most {size + 1} (queues.write + 1)")
    if mode.leave >= mode.enter:
        raise EmuError(f"{what}: write_mode.leave: found {mode.leave}, expected less than enter {mode.enter}")


def _check_timing(rows, what):
    seen = set()
    for number, row in enumerate(rows):
        where = f"{what}[{number}]"
        if row.key in seen:
            raise EmuError(f"{where}: {row.level} {row.after} {row.before} is there twice")
        seen.add(row.key)
        wide = [name for name in (row.after, row.before) if name in RANK_COMMANDS]
        if wide and row.level not in ("channel", "rank"):
            raise EmuError(f"{where}: found level {row.level}, expected channel or rank ({wide[0]} addresses a rank)")
    if len(rows) > MAX_ROWS:
        raise EmuError(f"{what}: found {len(rows)} rows, expected at most {MAX_ROWS}")
    windowed = sum(row.window > 1 for row in rows)
    if windowed > MAX_WINDOWED:
        raise EmuError(f"{what}: found {windowed} rows with a window, expected at most {MAX_WINDOWED}")


def _check_revisions(file, what):
    known = {row.key for row in file.timing}
    for revision, rows in file.revisions.items():
        where = f"{what}: revisions.{revision}"
        _check_timing(rows, where)
        for number, row in enumerate(rows):
            if row.key not in known:
                raise EmuError(f"{where}[{number}]: {row.level} {row.after} {row.before} is no row of timing")


def _check_refresh(file, what):
    """A refresh interval must leave time for requests, or nothing would ever be served."""
    if file.refresh is None:
        return
    longest = max((row.clocks for rows in (file.timing, *file.revisions.values()) for row in rows), default=0)
    needed = 4 * longest + 2 * file.organisation.rank + 1
    if file.refresh.interval < needed:
        raise EmuError(
            f"{what}: refresh.interval: found {file.refresh.interval}, expected at least {needed} "
            f"(four times the longest timing figure)"
        )
