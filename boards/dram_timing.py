"""Timing of a DRAM description: its rows, and the standard's names from which rows follow (spec §4.6, §10.2)."""

from typing import Annotated, Literal

from msgspec import Meta

from .sections import Positive, Section

LEVELS = ("channel", "rank", "bankgroup", "bank")
OTHER_RANK = "other_rank"  # level of a row between two ranks of a channel
COMMANDS = ("ACT", "PRE", "RD", "WR", "PREA", "REF")
RANK_COMMANDS = ("PREA", "REF")  # address a rank, not a bank
COLUMN_COMMANDS = ("RD", "WR")

MAX_CLOCKS = 4095
MAX_WINDOW = 8
BUS_TURN = 2  # clocks between a read's data and a write's on one data bus

Clocks = Annotated[int, Meta(ge=0, le=MAX_CLOCKS)]
Level = Literal["channel", "rank", "bankgroup", "bank", "other_rank"]
Command = Literal["ACT", "PRE", "RD", "WR", "PREA", "REF"]


class TimingRow(Section, frozen=True):
    """`following` comes at least `clocks` after the `window`-th last `preceding` on the same node of `level` (§4.6).

    Level `other_rank`: after `preceding` on a bank, `following` on the banks of the channel's other ranks.
    """

    level: Level
    preceding: Command
    following: Command
    clocks: Clocks
    window: Annotated[int, Meta(ge=1, le=MAX_WINDOW)] = 1
    name: str = ""

    @property
    def key(self) -> tuple:
        """What a revision finds the row by."""
        return (self.level, self.preceding, self.following, self.window)

    def __str__(self):
        return f"{self.level} {self.preceding} {self.following}"


class StandardTiming(Section, frozen=True):
    """Timing by the standard's names, in clocks.

    A part without bank groups has tCCD, tRRD and tWTR; one with them has each as _S (another group) and _L (the same
    group). tWTR and tWR count from the end of the write's data. tRFC and tREFI go together: neither is no refresh.
    tRTRS are the clocks between the data of two ranks on one bus.
    """

    CL: Clocks
    CWL: Clocks
    tRCD: Clocks
    tRP: Clocks
    tRAS: Clocks
    tRC: Clocks
    tFAW: Clocks
    tRTP: Clocks
    tWR: Clocks
    tCCD: Clocks | None = None
    tCCD_S: Clocks | None = None
    tCCD_L: Clocks | None = None
    tRRD: Clocks | None = None
    tRRD_S: Clocks | None = None
    tRRD_L: Clocks | None = None
    tWTR: Clocks | None = None
    tWTR_S: Clocks | None = None
    tWTR_L: Clocks | None = None
    tRFC: Clocks | None = None
    tREFI: Positive | None = None
    tRTRS: Clocks | None = None

    def short(self, name: str) -> int:
        """Return the figure between bank groups of tCCD, tRRD or tWTR."""
        plain = getattr(self, name)
        return getattr(self, f"{name}_S") if plain is None else plain


def rows_of(timing: StandardTiming, burst: int, shared_bus: bool) -> tuple[TimingRow, ...]:
    """Derive the rows of §4.6 from the standard's names (spec §10.2).

    Parameters
    ----------
    timing : StandardTiming
        With every figure that the organisation needs (`dram_checks` sees to that).
    burst : int
        Clocks that a transfer holds the data bus.
    shared_bus : bool
        Whether two ranks or more share a data bus: then there are rows between ranks.

    Returns
    -------
    tuple of TimingRow
    """
    rows = [*_column_rows(timing, burst), *_bank_rows(timing, burst)]
    if any(getattr(timing, f"{name}_L") is not None for name in ("tCCD", "tRRD", "tWTR")):
        rows += _group_rows(timing, burst)
    if timing.tREFI is not None:
        rows += _refresh_rows(timing, burst)
    if shared_bus:
        rows += _rank_to_rank_rows(timing, burst)
    return tuple(rows)


def _row(level, preceding, following, clocks, name, window=1):
    return TimingRow(level=level, preceding=preceding, following=following, clocks=max(clocks, 0), window=window,
                     name=name)


def _column_rows(t, burst):
    """Within a rank, whatever the banks."""
    return [
        _row("rank", "RD", "RD", t.short("tCCD"), "tCCD"),
        _row("rank", "WR", "WR", t.short("tCCD"), "tCCD"),
        _row("rank", "RD", "WR", t.CL + burst + BUS_TURN - t.CWL, "tRTW"),
        _row("rank", "WR", "RD", t.CWL + burst + t.short("tWTR"), "tWTR"),
        _row("rank", "ACT", "ACT", t.short("tRRD"), "tRRD"),
        _row("rank", "ACT", "ACT", t.tFAW, "tFAW", window=4),
    ]


def _group_rows(t, burst):
    """Within a bank group."""
    return [
        _row("bankgroup", "RD", "RD", t.tCCD_L, "tCCD_L"),
        _row("bankgroup", "WR", "WR", t.tCCD_L, "tCCD_L"),
        _row("bankgroup", "WR", "RD", t.CWL + burst + t.tWTR_L, "tWTR_L"),
        _row("bankgroup", "ACT", "ACT", t.tRRD_L, "tRRD_L"),
    ]


def _bank_rows(t, burst):
    """Within a bank."""
    return [
        _row("bank", "ACT", "ACT", t.tRC, "tRC"),
        _row("bank", "ACT", "RD", t.tRCD, "tRCD"),
        _row("bank", "ACT", "WR", t.tRCD, "tRCD"),
        _row("bank", "ACT", "PRE", t.tRAS, "tRAS"),
        _row("bank", "PRE", "ACT", t.tRP, "tRP"),
        _row("bank", "RD", "PRE", t.tRTP, "tRTP"),
        _row("bank", "WR", "PRE", t.CWL + burst + t.tWR, "tWR"),
    ]


def _refresh_rows(t, burst):
    """All-bank refresh of a rank (§4.7)."""
    return [
        _row("rank", "RD", "PREA", t.tRTP, "tRTP"),
        _row("rank", "WR", "PREA", t.CWL + burst + t.tWR, "tWR"),
        _row("rank", "ACT", "PREA", t.tRAS, "tRAS"),
        _row("rank", "PREA", "ACT", t.tRP, "tRP"),
        _row("rank", "PREA", "REF", t.tRP, "tRP"),
        _row("rank", "PRE", "REF", t.tRP, "tRP"),
        _row("rank", "ACT", "REF", t.tRC, "tRC"),
        _row("rank", "REF", "ACT", t.tRFC, "tRFC"),
        _row("rank", "REF", "PREA", t.tRFC, "tRFC"),
    ]


def _rank_to_rank_rows(t, burst):
    """Between two ranks: their data are `tRTRS` clocks apart on the bus."""
    apart = burst + t.tRTRS
    return [
        _row(OTHER_RANK, "RD", "RD", apart, "tRTRS"),
        _row(OTHER_RANK, "WR", "WR", apart, "tRTRS"),
        _row(OTHER_RANK, "RD", "WR", t.CL + apart - t.CWL, "tRTRS"),
        _row(OTHER_RANK, "WR", "RD", t.CWL + apart - t.CL, "tRTRS"),
    ]
