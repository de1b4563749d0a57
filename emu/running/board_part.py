"""The memory part of a board, and what flags lay over the board (spec §10.1, §10.2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..boards.dram_bandwidth import peak_bandwidth, refresh_share
from ..boards.dram_schema import DramDescription, dram_names, load_dram
from ..boards.dram_speed import at_speed
from ..boards.schema import Board
from ..result import LaidOver, PartRecord

if TYPE_CHECKING:
    from ..request import RunRequest


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


def open_part(board: Board, dram: str | None = None, speed=None) -> Part | None:
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
        part = Part(load_dram(_beside(board, board.memory.dram)), f"board {board.name}")
    else:
        return None
    return part if speed is None else part._replace(description=at_speed(part.description, speed))


def _beside(board, dram):
    """Take a path in a board file as one from the file's directory."""
    return dram if dram in dram_names() else os.path.join(os.path.dirname(board.source), os.path.expanduser(dram))


def lay_over(request: RunRequest, board: Board) -> tuple[Board, tuple[LaidOver, ...]]:
    """Lay the clock that was asked for over the board, and list every value of it that a flag replaced.

    Returns
    -------
    (Board, tuple of LaidOver)
    """
    link = board.host_bandwidth
    flags = (
        ("--clock-mhz", board.clock_mhz, request.clock_mhz),
        ("--dram", board.memory.dram, request.dram),
        ("--ddr-speed", 1, request.ddr_speed),
        (request.ddr_capacity_origin, board.ddr_capacity_bytes, request.ddr_capacity),
        ("--host-bandwidth", link, request.host_bandwidth),
    )
    laid_over = tuple(LaidOver(flag=flag, before=None if before is None else str(before), after=str(after))
                      for flag, before, after in flags if after is not None)
    if request.clock_mhz is not None:
        board = msgspec.structs.replace(board, clock_mhz=request.clock_mhz)
    return board, laid_over
