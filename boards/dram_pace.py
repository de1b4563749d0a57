"""How fast a memory can be at best: lower bounds of what 64-byte reads take (spec §3.5, §10.1)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from .dram_bandwidth import peak_bandwidth, refresh_share

if TYPE_CHECKING:
    from .dram_schema import DramDescription

LINE = 64  # bytes of an access
TCK_PS = 833  # §3.5
BURST_PS = 4 * TCK_PS
READ_PS = TCK_PS + 16 * TCK_PS + BURST_PS  # command, CAS, burst: a row hit
_DENOMINATOR = 1 << 24  # more than clocks times buses: a peak is a ratio of small numbers


class MemoryPace(NamedTuple):
    """Best case of a memory.

    Attributes
    ----------
    line_ps : Fraction
        A block's share of the time at the peak bandwidth.
    read_ps : int
        A single read of a block of an open row.
    refresh_every_ps, refresh_ps : int
        Each so many picoseconds a refresh of so many; 0 without refresh.
    """

    line_ps: Fraction
    read_ps: int
    refresh_every_ps: int = 0
    refresh_ps: int = 0

    def bus_ps(self, lines: int) -> int:
        """Bound the time of `lines` blocks: their time at the peak, and the refreshes that must fall into it.

        The first refresh is due after a whole interval, and the last may still be under way at the end, so a short run
        has none.
        """
        moving = math.floor(lines * self.line_ps)
        between = self.refresh_every_ps - self.refresh_ps
        refreshes = max(0, (moving - self.refresh_every_ps) // between) if self.refresh_ps and between > 0 else 0
        return moving + refreshes * self.refresh_ps


def pace_of(description: DramDescription | None, revision: str = "base") -> MemoryPace:
    """Derive the pace of a DRAM description in an ISA revision; None stands for the idealised DDR of §3.5.

    Returns
    -------
    MemoryPace
    """
    if description is None:
        return MemoryPace(Fraction(BURST_PS), READ_PS)
    line_ps = Fraction(LINE * 1e12 / peak_bandwidth(description, revision)).limit_denominator(_DENOMINATOR)
    period = description.period_ps
    every = description.refresh_interval * period
    # The command and its data but for the burst; a block's bursts follow each other at the peak at best.
    first = (description.read_clocks - description.burst_clocks - 1) * period
    return MemoryPace(line_ps, first + math.floor(line_ps), every,
                      round(refresh_share(description, revision) * every))
