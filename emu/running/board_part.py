"""The memory part of a board, and what flags lay over the board (spec §10.1, §10.2)."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import NamedTuple

import msgspec

from ..boards.dram_bandwidth import peak_bandwidth, refresh_share
from ..boards.dram_schema import DramDescription, dram_names, load_dram
from ..boards.dram_speed import at_speed
from ..boards.schema import Board
from ..errors import EmuError
from ..result import LaidOver, PartRecord


class Part(NamedTuple):
    """A DRAM description, and what named it."""

    description: DramDescription
    named_by: str

    def record(self, revision: str) -> PartRecord:
        """Describe the part for the result record, with its figures in an ISA revision."""
        found = self.description
        return PartRecord(name=found.name, file=found.source, named_by=self.named_by,
                          peak_bytes_per_s=peak_bandwidth(found, revision),
                          refresh_share=refresh_share(found, revision))


def open_part(board: Board, dram: str | None = None, speed: Fraction | None = None) -> Part | None:
    """Load the part that a board's time is told with: `dram` where it is named, else the board's own (§10.1).

    Parameters
    ----------
    dram : str or None
        Name or file of a DRAM description.
    speed : Fraction or None
        Factor on its data rate (§10.2).

    Returns
    -------
    Part or None
        None where neither names one.

    Raises
    ------
    EmuError
        The description is missing or malformed.
    """
    if dram is not None:
        part = Part(load_dram(dram), "--dram")
    elif board.memory.dram is not None:
        try:
            part = Part(load_dram(_beside(board, board.memory.dram)), f"board {board.name}")
        except EmuError as error:
            raise EmuError(f"board {board.source}: memory.dram: {error}") from None
    else:
        return None
    return part if speed is None else at_speed_of(part, speed)


def at_speed_of(part: Part, speed: Fraction) -> Part:
    """Multiply the data rate of a part by a factor (§10.2); returns the part."""
    return part._replace(description=at_speed(part.description, speed))


def _beside(board, dram):
    """Take a path in a board file as one from the file's directory."""
    return dram if dram in dram_names() else os.path.join(os.path.dirname(board.source), os.path.expanduser(dram))


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What flags say in place of a board's values; None leaves a value to the board."""

    clock_mhz: float | None = None
    dram: str | None = None
    ddr_speed: Fraction | None = None
    ddr_capacity: int | None = None
    ddr_capacity_origin: str = "--ddr-capacity"
    host_bandwidth: int | None = None


def overlay_of(asked) -> Overlay:
    """Collect the overlay from the attributes of a request, or of the parsed flags of a command line."""
    return Overlay(**{name: getattr(asked, name) for name in Overlay.__struct_fields__})


def lay_over(board: Board, overlay: Overlay) -> tuple[Board, tuple[LaidOver, ...]]:
    """Lay the clock that was asked for over the board, and list every value of it that a flag replaces.

    Returns
    -------
    (Board, tuple of LaidOver)
    """
    flags = (
        ("--clock-mhz", board.clock_mhz, overlay.clock_mhz),
        ("--dram", board.memory.dram, overlay.dram),
        ("--ddr-speed", 1, overlay.ddr_speed),
        (overlay.ddr_capacity_origin, board.ddr_capacity_bytes, overlay.ddr_capacity),
        ("--host-bandwidth", board.host_bandwidth, overlay.host_bandwidth),
    )
    laid_over = tuple(LaidOver(flag=flag, before=None if before is None else str(before), after=str(after))
                      for flag, before, after in flags if after is not None)
    if overlay.clock_mhz is not None:
        board = msgspec.structs.replace(board, clock_mhz=overlay.clock_mhz)
    return board, laid_over
