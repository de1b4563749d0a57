"""The memory part of a board, and what flags lay over the board (spec §10.1, §10.2)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import msgspec

from ..boards.dram_bandwidth import peak_bandwidth, refresh_share
from ..boards.dram_schema import DramDescription, dram_names, load_dram
from ..boards.dram_speed import at_speed, factor_text, is_exact_at
from ..boards.schema import Board
from ..errors import EmuError
from ..inputs.words import flag_of
from ..result import LaidOver, PartRecord

IDEALISED_DDR = "the idealised DDR of §3.5, 19.2 GB/s"  # of a board that names no part


class Part(NamedTuple):
    """A DRAM description, what named it, and whether its clock is a whole number of picoseconds."""

    description: DramDescription
    named_by: str
    is_exact: bool = True

    def record(self, revision: str) -> PartRecord:
        """Describe the part for the result record, with its figures in an ISA revision."""
        found = self.description
        return PartRecord(name=found.label, file=found.source, named_by=self.named_by,
                          clock_period_ps=found.period_ps, clock_period_exact=self.is_exact,
                          peak_bytes_per_s=peak_bandwidth(found, revision),
                          refresh_share=refresh_share(found, revision))


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for in place of a board's values; None leaves a value to the board.

    `ddr_capacity_origin` is the flag of the capacity as it was typed, None for its usual name. `from_flags` says
    whether names in messages and records are those of flags.
    """

    clock_mhz: float | None = None
    dram: str | None = None
    ddr_speed: Fraction | None = None
    ddr_capacity: int | None = None
    ddr_capacity_origin: str | None = None
    host_bandwidth: int | None = None
    from_flags: bool = False

    def called(self, name: str) -> str:
        """Name a field as whoever asked does: `--ddr-speed` on a command line, `ddr_speed` in Python."""
        if name == "ddr_capacity" and self.ddr_capacity_origin:
            return self.ddr_capacity_origin
        return flag_of(name) if self.from_flags else name


NOTHING_ASKED = Overlay()


def overlay_of(asked: object) -> Overlay:
    """Collect the overlay from the attributes of a request, or of the parsed flags of a command line."""
    fields = {name: getattr(asked, name) for name in Overlay.__struct_fields__ if name != "from_flags"}
    return Overlay(**fields, from_flags=getattr(asked, "from_flags", True))


def open_part(board: Board, overlay: Overlay = NOTHING_ASKED) -> Part | None:
    """Load the part that a board's time is told with: the `dram` that was asked for, else the board's own (§10.1).

    Parameters
    ----------
    overlay : Overlay
        Of which `dram` and `ddr_speed` (§10.2) count.

    Returns
    -------
    Part or None
        None where neither names one.

    Raises
    ------
    EmuError
        The description is missing or malformed, or cannot be at that data rate.
    """
    if overlay.dram is not None:
        part = Part(load_dram(overlay.dram), overlay.called("dram"))
    elif board.memory.dram is not None:
        try:
            part = Part(load_dram(_beside(board, board.memory.dram)), f"board {board.name}")
        except EmuError as error:
            raise EmuError(f"board {board.source}: memory.dram: {error}") from None
    else:
        return None
    return part if overlay.ddr_speed is None else at_speed_of(part, overlay)


def at_speed_of(part: Part, overlay: Overlay) -> Part:
    """Multiply the data rate of a part by the factor that was asked for (§10.2); returns the part.

    Raises
    ------
    EmuError
        The controller cannot hold it at that data rate.
    """
    speed = overlay.ddr_speed
    assert speed is not None
    try:
        fast = at_speed(part.description, speed)
    except EmuError as error:
        raise EmuError(f"{overlay.called('ddr_speed')} {factor_text(speed)}: {error}") from None
    return Part(fast, part.named_by, is_exact_at(part.description, speed))


def _beside(board, dram):
    """Take a path in a board file as one from the file's directory; a bare word is the name of a part that ships."""
    if dram in dram_names() or not (os.sep in dram or dram.endswith((".yaml", ".yml"))):
        return dram
    return os.path.join(os.path.dirname(board.source), os.path.expanduser(dram))


def lay_over(board: Board, overlay: Overlay) -> tuple[Board, tuple[LaidOver, ...]]:
    """Lay the clock that was asked for over the board, and list every value of it that is replaced.

    Returns
    -------
    (Board, tuple of LaidOver)
    """
    values = (
        ("clock_mhz", _number(board.clock_mhz), _number(overlay.clock_mhz)),
        ("dram", board.memory.dram, overlay.dram),
        ("ddr_speed", "1", None if overlay.ddr_speed is None else factor_text(overlay.ddr_speed)),
        ("ddr_capacity", _number(board.ddr_capacity_bytes), _number(overlay.ddr_capacity)),
        ("host_bandwidth", _number(board.host_bandwidth), _number(overlay.host_bandwidth)),
    )
    laid_over = tuple(LaidOver(flag=overlay.called(name), before=before, after=after)
                      for name, before, after in values if after is not None)
    if overlay.clock_mhz is not None:
        board = msgspec.structs.replace(board, clock_mhz=overlay.clock_mhz)
    return board, laid_over


def _number(value):
    """Write a number as people do, 150 for 150.0; None stays None."""
    return None if value is None else str(int(value)) if value == int(value) else str(value)


def without(laid_over: Iterable[LaidOver], names: Iterable[str], overlay: Overlay) -> tuple[LaidOver, ...]:
    """Leave out values that were asked for and play no part, by the `names` of their fields."""
    flags = {overlay.called(name) for name in names}
    return tuple(one for one in laid_over if one.flag not in flags)


def no_part_warning(board: Board, overlay: Overlay) -> str:
    """Say that a board names no memory part, what stands in for it (§10.2), and that no data rate can be laid over."""
    unused = f", and {overlay.called('ddr_speed')} is not used" if overlay.ddr_speed is not None else ""
    return f"board {board.name} names no memory.dram: {IDEALISED_DDR}, stands in for its memory{unused}"
