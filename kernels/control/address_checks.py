"""Check rows, tiles and offsets, and append events: what every `resolve_*` shares (spec §1.4).

Checks return a status; where it is not OK they have noted what was found and what bound it broke.
"""

from ..compiler.jit import small
from ..layout import (
    CFG_MLEN,
    CFG_MLEN_SHIFT,
    CFG_ROWS,
    CFG_TILES,
    CFG_VLEN,
    CFG_VLEN_SHIFT,
    CTL_ERR_A,
    CTL_ERR_B,
    CTL_EVENTS,
    CTL_SKIPS,
)
from ..status import COLUMNS_OUTSIDE, OFFSET_MISALIGNED, OK, ROW_MISALIGNED, ROW_OUTSIDE, TILE_MISALIGNED, TILE_OUTSIDE


@small
def fail(ctl, status, found, bound):
    """Note what was found and what bound it broke.

    Returns the status it was given.
    """
    ctl[CTL_ERR_A] = found
    ctl[CTL_ERR_B] = bound
    return status


@small
def quotient(value, unit, shift):
    """Divide `value` by `unit`, rounding down; `shift` is the log2 of the unit, or negative where it has none.

    Divisions took most of the time of an event.
    """
    return value >> shift if shift >= 0 else value // unit


@small
def remainder(value, unit, shift):
    """Compute `value` modulo `unit`; `shift` as for `quotient`."""
    return value & (unit - 1) if shift >= 0 else value % unit


@small
def row_of(ctl, address):
    """Compute the vector row of an element address."""
    return quotient(address, ctl[CFG_VLEN], ctl[CFG_VLEN_SHIFT])


@small
def check_rows(ctl, address, count, step):
    """Check `count` vector rows from element `address`, `step` rows apart."""
    if remainder(address, ctl[CFG_VLEN], ctl[CFG_VLEN_SHIFT]) != 0:
        return fail(ctl, ROW_MISALIGNED, address, ctl[CFG_VLEN])
    last = row_of(ctl, address) + (count - 1) * step
    if last >= ctl[CFG_ROWS]:
        return fail(ctl, ROW_OUTSIDE, last, ctl[CFG_ROWS])
    return OK


@small
def check_tiles(ctl, address, count):
    """Check `count` consecutive tiles from element `address`."""
    size = ctl[CFG_MLEN] * ctl[CFG_MLEN]
    shift = 2 * ctl[CFG_MLEN_SHIFT]
    if remainder(address, size, shift) != 0:
        return fail(ctl, TILE_MISALIGNED, address, size)
    last = quotient(address, size, shift) + count - 1
    if last >= ctl[CFG_TILES]:
        return fail(ctl, TILE_OUTSIDE, last, ctl[CFG_TILES])
    return OK


@small
def check_multiple(ctl, offset, unit, shift):
    """Check that `offset` is a multiple of `unit`; `shift` as for `quotient`."""
    if remainder(offset, unit, shift) != 0:
        return fail(ctl, OFFSET_MISALIGNED, offset, unit)
    return OK


@small
def check_columns(ctl, first, count):
    """Check that columns (or rows) [first, first + count) lie in a tile."""
    if first + count > ctl[CFG_MLEN]:
        return fail(ctl, COLUMNS_OUTSIDE, first + count, ctl[CFG_MLEN])
    return OK


@small
def append(ctl, events, op, a, b, c, d, e):
    """Append a data event; where nobody wants data events, the next one takes its place."""
    at = ctl[CTL_EVENTS]
    events[at, 0] = op
    events[at, 1] = a
    events[at, 2] = b
    events[at, 3] = c
    events[at, 4] = d
    events[at, 5] = e
    ctl[CTL_EVENTS] = at + 1 - ctl[CTL_SKIPS]
    return OK
