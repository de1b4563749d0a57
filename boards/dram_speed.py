"""A DRAM at another data rate: `--ddr-speed FACTOR` (spec §10.2)."""

import math
from fractions import Fraction

import msgspec

from plena_emu.errors import UsageError
from plena_emu.inputs.words import shown

from .dram_schema import DramDescription, Refresh, checked
from .dram_timing import COLUMN_COMMANDS, StandardTiming

# Figures that a data rate changes in time, not in clocks.
IN_CLOCKS = ("tCCD", "tCCD_S", "tCCD_L", "tRTRS")
SLOWEST, FASTEST = Fraction(1, 64), Fraction(64)


def parse_speed(text: str, what: str = "data rate factor") -> Fraction:
    """Read a factor of a data rate, a decimal number or a fraction such as 4/3; raises `UsageError` naming `what`.

    Returns
    -------
    Fraction
    """
    try:
        if len(text) > 40:
            raise ValueError
        factor = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{what}: found {text[:40]!r}, expected a number such as 2, 0.5 or 4/3") from None
    return _in_range(factor, what)


def at_speed(description: DramDescription, factor: Fraction | int | float | str) -> DramDescription:
    """Return the description at `factor` times its data rate.

    The clock's period is divided by the factor, to the nearest picosecond. Bursts keep their clocks; core timings and
    the refresh interval keep their nanoseconds, rounded up to clocks. Of rows that no standard's name tells, those
    from RD to RD and from WR to WR are taken for bursts, and the burst within a turn of the bus or a write's recovery
    keeps its clocks.

    Raises
    ------
    UsageError
        The factor is no number from 1/64 to 64.
    EmuError
        The description or what becomes of it is none that the controller can hold.
    """
    checked(description)
    factor = speed_factor(factor)
    if factor == 1:
        return description
    burst, latency = description.burst_clocks, description.read_latency
    changed = {
        "name": f"{description.label} x {factor_text(factor)}",
        "period_ps": max(1, round(description.period_ps / factor)),
        "timing": _timing_at(description.timing, factor, burst),
        "revisions": {name: _rows_at(rows, factor, burst) for name, rows in description.revisions.items()},
    }
    if latency is not None:
        changed["read_latency"] = burst + _clocks(latency - burst, factor)
    if description.refresh is not None:
        changed["refresh"] = Refresh(interval=_clocks(description.refresh.interval, factor))
    return checked(msgspec.structs.replace(description, **changed),
                   f"{description.label} at {factor_text(factor)} times its data rate")


def is_exact_at(description: DramDescription, factor: Fraction) -> bool:
    """Tell whether the clock at `factor` times the data rate is a whole number of picoseconds.

    Returns
    -------
    bool
        Where it is not, the data rate is that of the nearest whole number.
    """
    return (description.period_ps / factor).denominator == 1


def speed_factor(factor: Fraction | int | float | str, what: str = "data rate factor") -> Fraction:
    """Read a factor of a data rate, a number or text as `parse_speed` takes it; raises `UsageError` naming `what`.

    Returns
    -------
    Fraction
    """
    if isinstance(factor, str):
        return parse_speed(factor, what)
    try:
        if isinstance(factor, bool):
            raise TypeError
        exact = Fraction(str(factor) if isinstance(factor, float) else factor)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{what}: found {shown(factor)}, expected a number from {SLOWEST} to {FASTEST}") from None
    return _in_range(exact, what)


def factor_text(factor: Fraction) -> str:
    """Write a factor as people do, without loss: `1.5`, or `4/3` where no decimal number is the same.

    Returns
    -------
    str
    """
    rest = factor.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return str(factor)
    digits = max(factor.denominator.bit_length(), 1)
    whole, tail = divmod(factor.numerator * 10**digits // factor.denominator, 10**digits)
    return f"{whole}.{tail:0{digits}d}".rstrip("0").rstrip(".")


def _in_range(factor, what):
    if not SLOWEST <= factor <= FASTEST:
        raise UsageError(f"{what}: found {factor_text(factor)[:40]}, expected {SLOWEST} to {FASTEST}")
    return factor


def _clocks(clocks, factor):
    return math.ceil(clocks * factor)


def _timing_at(timing, factor, burst):
    if not isinstance(timing, StandardTiming):
        return _rows_at(timing, factor, burst)
    figures = {name: getattr(timing, name) for name in timing.__struct_fields__ if name not in IN_CLOCKS}
    changed = {name: _clocks(clocks, factor) for name, clocks in figures.items() if clocks is not None}
    return msgspec.structs.replace(timing, **changed)


def _rows_at(rows, factor, burst):
    return tuple(msgspec.structs.replace(row, clocks=_row_clocks(row, factor, burst)) for row in rows)


def _row_clocks(row, factor, burst):
    if row.preceding == row.following and row.preceding in COLUMN_COMMANDS:
        return row.clocks
    holds_burst = row.preceding == "WR" or (row.preceding, row.following) == ("RD", "WR")
    fixed = min(burst, row.clocks) if holds_burst else 0
    return fixed + _clocks(row.clocks - fixed, factor)
