"""DRAM descriptions: typed schema and loader (spec §4.1, §4.2, §4.6, §4.7, §10.2).

A description is a YAML file: `dram/hbm2.yaml` explains every key. `load_dram` takes a name that ships or a path.
"""

import functools
import os
import pathlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plena_emu.errors import EmuError, UsageError

from .dram_checks import bit_mask, check
from .dram_timing import MAX_CLOCKS, StandardTiming, TimingRow, rows_of
from .loader import _locate, _read_yaml
from .sections import Positive, Section, Text, made_of

MAX_QUEUE = 62
SHORT_ROW = ("level", "preceding", "following", "clocks", "window")  # a row as a list

# Keys that had other names once, by the section they are in.
RENAMED = {
    "write_mode": {"enter": "high_watermark", "leave": "low_watermark"},
    "timing": {"after": "preceding", "before": "following"},
}

_HERE = pathlib.Path(__file__).resolve().parent / "dram"

QueueSize = Annotated[int, Meta(ge=1, le=MAX_QUEUE)]
AddressBit = Annotated[int, Meta(ge=0, le=63)]
BitSum = AddressBit | Annotated[str, Meta(pattern=r"^[0-9]{1,2}(\^[0-9]{1,2})+$")]


class Organisation(Section, frozen=True):
    """Nodes of each level below one node of the level above; `row` (rows of a bank) only tells the capacity."""

    channel: Positive
    rank: Positive
    bankgroup: Positive
    bank: Positive
    row: Positive | None = None


class RowBits(Section, frozen=True, rename={"first": "from"}):
    """The row: address bits from `first` on; bit i is xored with address bit `xor[i]`."""

    first: AddressBit
    xor: tuple[AddressBit, ...] = ()


class Mapping(Section, frozen=True):
    """Address bits of each field, lowest first; `6^4` is the exclusive or of two bits."""

    column: tuple[BitSum, ...]
    channel: tuple[BitSum, ...]
    rank: tuple[BitSum, ...]
    bankgroup: tuple[BitSum, ...]
    bank: tuple[BitSum, ...]
    row: RowBits


class Queues(Section, frozen=True):
    """A queue takes a request while it holds no more than this (§4.3)."""

    read: QueueSize
    write: QueueSize


class WriteMode(Section, frozen=True):
    """Queued writes at which write mode begins and ends (§4.5)."""

    high_watermark: Positive
    low_watermark: Annotated[int, Meta(ge=0)]


class Refresh(Section, frozen=True):
    """All-bank refresh of every rank each `interval` clocks (§4.7)."""

    interval: Positive


class DramFile(Section, frozen=True):
    """The keys of a DRAM description.

    `timing` is a list of rows or a map of the standard's names; with a map `read_latency` and `refresh` follow from it.
    `data_bus` tells whose data bus is one: a channel's (DDR), or each rank's (HBM, whose ranks are pseudo-channels).
    """

    name: Text
    description: Text
    period_ps: Annotated[int, Meta(ge=1, le=1_000_000)]
    transfer_bytes: Literal[8, 16, 32, 64]
    burst_clocks: Annotated[int, Meta(ge=1, le=64)]
    data_bus: Literal["channel", "rank"]
    organisation: Organisation
    mapping: Mapping
    queues: Queues
    write_mode: WriteMode
    timing: tuple[TimingRow, ...] | StandardTiming
    read_latency: Annotated[int, Meta(ge=1, le=MAX_CLOCKS)] | None = None
    refresh: Refresh | None = None
    revisions: dict[Literal["moe"], tuple[TimingRow, ...]] = {}
    note: Text | None = None

    @property
    def shares_bus(self) -> bool:
        """Whether two ranks or more share a data bus."""
        return self.data_bus == "channel" and self.organisation.rank > 1

    @property
    def read_clocks(self) -> int:
        """Clocks from RD to the end of its data: CL and the burst."""
        if self.read_latency is not None:
            return self.read_latency
        assert isinstance(self.timing, StandardTiming)  # rows come with a read latency: the schema checks that
        return self.timing.CL + self.burst_clocks

    @property
    def refresh_interval(self) -> int:
        """Clocks between refreshes, 0 without refresh."""
        if isinstance(self.timing, StandardTiming):
            return self.timing.tREFI or 0
        return self.refresh.interval if self.refresh else 0

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes of the memory; None where the description tells no rows."""
        return self.organisation.row << self.mapping.row.first if self.organisation.row else None

    def timing_rows(self, revision: str) -> tuple[TimingRow, ...]:
        """Return the timing table of an ISA revision (`base` or `moe`)."""
        rows = self.timing
        if isinstance(rows, StandardTiming):
            rows = rows_of(rows, self.burst_clocks, self.shares_bus)
        replaced = {row.key: row for row in self.revisions.get("moe", ())} if revision == "moe" else {}
        return tuple(replaced.get(row.key, row) for row in rows)

    def bit_masks(self, field: str) -> list[int]:
        """Return the address-bit masks of a field other than the row; a bit is the parity of the masked address."""
        return [bit_mask(bit) for bit in getattr(self.mapping, field)]


class DramDescription(DramFile, frozen=True, kw_only=True):
    """A loaded and checked DRAM description; `source` is its file."""

    source: str

    @property
    def label(self) -> str:
        """What tables and records call it: its name, and the file where a part that ships, copied and changed, kept it.

        A copy of `ddr3_800_x16` with another tRCD is `ddr3_800_x16 changed (./mine.yaml)`.
        """
        if self.name not in dram_names():
            return self.name
        shipped = _shipped(self.name)
        if msgspec.structs.replace(self, source=shipped.source) == shipped:
            return self.name
        return f"{self.name} changed" + (f" ({self.source})" if self.source != shipped.source else "")


def dram_names() -> list[str]:
    """Names of the DRAM descriptions that ship, sorted."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


@functools.cache
def _shipped(name):
    """A description that ships: every record of a run compares its own with it."""
    return load_dram(name)


def load_dram(name_or_path: str | os.PathLike) -> DramDescription:
    """Load a DRAM description by name (`hbm2`) or path (`./mine.yaml`).

    Raises
    ------
    UsageError
        The name is none that ships, or no text at all.
    EmuError
        The file cannot be read, or something in it is wrong: file and dotted key are named.
    """
    if not isinstance(name_or_path, str | os.PathLike) or not isinstance(os.fspath(name_or_path), str):
        raise UsageError(f"name_or_path: found {type(name_or_path).__name__}, expected the name or path of a DRAM"
                         " description")
    source = _locate(name_or_path, "DRAM description", _HERE, dram_names(), {})
    return to_dram(_read_yaml(source, "DRAM description"), os.fspath(source))


def to_dram(data: object, source: str, what: str = "DRAM description") -> DramDescription:
    """Return the `DramDescription` of what was parsed of the file `source`; raises `EmuError` for `what` it is."""
    return _checked(data, source, f"{what} {source}")


def checked(description: DramDescription, argument: str = "description") -> DramDescription:
    """Check a description that was made or changed in Python, as its file would be; returns it.

    Raises
    ------
    UsageError
        It is no `DramDescription`; `argument` is named.
    EmuError
        Something in it is wrong: argument and dotted key are named.
    """
    if not isinstance(description, DramDescription):
        raise UsageError(f"{argument}: found {type(description).__name__}, expected a DramDescription")
    try:
        data = msgspec.to_builtins(description)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise EmuError(f"{argument}: found a value that no DRAM description can have") from None
    source = data.pop("source", None)
    if not isinstance(source, str):
        raise EmuError(f"{argument}: source: found {type(source).__name__}, expected text")
    return _checked(data, source, argument)


def _checked(data, source, what):
    if isinstance(data, dict):
        _refuse_old_keys(data, what)
        data = _with_long_rows(data, what)
    file = made_of(data, DramFile, what)
    check(file, what)
    return DramDescription(**{name: getattr(file, name) for name in file.__struct_fields__}, source=source)


def _refuse_old_keys(data, what):
    """Keys that are called otherwise now, and keys that older files do not have."""
    for section, names in RENAMED.items():
        found = data.get(section)
        for number, part in enumerate(found if isinstance(found, list) else [found]):
            where = f"{section}[{number}]" if isinstance(found, list) else section
            for name in names if isinstance(part, dict) else ():
                if name in part:
                    raise EmuError(f"{what}: {where}.{name}: is now called {names[name]}")
    for key, text in (
        ("data_bus", "channel (its ranks share a data bus) or rank (each has one, as pseudo-channels have)"),
        ("burst_clocks", "the clocks that a transfer holds the data bus"),
    ):
        if key not in data:
            raise EmuError(f"{what}: {key}: found nothing, expected {text}")


def _with_long_rows(data, what):
    """The same with rows that are lists, `[level, preceding, following, clocks, window]`, as mappings."""
    data = dict(data)
    if isinstance(data.get("timing"), list):
        data["timing"] = [_long_row(row, f"{what}: timing[{n}]") for n, row in enumerate(data["timing"])]
    revisions = data.get("revisions")
    if isinstance(revisions, dict):
        data["revisions"] = {
            name: [_long_row(row, f"{what}: revisions.{name}[{n}]") for n, row in enumerate(rows)]
            if isinstance(rows, list) else rows
            for name, rows in revisions.items()
        }  # fmt: skip
    return data


def _long_row(row, where):
    if not isinstance(row, list):
        return row
    if len(row) not in (len(SHORT_ROW) - 1, len(SHORT_ROW)):
        raise EmuError(f"{where}: found {len(row)} values, expected {', '.join(SHORT_ROW[:-1])} and maybe a window")
    return dict(zip(SHORT_ROW, row, strict=False))

