"""Overlap: how the loads of the next tiles are spread over the work on the present ones (spec §7.9).

Under a hardware timeline instructions are issued in order, one transfer is under way at a time, and a second one that
is issued meanwhile holds up everything behind it. So the loads of a column of tiles are not issued together, but one
after every so many products of the column before; the tiles of the two lie in different halves of the matrix SRAM.

Example: 6 loads among 4 groups of rows with 24 products each: groups 1 to 3 issue 2 loads, 12 products apart, group 4
none.
"""

from __future__ import annotations

from plena_emu.models.machine import ceil_div


def can_alternate(tiles: int, depth: int, columns: int) -> bool:
    """Tell whether `columns` columns of tiles, each `depth` tiles deep, can take turns in a matrix SRAM of `tiles`."""
    return columns > 1 and 2 * depth <= tiles


def shares(loads: int, iterations: int) -> list[tuple[int, int]]:
    """Spread loads over the iterations of a loop, as evenly as a few loops without branches allow.

    Returns
    -------
    list of (int, int)
        Iterations and the loads in each: the fullest first, at most three entries.
    """
    most = ceil_div(loads, iterations)
    if most == 0:
        return [(iterations, 0)]
    full, rest = divmod(loads, most)
    parts = [(full, most), (int(rest > 0), rest), (iterations - full - (rest > 0), 0)]
    return [(times, share) for times, share in parts if times > 0]


def due(loads: int, slots: int, slot: int) -> int:
    """Count the loads to issue at `slot` of `slots`, the first one at slot 0, the others evenly behind it.

    Returns
    -------
    int
    """
    return ceil_div((slot + 1) * loads, slots) - ceil_div(slot * loads, slots)
